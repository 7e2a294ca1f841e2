"""What a process writes down, while others move its files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from latentserve.service.auditing.log import SUFFIX, AuditLog, UnauditedError


def renamed(file: Path) -> None:
    file.rename(file.with_suffix(".1"))


def replaced(file: Path) -> None:
    """As editors do."""
    renamed(file)
    file.write_bytes(b"another's")


def copied_and_cut(file: Path) -> None:
    file.with_suffix(".1").write_bytes(file.read_bytes())
    os.truncate(file, 0)


@pytest.mark.parametrize("rotate", [renamed, replaced, copied_and_cut, Path.unlink])
def test_a_file_that_is_rotated_gets_no_more_lines(tmp_path: Path, rotate: Callable[[Path], None]) -> None:
    log = AuditLog(tmp_path)
    log.write(b"first\n", b"1")
    (before,) = tmp_path.glob(f"*{SUFFIX}")
    rotate(before)
    log.write(b"second\n", b"2")
    log.write(b"third\n", b"3")
    log.close()
    (after,) = set(tmp_path.glob(f"*{SUFFIX}")) - {before}
    assert after.read_bytes() == b"second\nthird\n"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "account")
    log.write(b"first\n", b"1")
    (tmp_path / "account").rename(tmp_path / "elsewhere")
    with pytest.raises(UnauditedError, match="No such file or directory"):
        log.write(b"second\n", b"2")
    (tmp_path / "elsewhere").rename(tmp_path / "account")
    log.write(b"second\n", b"2")
    log.close()
