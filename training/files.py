"""How a run's files are written: a full disk is one line that names the file, and a crash leaves no half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink()  # a full disk has better use for it
            raise
