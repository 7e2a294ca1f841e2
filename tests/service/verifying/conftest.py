"""Bundles of every kind of sample, opened once."""

from __future__ import annotations

import pytest

from latentserve.service.opened import OpenedBundle
from tests.service.verifying.files import open_bundles


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OpenedBundle]:
    """See `open_bundles`."""
    return open_bundles(tmp_path_factory.mktemp("verified"))
