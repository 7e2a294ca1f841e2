"""Who signs, once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certificates import Chain, signing_chain


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    pytest.importorskip("c2pa", reason="needs latentserve[c2pa]")
    return signing_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Whom nobody trusts."""
    return signing_chain(tmp_path_factory.mktemp("stranger"), "Stranger")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credentials")
