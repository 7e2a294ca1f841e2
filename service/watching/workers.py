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


def starts(folder: Path) -> int:
    """How many starts were counted in this folder."""
    try:
        return (folder / _STARTS).stat().st_size
    except FileNotFoundError:
        return 0


def own_name() -> str:
    """A name for this process, which no other has or will have: its number alone may be another's soon."""
    return f"{os.getpid()}-{_started(str(os.getpid()))}"


def lives(name: str) -> bool:
    """Whether the process of this name, however it goes on (`-...`), has not ended."""
    pid, started = name.split("-")[:2]
    return _started(pid) == started


class Notes:
    """A line of each worker, in a folder that they share. What a worker said that has ended counts no more, also where
    another process has its number by now."""

    def __init__(self, folder: Path, kind: str) -> None:
        """`kind`: what the notes are about, in letters."""
        self._folder, self._kind = folder, kind
        self._own = folder / f"{kind}-{own_name()}"

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
            with suppress(FileNotFoundError):  # taken back a moment ago
                if not lives(file.stem.removeprefix(f"{self._kind}-")):
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
