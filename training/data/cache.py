"""What was decoded once, kept on disk for the next start and for other processes: pixels and frames as they are stored,
in one file that all of them map, with the digest of their content.

An entry is a folder that is named by what it was decoded from (each file's name, size and time of its last change) and
how: `samples.bin`, `rows.bin`, `about.json`, and one small file for each figure that was computed of it. It is made
beside its place and then put there in one step, so that what a killed process, a full disk, or two processes at once
leave is an entry or none. What is not whole, or of another version, is made again; where none can be kept, data are
decoded as without. Nothing is unpickled.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import Entry, stored_in
from latentserve.training.errors import NoRoomError

FORMAT = 2  # another one where files are decoded in another way
PLACE = "LATENTSERVE_DATA_CACHE"  # the folder, instead of the user's; an empty word keeps nothing
LEAST = 32 << 20  # bytes of files; fewer are decoded in the time that it takes to look for them

_SPOTS, _SPOT = 64, 4096  # places that are looked at before an entry is believed, and bytes of each
_SAMPLES, _ROWS, _ABOUT = "samples.bin", "rows.bin", "about.json"
_KINDS = "uifb"  # of numbers that samples may be


class Decoded(NamedTuple):
    """What files hold.

    Attributes:
        samples: [N, *shape] in the type that they are stored in.
        rows: int64 [N], which of the files each is of.
        about: what was met among them, as JSON.
        entry: where it is kept; None: nowhere.
        note: what there is to say of that; empty: nothing.
    """

    samples: NDArray[Any]
    rows: NDArray[np.int64]
    about: dict[str, Any]
    entry: Entry | None = None
    note: str = ""


def folder() -> Path | None:
    """Where entries are; None where nothing is to be kept."""
    stated = os.environ.get(PLACE)
    if stated is not None:
        return Path(stated).expanduser() if stated else None
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(home).expanduser() / "latentserve" / "data"
    except RuntimeError:  # nobody's home
        return None


def decoded(files: Iterable[Path], asked: Mapping[str, Any], decode: Callable[[], Decoded]) -> Decoded:
    """What `decode` makes of files, or made of the same ones before.

    Args:
        files: On disk, in order.
        asked: Whatever else decides what is made of them, as JSON.
        decode: Makes it. Of one `storage` that it asks for becomes the file that is kept.
    """
    place = folder()
    stated = _stated(files)
    if place is None or stated is None or sum(size for _, size, _ in stated) < LEAST:
        return decode()
    content = json.dumps([sys.byteorder, stated, dict(asked)], sort_keys=True)
    where = place / hashlib.sha256(content.encode()).hexdigest()[:32]
    found = _read(where)
    if found is not None:
        return found
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(where) as alone:
            # Another process may have made it meanwhile.
            return _read(where) or _make(where, decode, alone)
    except OSError as error:
        return decode()._replace(note=f"cannot be kept in {place} ({error.strerror or error}): decoded at each start")
    except NoRoomError:
        return decode()._replace(note=f"{place} has no room for them: they are decoded at each start")


def _stated(files: Iterable[Path]) -> list[tuple[str, int, int]] | None:
    """Name, size and time of the last change of each; None where one is not to be had."""
    try:
        return [(file.name, (found := file.stat()).st_size, found.st_mtime_ns) for file in files]
    except OSError:
        return None


def _make(where: Path, decode: Callable[[], Decoded], alone: bool) -> Decoded:
    """Decode into an entry; `alone`: nobody else does. Raises OSError or NoRoomError where it cannot be kept."""
    for left in where.parent.glob(f"{where.name}.*.partial") if alone else ():
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    partial = where.with_name(f"{where.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        with stored_in(partial / _SAMPLES):
            samples, rows, about, *_ = decode()
        if not (partial / _SAMPLES).exists():
            samples.tofile(partial / _SAMPLES)
        rows.tofile(partial / _ROWS)
        told = {
            "format": FORMAT,
            "shape": samples.shape,
            "dtype": samples.dtype.name,
            "about": about,
            "spots": _spots(partial / _SAMPLES, samples.nbytes),
        }
        (partial / _ABOUT).write_text(json.dumps(told))
        for file in partial.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        if where.exists():
            shutil.rmtree(where)  # not whole, or of another version
        partial.rename(where)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    kept = _read(where)
    if kept is None:
        raise OSError(f"{where} changed while it was read")
    return kept._replace(note=f"decoded once, and kept in {where} ({samples.nbytes / 1e6:,.0f} MB)")


def _read(where: Path) -> Decoded | None:
    """An entry; None where there is none that is whole and of this version."""
    try:
        told = json.loads((where / _ABOUT).read_bytes())
        shape, dtype, about = tuple(told["shape"]), np.dtype(told["dtype"]), told["about"]
        size = prod(shape) * dtype.itemsize
        whole = (
            told["format"] == FORMAT
            and dtype.kind in _KINDS
            and (where / _SAMPLES).stat().st_size >= size > 0
            and (where / _ROWS).stat().st_size == 8 * shape[0]
            and _spots(where / _SAMPLES, size) == told["spots"]
        )
        if not whole:
            return None
        samples = np.memmap(where / _SAMPLES, dtype, "r", shape=shape)
        rows = np.fromfile(where / _ROWS, np.int64)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return Decoded(samples, rows, about, Kept(where), f"decoded before, and mapped from {where}")


@dataclass(frozen=True)
class Kept:
    """An entry's folder, which remembers figures of its content."""

    where: Path

    def once(self, name: str, compute: Callable[[], str]) -> str:
        """What was computed under this name, now or before."""
        file = self.where / f"{name}.txt"
        with suppress(OSError, UnicodeDecodeError):
            if known := file.read_text():
                return known
        value = compute()
        partial = file.with_suffix(f".{secrets.token_hex(4)}.partial")
        with suppress(OSError):  # an entry that may only be read is as good
            with partial.open("w") as opened:
                opened.write(value)
                opened.flush()
                os.fsync(opened.fileno())
            partial.replace(file)
        return value


def _spots(file: Path, size: int) -> str:
    """A digest of bytes here and there: of what was never written, or by somebody else, it is another."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        for at in range(_SPOTS):
            opened.seek(max(0, (size - _SPOT) * at // (_SPOTS - 1)))
            digest.update(opened.read(min(_SPOT, size)))
    return digest.hexdigest()


@contextmanager
def _locked(where: Path) -> Iterator[bool]:
    """Within the block no other process makes this entry; False where the file system has no locks, and each may."""
    lock = where.with_suffix(".lock")
    with lock.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("data: another process is decoding these files; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(opened, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
        with suppress(OSError):  # who waited for it finds the entry; after an error the next one goes on with it
            lock.unlink()
