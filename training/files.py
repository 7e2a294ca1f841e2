"""How a run's files are written: a full disk is one line that names the file, and a crash leaves no half of one."""

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from latentserve.training.errors import RunError

PARTIAL = ".partial"  # suffix of what is being written, and of what a killed process left


@contextmanager
def named_if_not_written(path: Path) -> Iterator[None]:
    """A file that cannot be written within the block is a RunError that names it."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Write a file in one step: within the block beside it, and then a reader, or a crash, meets the old or the new.

    Raises RunError naming a file that cannot be written; it is left as it was.
    """
    partial = path.with_suffix(PARTIAL)
    with named_if_not_written(path):
        try:
            yield partial
            with partial.open("rb") as file:
                _flush(file.fileno())
            _put_in_place(partial, path)
        except OSError:
            with suppress(OSError):
                partial.unlink()  # a full disk has better use for it
            raise


def _flush(number: int) -> None:
    """Have a file on the disk, where its file system can say so: some of networks and clouds cannot."""
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def _put_in_place(partial: Path, path: Path) -> None:
    """Rename a file, again and again for some seconds where another process has the old one open, which SMB refuses."""
    for wait in (0.1, 0.4, 1.6, 6.4, None):
        try:
            partial.replace(path)
        except OSError as error:
            if wait is None or error.errno not in (errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.ESTALE):
                raise
            time.sleep(wait)
        else:
            return


def read_lines(path: Path) -> list[str]:
    """The lines of a file of JSON objects, if there is one; the last is left out where it was cut in the middle."""
    return [line for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Add JSON objects to a file. Raises RunError naming a file that cannot be written."""
    with named_if_not_written(path), path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def replace_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Make these the file's only lines, in one step. Raises RunError naming a file that cannot be written."""
    with replaced(path) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
