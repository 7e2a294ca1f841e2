"""A fleet as processes: Prometheus and what it needs, on the loopback address."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

_UNPACKED = Path(__file__).parents[1] / ".tools" / "usr" / "bin"


def tool(name: str) -> str:
    """The path of an executable (`promtool`, `prometheus`, ...), from PATH or from where `.ci/prometheus` unpacks it;
    skips the test where there is none."""
    found = shutil.which(name) or shutil.which(name, path=str(_UNPACKED))
    if found is None:
        pytest.skip(f"{name} is not installed; .ci/prometheus brings it")
    return found
