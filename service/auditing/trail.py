"""Reading an account: all lines in the order of time, or those of a request, or of a row, wherever they are."""

from __future__ import annotations

import heapq
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.auditing.entry import SUFFIX as INDEX
from latentserve.service.auditing.entry import model_sum
from latentserve.service.auditing.index import Entries, lines_of_request, lines_of_row, read_entries, stamp
from latentserve.service.auditing.log import KEPT, SUFFIX, AuditError
from latentserve.service.errors import one_line

Line = dict[str, Any]

_LINE_BYTES = 1 << 20  # no line is longer


class Trail:
    """The account in a folder, while it is written or afterwards.

    Attributes:
        segments: its files, oldest first, as they are when it is opened.
    """

    def __init__(self, folder: Path) -> None:
        """Raises AuditError: there is no such folder."""
        self.folder = folder
        try:
            self.segments = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
        except OSError as error:
            raise AuditError(f"{folder}: cannot be read ({one_line(error)})") from None

    def lines(self) -> Iterator[Line]:
        """All lines, in the order of time."""
        waiting = list(reversed(self.segments))
        open_: list[tuple[str, int, Line, Iterator[Line]]] = []
        number = 0
        while waiting or open_:
            while waiting and (not open_ or _began(waiting[-1]) <= open_[0][0]):
                number += 1
                _push(open_, number, _read(waiting.pop()))
            if open_:
                _, place, line, rest = heapq.heappop(open_)
                yield line
                _push(open_, place, rest)

    def of_request(self, id_: str) -> Iterator[Line]:
        """The lines of a request, oldest segment first."""
        needle = orjson.dumps(id_)
        for segment in self.segments:
            entries = read_entries(segment)
            for line in _found(segment, entries, lines_of_request(entries, id_), needle):
                if line.get("id") == id_:
                    yield line

    def of_row(self, model: str, version: str, seed: int, row: int) -> Iterator[Line]:
        """The lines on answers that held, or where rows were chosen may have held, this row; the newest segment
        first."""
        mine = model_sum(model, version)
        needle = b'"seed":%d,' % seed
        for segment in reversed(self.segments):
            entries = read_entries(segment)
            for line in _found(segment, entries, lines_of_row(entries, mine, seed, row), needle):
                if (line.get("model"), line.get("version"), line.get("seed")) != (model, version, seed):
                    continue
                if "latents" not in line:
                    first = line.get("offset", 0)
                    if first <= row < first + max(line.get("n", 0), line.get("budget", 0)):
                        yield line

    def ended(self, line: Line) -> Line | None:
        """What was said of an answer when it had ended; None: nothing, so it was sent whole."""
        for other in self.of_request(line["id"]):
            if other.get("event") == "ended" and other.get("began") == line["time"]:
                return other
        return None

    def kept(self, sha256: str, suffix: str) -> bytes:
        """What was too long for a line. Raises AuditError: it was not kept."""
        path = self.folder / KEPT / f"{sha256}{suffix}"
        try:
            return path.read_bytes()
        except OSError as error:
            raise AuditError(f"{path}: was not kept: it cannot be made again ({one_line(error)})") from None


def sampled_lines(segment: Path, model: str, version: str, start: int = 0) -> Iterator[tuple[int, int, Line]]:
    """Where lines of a segment begin and end that say that rows of this model were sent, and the lines, in order, from
    those on that begin at byte `start`."""
    try:
        with segment.open("rb") as file:
            if segment.stat().st_size <= start:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for at, end in _places(content, read_entries(segment), model_sum(model, version), start):
                    line = _parsed(content[at:end])
                    if line is not None and _is_sampled(line, model, version):
                        yield at, end, line
    except FileNotFoundError:  # it was moved away
        return


def count_sampled(segment: Path, model: str, version: str, until: int) -> tuple[int, int]:
    """How many such lines begin before byte `until`, and how many there are. Lines that the index has are not read, and
    a file that has not changed is counted once."""
    stamps = []
    for path in (segment, segment.with_suffix(INDEX)):
        try:
            stamps.append(stamp(path))
        except OSError:
            stamps.append((0, 0, 0))  # it is not there
    return _count_sampled(segment, tuple(stamps), model, version, until)


@lru_cache(maxsize=4096)
def _count_sampled(segment: Path, _stamps: object, model: str, version: str, until: int) -> tuple[int, int]:
    entries = read_entries(segment)
    last = int(entries["at"][-1]) if len(entries) else 0
    at = entries["at"][(entries["model"] == model_sum(model, version)) & (entries["at"] < last)]
    behind = [begin for begin, _, _ in sampled_lines(segment, model, version, last)]
    return int((at < until).sum()) + sum(begin < until for begin in behind), len(at) + len(behind)


def line_at(segment: Path, at: int) -> Line | None:
    """The line that begins there; None: there is none."""
    try:
        with segment.open("rb") as file:
            file.seek(at)
            return _parsed(file.readline(_LINE_BYTES))
    except OSError:
        return None


def _is_sampled(line: Line, model: str, version: str) -> bool:
    return (line.get("event"), line.get("model"), line.get("version")) == ("sampled", model, version)


def _places(content: mmap.mmap, entries: Entries, model: int, start: int) -> Iterator[tuple[int, int]]:
    """Of lines that may be of this model: those that the index knows, and whatever is behind its last one."""
    last = int(entries["at"][-1]) if len(entries) else 0
    known = entries["at"][(entries["model"] == model) & (entries["at"] >= start) & (entries["at"] < last)]
    for at in known.tolist():
        yield at, content.find(b"\n", at) + 1
    at = max(start, last)
    while (end := content.find(b"\n", at) + 1) > 0:
        yield at, end
        at = end


def _began(segment: Path) -> str:
    """When, as lines have the time."""
    text = segment.name.partition("-")[0]
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:]}Z"


def _push(open_: list[tuple[str, int, Line, Iterator[Line]]], place: int, lines: Iterator[Line]) -> None:
    if (line := next(lines, None)) is not None:
        heapq.heappush(open_, (str(line.get("time", "")), place, line, lines))


def _read(segment: Path) -> Iterator[Line]:
    with suppress(FileNotFoundError), _told(segment), segment.open("rb") as file:
        for text in file:
            if (line := _parsed(text)) is not None:
                yield line


@contextmanager
def _told(segment: Path) -> Iterator[None]:
    """What cannot be read. Raises AuditError; FileNotFoundError: it was moved away since the folder was listed."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AuditError(f"{segment}: cannot be read ({one_line(error)})") from None


def _found(segment: Path, entries: Entries, places: NDArray[np.int64], needle: bytes) -> Iterator[Line]:
    """Lines at these places, and those behind the last entry that hold these bytes, in order."""
    last = int(entries["at"][-1]) if len(entries) else 0
    with suppress(FileNotFoundError), _told(segment), segment.open("rb") as file:
        if segment.stat().st_size == 0:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for at in places[places < last].tolist():
                yield from _parsed_at(content, at)
            at = last
            while (hit := content.find(needle, at)) >= 0:
                start = content.rfind(b"\n", 0, hit) + 1
                yield from _parsed_at(content, max(start, last))
                end = content.find(b"\n", hit)
                if end < 0:
                    return
                at = end + 1


def _parsed_at(content: mmap.mmap, at: int) -> Sequence[Line]:
    end = content.find(b"\n", at, at + _LINE_BYTES)
    line = _parsed(content[at : end + 1]) if end >= 0 else None
    return () if line is None else (line,)


def _parsed(text: bytes) -> Line | None:
    """A line; None of half of one, which is being written, or of what is none."""
    if not text.endswith(b"\n"):
        return None
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None
