"""The workers of a server: how many have started, and what each says of itself to all."""

from __future__ import annotations

import os
from contextlib import suppress
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


class Notes:
    """A line of each worker, in a folder that they share. What a worker said that has ended counts no more, also where
    another process has its number by now."""

    def __init__(self, folder: Path, kind: str) -> None:
        """`kind`: what the notes are about, in letters."""
        self._folder, self._kind = folder, kind
        self._own = folder / f"{kind}-{os.getpid()}-{_started(str(os.getpid()))}"

    def write(self, text: str | None) -> None:
        """Say this from now on; None: nothing."""
        if text is None:
            self._own.unlink(missing_ok=True)
        else:
            write_whole(self._own, text)

    def read(self) -> list[str]:
        """What the workers that live say; what the others have left behind goes."""
        found = []
        for file in sorted(self._folder.glob(f"{self._kind}-*-*")):
            _, pid, started = file.name.split("-")
            with suppress(FileNotFoundError):  # taken back a moment ago
                if _started(pid) != started.partition(".")[0]:
                    file.unlink()
                elif not file.suffix:
                    found.append(file.read_text())
        return found


def write_whole(path: Path, text: str) -> None:
    """Whole or not at all: others read it at any time."""
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def _started(pid: str) -> str:
    """When a process started, in ticks since the machine did; "" where there is none of this number."""
    try:
        stat = Path("/proc", pid, "stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
