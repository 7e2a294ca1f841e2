"""One server of one model, for whoever asks it by its document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server


@pytest.fixture(scope="package")
def alone(bundle: Path) -> Iterator[Server]:
    """A server of the conditional toy generator, which needs not be named."""
    with Server(bundle, max_n=64) as running:
        yield running


@pytest.fixture(scope="package")
def document(alone: Server) -> dict[str, Any]:
    """What it says of itself."""
    answer = alone.http.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found
