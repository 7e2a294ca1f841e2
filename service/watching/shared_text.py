"""A text of the server as a whole: the same whichever worker is asked, and made once a second at the most."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import os
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_NEW_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0  # with another worker that is at it
_LOOK_SECONDS = 0.01
_COMPRESSION = 1  # metrics compress well at any level
_MADE = struct.Struct("d")  # on the monotonic clock, which all processes of a machine share


@dataclass(frozen=True)
class _Text:
    """What was made, and when."""

    made: float
    content: bytes

    @property
    def new(self) -> bool:
        """Whether it may be given still."""
        return 0 <= time.monotonic() - self.made < _NEW_SECONDS

    @cached_property
    def compressed(self) -> bytes:
        """The content, gzipped."""
        return gzip.compress(self.content, _COMPRESSION)


class SharedText:
    """A text that the workers make for one another, once a second at the most however often it is asked for."""

    def __init__(self, file: Path, generate: Callable[[], bytes], thread: Executor) -> None:
        """`file` is in a folder that the workers share; `thread` waits for other workers, and nothing is to wait for
        it."""
        self._file = file
        self._generate = generate
        self._thread = thread
        self._last = _Text(-_NEW_SECONDS, b"")

    async def get(self, compressed: bool = False) -> bytes:
        """What there is to say, a second old at the most; `compressed`: by gzip."""
        loop = asyncio.get_running_loop()
        if not self._last.new:
            await loop.run_in_executor(self._thread, self._renew)
        last = self._last
        return await loop.run_in_executor(self._thread, lambda: last.compressed) if compressed else last.content

    def _renew(self) -> None:
        """Have a text that is new: another worker's, or one of our own, which the others have then too.

        All give the one that was made last, so that no counter goes back for a client that is answered by one worker
        and by another then.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._last.new and not self._read():
            with self._alone() as alone:
                late = time.monotonic() > deadline  # whoever is at it does not come to an end
                if (alone and not self._read()) or late:
                    self._last = _Text(time.monotonic(), self._generate())
                    if alone:
                        self._write()
                    return
            time.sleep(_LOOK_SECONDS)

    def _read(self) -> bool:
        """Take what another worker made, if it is new."""
        with suppress(OSError, struct.error):
            read = self._file.read_bytes()
            found = _Text(_MADE.unpack_from(read)[0], read[_MADE.size :])
            if found.new:
                self._last = found
                return True
        return False

    def _write(self) -> None:
        """Let the others have it. On a full disk they make their own."""
        with suppress(OSError):
            part = self._file.with_suffix(".part")
            part.write_bytes(_MADE.pack(self._last.made) + self._last.content)
            part.rename(self._file)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other worker is at it."""
        try:
            handle = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield True
            return
        alone = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        try:
            yield alone
        finally:
            os.close(handle)
