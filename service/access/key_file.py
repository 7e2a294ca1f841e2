"""The file of keys: a JSON document that its owner alone may write, read again whenever it has changed.

It is written whole, beside itself, and renamed: who reads it finds the keys of before or of after.
"""

from __future__ import annotations

import codecs
import fcntl
import hmac
import logging
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from latentserve.service import logs
from latentserve.service.access.keys import Key, digest_of
from latentserve.service.errors import LatentserveError, NotReadyError, one_line

FILE = "keys.json"  # in the folder for what a server writes, where no other is named

_MOST_BYTES = 16 << 20
_OTHERS = stat.S_IWGRP | stat.S_IRWXO  # rights that nobody may have
_LOOK_SECONDS = 0.25  # between looks for a file that is not there yet
_FRESH_SECONDS = 0.005  # between looks whether it has changed: for each request it would take as long as all the rest

Stamp = tuple[int, int, int, int]  # of a file: another one, or the same after a change, has another


class KeyFileError(LatentserveError):
    """The file of keys cannot be read or written, is none, or is open to others."""

    slug = "keys"
    title = "The keys cannot be used"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    keys: tuple[Key, ...]


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises KeyFileError; FileNotFoundError: there is none."""
    return _read(path)[0]


def _read(path: Path) -> tuple[tuple[Key, ...], Stamp]:
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise KeyFileError(f"{path}: is no file")
            if about.st_mode & _OTHERS:
                mode = stat.S_IMODE(about.st_mode)
                raise KeyFileError(f"{path}: others have rights to it (mode {mode:04o}): chmod 600 {path}")
            if about.st_size > _MOST_BYTES:
                raise KeyFileError(f"{path}: has {about.st_size} bytes; at most {_MOST_BYTES} are read")
            content = file.read(_MOST_BYTES + 1).removeprefix(codecs.BOM_UTF8)  # as some editors begin a file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({one_line(error)})") from None
    try:
        keys = _Document.model_validate_json(content).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise KeyFileError(f"{path}: {f'{place}: ' if place else ''}{first['msg']}") from None
    if len({key.id for key in keys}) < len(keys):
        raise KeyFileError(f"{path}: holds two keys of one id")
    return keys, _stamp(about)


def _stamp(about: os.stat_result) -> Stamp:
    return about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size


@contextmanager
def changing(path: Path) -> Iterator[list[Key]]:
    """The keys of a file, there or not, to be changed in place; written when that is done. One process at a time does
    so. Raises KeyFileError."""
    path = path.resolve()
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written ({one_line(error)})") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys: list[Key] = []
        with suppress(FileNotFoundError):
            keys = list(read_keys(path))
        yield keys
        try:
            _write(path, keys)
            os.fsync(folder)
            time.sleep(2 * _FRESH_SECONDS)  # servers have looked: what was revoked is of no use when this is done
        except OSError as error:
            raise KeyFileError(f"{path}: cannot be written ({one_line(error)})") from None
    finally:
        os.close(folder)


def _write(path: Path, keys: Sequence[Key]) -> None:
    document = _Document(keys=tuple(keys)).model_dump_json(indent=1, exclude_none=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{document}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class KeyRing:
    """The keys of a file as it is now, for a server that is asked with one. For one thread.

    Keys are on when the file is there, and then for good: where it cannot be read any more, nobody is let in.
    """

    def __init__(self, path: Path, *, required: bool) -> None:
        """`required`: keys are on, whether the file is there or not."""
        self.path = path
        self._name = os.fspath(path)
        self._on = required
        self._stamp: Stamp | None = None
        self._keys: dict[bytes, Key] = {}  # by the first half of their digest
        self._by_id: dict[str, Key] = {}
        self._fault: str | None = "was not read yet"
        self._looked = 0.0  # for a file that is not there
        self._fresh = -math.inf  # looked at

    @property
    def on(self) -> bool:
        """Whether a key is needed."""
        if not self._on:
            now = time.monotonic()
            if now - self._looked < _LOOK_SECONDS:
                return False
            self._looked = now
            self._on = self.path.exists()
        return self._on

    def find(self, text: bytes) -> Key | None:
        """The key of these characters, of use or not; None: there is no such. Raises NotReadyError."""
        self._look()
        digest = digest_of(text)
        found = self._keys.get(digest[: len(digest) // 2])
        return found if found is not None and hmac.compare_digest(found.digest, digest) else None

    def of(self, key: str) -> Key | None:
        """The key of this id, of use or not. Raises NotReadyError."""
        self._look()
        return self._by_id.get(key)

    def _look(self) -> None:
        """Read the file again if it has changed. Raises NotReadyError: it cannot be read."""
        now = time.monotonic()
        if now - self._fresh < _FRESH_SECONDS:
            if self._fault is not None:
                raise _closed()
            return
        self._fresh = now
        try:
            stamp = _stamp(os.stat(self._name))  # noqa: PTH116, with every request: a third of the time
        except OSError as error:
            self._fail(f"{self.path}: {one_line(error)}", None)
        else:
            if stamp == self._stamp:
                if self._fault is not None:
                    raise _closed()
                return
            try:
                keys, self._stamp = _read(self.path)
            except (OSError, KeyFileError) as error:
                self._fail(one_line(error), stamp)
            else:
                self._keys = {key.digest[: len(key.digest) // 2]: key for key in keys}
                self._by_id = {key.id: key for key in keys}
                self._fault = None
                return
        raise _closed()

    def _fail(self, fault: str, stamp: Stamp | None) -> None:
        if fault != self._fault:
            logs.event("keys-failed", logging.ERROR, detail=fault)
        self._fault, self._stamp = fault, stamp


def _closed() -> NotReadyError:
    return NotReadyError("the file of keys cannot be read: nobody is let in; the server's log says why")


def key_path(keys: Path | None, home: Path | None) -> Path | None:
    """Where the keys are: as stated, else in the folder for what a server writes; None: there is no such place."""
    return keys if keys is not None or home is None else home / FILE


def key_ring(keys: Path | None, home: Path | None) -> KeyRing | None:
    """The keys of a server with these settings; None: it has none, and never will."""
    path = key_path(keys, home)
    return None if path is None else KeyRing(path, required=keys is not None)
