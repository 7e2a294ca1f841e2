"""The folder of its own in which a server keeps what its workers share: counts, evidence, notes.

The server holds a lock on it as long as it lives, and takes it away when it stops. What servers left that were killed,
the next one takes away: a lock ends with its process, whatever ended that, so a folder whose lock is free is nobody's.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.health import FOLDER
from latentserve.service.watching.workers import count_start

_NAMED = "_LATENTSERVE_STATE"  # to the processes that a server starts: the folder
_COUNTING = "_LATENTSERVE_COUNT_STARTS"  # to those that nobody else counts
_LOCK = "latentserve.lock"
_LEAST_ROOM = 1 << 20  # bytes: a worker's counts take less, and are not to find the disk full
# What this process was started with: it may name another folder to the processes that it starts itself.
_SHARED = os.environ.get(_NAMED)


class StateError(LatentserveError):
    """A server's own folder cannot be made."""

    slug = "state"
    title = "The server has no place for its state"


class StateFolder:
    """A folder of a server: made, locked, and taken away at the end.

    Attributes:
        path: where it is.
    """

    def __init__(self, home: Path | None) -> None:
        """`home`: where to make it; None: where temporary files are. Raises StateError."""
        where = f"LATENTSERVE_HOME={home}" if home else "there is no temporary folder (TMPDIR, LATENTSERVE_HOME)"
        try:
            parent = home or Path(tempfile.gettempdir())
            where = f"LATENTSERVE_HOME={home}" if home else f"{parent} (TMPDIR, or LATENTSERVE_HOME, says where else)"
            parent.mkdir(parents=True, exist_ok=True)
            _clean(parent)
            # By a name that no other server looks for, until the lock is held.
            made = Path(tempfile.mkdtemp(prefix=f".{FOLDER}", dir=parent))
            try:
                self._locks = _lock(made, os.O_CREAT)
                os.posix_fallocate(self._locks[0], 0, _LEAST_ROOM)
                os.ftruncate(self._locks[0], 0)
                _make_parts(made)
                self.path = made.rename(parent / made.name.removeprefix("."))
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
        except OSError as error:
            raise StateError(f"{where}: a server cannot make its own folder there: {one_line(error)}") from None
        self._owner = os.getpid()

    @property
    def environment(self) -> dict[str, str]:
        """What the server's workers are to find in their environment."""
        return {_NAMED: str(self.path), _COUNTING: ""}  # whatever a process says that started this server

    def make_again(self) -> bool:
        """Make it where somebody has taken it away, as those do who empty temporary folders; whether that was so.

        What workers that live had counted there is theirs alone from then on. Raises OSError.
        """
        if (self.path / _LOCK).exists():
            return False
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_parts(self.path)
        for lock in self._locks:
            os.close(lock)
        self._locks = []
        self._locks = _lock(self.path, os.O_CREAT)
        return True

    def count_start(self) -> None:
        """Count a worker's start: those beyond the number of workers are restarts, whether they came up or not."""
        count_start(self.path)

    def close(self) -> None:
        """Take it away; in a process that was forked from the server's, nothing."""
        if self._owner == os.getpid():
            _remove(self.path)
            for lock in self._locks:
                os.close(lock)
            self._locks = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def share_state(home: Path | None) -> None:
    """Make a folder for the workers that BentoML will start from this process, or be such a worker.

    BentoML's own folder for metrics is no place: it is emptied whenever another server starts.
    """
    if _SHARED is None:
        folder = StateFolder(home)
        atexit.register(folder.close)
        os.environ |= {**folder.environment, _COUNTING: "1"}
    elif os.environ.get(_COUNTING):
        count_start(Path(_SHARED))


def shared_folder() -> Path | None:
    """The folder that the workers of this server share; None in a process by itself."""
    return Path(_SHARED) if _SHARED else None


@cache
def state_folder() -> Path:
    """The same; of a process by itself, a temporary one."""
    if (shared := shared_folder()) is not None:
        return shared
    folder = StateFolder(None)
    atexit.register(folder.close)
    return folder.path


def _make_parts(folder: Path) -> None:
    for part in ("metrics", "evidence"):
        (folder / part).mkdir(exist_ok=True)


def _lock(folder: Path, flags: int = 0) -> list[int]:
    """Take a folder's locks, and keep them: its file's, which says that a server lives, and that of the folder itself,
    which keeps `systemd-tmpfiles` from what is old in it, where the file system knows such.

    Raises OSError where another holds them.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    locks = [handle]
    with suppress(OSError):
        locks.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    return locks


def _remove(folder: Path) -> None:
    """Take a folder away, its lock last: by that the next server knows it, where this one is killed meanwhile."""
    with suppress(OSError):
        for part in folder.iterdir():
            if part.name != _LOCK:
                shutil.rmtree(part, ignore_errors=True)
                part.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _clean(parent: Path) -> None:
    """Take away what servers left that were killed: folders of this user's, with a lock that nobody holds."""
    for folder in parent.glob(f"{FOLDER}*"):
        lock = folder / _LOCK
        with suppress(OSError):
            if lock.stat(follow_symlinks=False).st_uid != os.geteuid() or folder.is_symlink():
                continue
            locks = _lock(folder)
            _remove(folder)
            for handle in locks:
                os.close(handle)
