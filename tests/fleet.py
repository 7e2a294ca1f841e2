"""Prometheus's programs for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.environments import AbsentError
from benchmarks.fleet.programs import program


def tool(name: str) -> Path:
    """The path of `prometheus`, `promtool`, `alertmanager` or `amtool`; without it the test is skipped."""
    try:
        return program(name)
    except AbsentError as error:
        pytest.skip(str(error))
