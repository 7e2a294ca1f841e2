"""How far it is: each line is shown once, whoever else logs."""

from __future__ import annotations

import logging

import pytest

from latentserve.service.packing.progress import log, showing


def test_a_warning_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    others = logging.StreamHandler()  # as logging.basicConfig gives the root, when a library calls logging.info
    logging.getLogger().addHandler(others)
    try:
        with showing():
            log.warning("golden probes")
        assert capsys.readouterr().err == "golden probes\n"
    finally:
        logging.getLogger().removeHandler(others)
