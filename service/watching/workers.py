"""The workers of a server: one that starts knows whether it is there in the place of one that ended."""

from __future__ import annotations

from pathlib import Path

_STARTS = "starts"


def count_start(folder: Path) -> int:
    """Count a worker's start in the folder that the workers of this server share; how many there were, with this one.

    Each start has a number of its own, however many come at once: appending is atomic, and leaves the file's position
    behind what was appended.
    """
    with (folder / _STARTS).open("ab", buffering=0) as starts:
        starts.write(b"\n")
        return starts.tell()
