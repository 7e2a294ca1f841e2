"""Files of workers that add up, one a worker; those of workers that have ended are folded into one.

Whatever moment a process that folds is killed at, what is read is right: a single renaming puts the new sum in the
place of the old one and of what was added to it. The name of the sum says which worker's file that was, and a file
whose worker it names, or an older sum, counts no more and is on its way out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from latentserve.service.watching.workers import lives

T = TypeVar("T")

_SUM = "sum-"
_LOCK = "folding.lock"


@dataclass(frozen=True)
class _Parts:
    """Files that count, and those that count no more."""

    sum: Path | None
    number: int  # of the sum, among those that there were
    own: dict[str, Path]  # by worker
    old: list[Path]

    @property
    def files(self) -> list[Path]:
        """Those that count."""
        return [*([self.sum] if self.sum else []), *sorted(self.own.values())]


class WorkerFiles:
    """The files of one kind in a folder that the workers of a server share."""

    def __init__(self, folder: Path, kind: str, suffix: str, lives: Callable[[str], bool] = lives) -> None:
        """`kind` has no `_`; `suffix` begins with a dot. `lives` tells of a worker's name whether it has not ended."""
        self._folder, self._kind, self._suffix, self._lives = folder, kind, suffix, lives

    def of(self, worker: str) -> Path:
        """The file of the worker of this name."""
        return self._folder / f"{self._kind}_{worker}{self._suffix}"

    def read(self, load: Callable[[Sequence[Path]], T]) -> T:
        """What `load` makes of the files that count: all of them together are what all workers ever counted."""
        while True:
            files = self._look().files
            with suppress(FileNotFoundError):
                found = load(files)
                if self._look().files == files:  # else some were folded, or came, meanwhile
                    return found

    def fold(self, add: Callable[[Sequence[Path], Path], None]) -> None:
        """Fold what workers have left that have ended. `add` writes the sum of files to a new one.

        At most one process does so at a time; nothing is done where another is at it. Raises OSError: the disk is full,
        and all is as before.
        """
        with self._locked() as alone:
            if not alone:
                return
            parts = self._look()
            for file in parts.old:
                file.unlink()
            total, number = parts.sum, parts.number
            for worker in [worker for worker in parts.own if not self._lives(worker)]:
                number += 1
                total = self._fold_one(total, parts.own[worker], self.of(f"{_SUM}{number:09}-{worker}"), add)

    def _fold_one(
        self, total: Path | None, ended: Path, target: Path, add: Callable[[Sequence[Path], Path], None]
    ) -> Path:
        part = target.with_suffix(".part")
        try:
            part.unlink(missing_ok=True)  # of one that was killed at it
            add([*([total] if total else []), ended], part)
            part.rename(target)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        ended.unlink()
        if total:
            total.unlink()
        return target

    def _look(self) -> _Parts:
        own: dict[str, Path] = {}
        sums: list[tuple[int, str, Path]] = []
        for file in self._folder.glob(f"{self._kind}_*{self._suffix}"):
            worker = file.name.removeprefix(f"{self._kind}_").removesuffix(self._suffix)
            if worker.startswith(_SUM):
                place, _, added = worker.removeprefix(_SUM).partition("-")
                sums.append((int(place), added, file))
            else:
                own[worker] = file
        if not sums:
            return _Parts(None, 0, own, [])
        *older, (number, added, total) = sorted(sums)
        old = [file for _, _, file in older]
        if added in own:
            old.append(own.pop(added))
        return _Parts(total, number, own, old)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)
