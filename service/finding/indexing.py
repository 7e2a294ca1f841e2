"""Rows that an account tells of, made again and kept by their features: all that were sent since the last time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.auditing.asked import asked_by
from latentserve.service.auditing.trail import Line, Trail, count_sampled, sampled_lines
from latentserve.service.bundle import Inputs, Manifest
from latentserve.service.encoding.images import pixels
from latentserve.service.errors import LatentserveError
from latentserve.service.finding.feature_file import Features, FeatureWriter, feature_path
from latentserve.service.finding.features import dimensions, features_of
from latentserve.service.opened import OpenedBundle
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.request import Part, RowsRequest, draw_inputs
from latentserve.service.sampling.served_graph import Output

_ROWS = 512  # that are made at a time, and after which a file is marked


class Indexed(NamedTuple):
    """What an index knows.

    Attributes:
        answers: of the account's answers, so many,
        of: of so many.
        lost: that cannot be made again: what they were made from was not kept.
    """

    answers: int
    of: int
    lost: int


class _Row(NamedTuple):
    """Rows of one line: where it begins, and which of those that were made for it."""

    at: int
    part: Part


def index_rows(bundle: OpenedBundle, trail: Trail, told: Callable[[int], object] = lambda _answers: None) -> None:
    """Make features of all rows of this bundle that the account tells of and the index does not know; `told` of how
    many answers as they are done. May be stopped at any time, and goes on where it was. Raises AuditError."""
    manifest = bundle.manifest
    for segment in trail.segments:
        path, size = feature_path(segment, manifest.version), dimensions(manifest.sample)
        if next(_lines(segment, manifest, Features(path, size).until), None) is None:
            continue
        writer = FeatureWriter(path, size)
        try:
            for done in _index_segment(bundle, trail, writer, _lines(segment, manifest, writer.until)):
                told(done)
        finally:
            writer.close()


def indexed(trail: Trail, manifest: Manifest) -> Indexed:
    """How much of an account the index knows."""
    answers = of = lost = 0
    for segment in trail.segments:
        there = Features(feature_path(segment, manifest.version), dimensions(manifest.sample))
        known, all_ = count_sampled(segment, manifest.name, manifest.version, there.until)
        answers, of, lost = answers + known - there.lost, of + all_, lost + there.lost
    return Indexed(answers, of, lost)


def _lines(segment: Path, manifest: Manifest, start: int) -> Iterator[tuple[int, int, Line]]:
    return sampled_lines(segment, manifest.name, manifest.version, start)


def _index_segment(
    bundle: OpenedBundle, trail: Trail, writer: FeatureWriter, lines: Iterator[tuple[int, int, Line]]
) -> Iterator[int]:
    waiting: list[_Row] = []
    answers = rows = lost = until = 0
    for at, end, line in lines:
        try:
            found = list(_parts(bundle, trail, line))
        except LatentserveError:
            found, lost = [], lost + 1
        waiting += [_Row(at, part) for part in found]
        rows += sum(count for _, _, count in found)
        answers, until = answers + 1, end
        if rows >= _ROWS or answers >= _ROWS:
            _make(bundle, writer, waiting)
            writer.mark(until, lost)
            yield answers
            waiting, answers, rows, lost = [], 0, 0, 0
    if answers:
        _make(bundle, writer, waiting)
        writer.mark(until, lost)
        yield answers


def _parts(bundle: OpenedBundle, trail: Trail, line: Line) -> Iterator[Part]:
    """The rows that were sent, of the request for them."""
    request, choice = asked_by(line, trail, bundle.manifest)
    if choice is None:
        yield request, 0, request.n
        return
    left = int(line["n"])
    for part in bundle.chosen(request, Search(choice, bundle.manifest, request.offset)):
        assert part.numbers is not None  # noqa: S101, rows of a search have them
        for number in part.numbers[:left].tolist():
            yield request, number - request.offset, 1
        left -= len(part.numbers)


def _make(bundle: OpenedBundle, writer: FeatureWriter, waiting: Sequence[_Row]) -> None:
    """Their features, into the file, but of rows that it knows."""
    manifest = bundle.manifest
    output: Output = "sample_uint8" if bundle.gives("sample_uint8") else "sample"
    for some in _portions(waiting):
        inputs = draw_inputs(manifest, [part for _, part in some])
        at = np.repeat([one.at for one in some], [one.part[2] for one in some])
        row = np.concatenate([np.arange(start, start + count) for _, (_, start, count) in some])
        key = keys_of(inputs)
        _, first = np.unique(key, return_index=True)
        new = np.array([place for place in np.sort(first).tolist() if not writer.knows(int(key[place]))], np.int64)
        if not len(new):
            continue
        made = bundle.made(request_of(inputs.take(new))._replace(output=output))
        writer.add(at[new], row[new], key[new], features_of(pixels(made.samples, manifest.sample)))


def _portions(waiting: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Of so many rows at the most, in order."""
    some: list[_Row] = []
    rows = 0
    for at, (request, start, count) in waiting:
        while count:
            taken = min(count, _ROWS - rows)
            some.append(_Row(at, (request, start, taken)))
            start, count, rows = start + taken, count - taken, rows + taken
            if rows == _ROWS:
                yield some
                some, rows = [], 0
    if some:
        yield some


def keys_of(inputs: Inputs) -> NDArray[np.uint64]:
    """By what equal rows are known: of all that they are made from, 8 bytes of a hash."""
    arrays = [np.ascontiguousarray(array) for array in inputs if array is not None]
    sums = [
        blake2b(b"".join(array[row].tobytes() for array in arrays), digest_size=8).digest()
        for row in range(len(inputs.z))
    ]
    return np.frombuffer(b"".join(sums), "<u8")


def request_of(inputs: Inputs) -> RowsRequest:
    """For rows that are made from these."""
    return RowsRequest(len(inputs.z), latents=inputs.z, labels=inputs.label, conditions=inputs.condition)
