"""The rows in an index that a picture is nearest to, by their features: all of them are looked at, some at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.finding.feature_file import MARK, Features
from latentserve.service.finding.features import COARSE, FINE, Parts, Query, Window

_CHUNK = 1 << 13  # rows, of which a few megabytes are held
_KEPT = 2000  # rows that are looked at more closely, at the least,
_KEPT_SHARE = 1 / 1000  # and of many so many
_CANDIDATES = 32  # that are made again


class Candidate(NamedTuple):
    """A row that a picture may be.

    Attributes:
        segment: of the account, where a line begins at `at`, of whose rows it is `row`.
        key: by which equal rows are known.
        window: about the part of it that the picture is.
    """

    segment: Path
    at: int
    row: int
    key: int
    window: Window


class _Kept(NamedTuple):
    """Rows that are near: how near, of which file, and their records."""

    near: NDArray[np.float32]
    file: NDArray[np.intp]
    record: NDArray[np.void]

    def take(self, places: NDArray[Any]) -> _Kept:
        """These rows only."""
        return _Kept(self.near[places], self.file[places], self.record[places])


def nearest(query: Query, files: Iterable[tuple[Path, Features]]) -> list[Candidate]:
    """Different rows of segments' features, nearest first."""
    coarse = query.parts(*COARSE)
    segments: list[Path] = []
    kept: _Kept | None = None
    rows = 0
    for segment, features in files:
        segments.append(segment)
        for start in range(0, features.size, _CHUNK):
            records = np.asarray(features.records[start : min(start + _CHUNK, features.size)])
            records = records[records["row"] != MARK]
            if not len(records):
                continue
            rows += len(records)
            near = coarse.distances(records["feature"]).min(axis=1)
            of = np.full(len(records), len(segments) - 1)
            kept = _nearer(kept, _Kept(near, of, records), max(_KEPT, int(rows * _KEPT_SHARE)))
    return [] if kept is None else _closer(query.parts(*FINE), kept, segments)


def _nearer(kept: _Kept | None, new: _Kept, most: int) -> _Kept:
    """The nearest of both."""
    if kept is not None:
        if len(kept.near) >= most:
            new = new.take(np.flatnonzero(new.near < kept.near.max()))
        new = _Kept(
            np.concatenate((kept.near, new.near)),
            np.concatenate((kept.file, new.file)),
            np.concatenate((kept.record, new.record)),
        )
    # A row that was sent often stands in many files: once is enough.
    _, first = np.unique(new.record["key"], return_index=True)
    if len(first) > most:
        first = first[np.argpartition(new.near[first], most)[:most]]
    return new.take(np.sort(first))


def _closer(fine: Parts, kept: _Kept, segments: list[Path]) -> list[Candidate]:
    near = np.concatenate(
        [fine.distances(kept.record["feature"][start : start + _CHUNK]) for start in range(0, len(kept.record), _CHUNK)]
    )
    order = np.argsort(near.min(axis=1), kind="stable")[:_CANDIDATES]
    return [
        Candidate(
            segments[int(kept.file[place])],
            int(kept.record["at"][place]),
            int(kept.record["row"][place]),
            int(kept.record["key"][place]),
            fine.windows[int(near[place].argmin())],
        )
        for place in order.tolist()
    ]
