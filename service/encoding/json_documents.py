"""Samples as JSON: one object, or an object a row (NDJSON)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays, images, tables
from latentserve.service.encoding.document import HEAD_BYTES, JSON, NDJSON, NUMBER_BYTES, PNG, Document, Piece
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows

_NOTHING = np.zeros(0, np.float32)
_FACTS_BYTES = 8  # of a label, and of a row's number; half of it of a condition


class Json(Document):
    """A JSON object: what was asked for, the samples and, if there are any, the labels by name and the conditions. Rows
    that do not follow one another are numbered in `rows`."""

    headers = ((b"content-type", JSON.encode()),)
    has_room = True

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        self._n = n
        self._spec = spec
        self._provenance = provenance
        self._row = 0
        self._told: list[Rows] = []  # without the samples
        self._concluded: Mapping[str, object] = {}
        self.text = spec.kind != "image"
        self.size = HEAD_BYTES + n * (sample_bytes(spec) + provenance.facts_bytes)
        self.held = n * (2 * _FACTS_BYTES + len(provenance.conditions) * _FACTS_BYTES // 2)

    def opening(self) -> bytes:
        """The fields, and the start of the array of samples."""
        fields = self._provenance.head(self._n)
        if self._spec.kind == "image":
            fields["media_type"] = PNG
        if self._spec.columns is not None:
            fields["columns"] = [column.name for column in self._spec.columns]
        return orjson.dumps(fields)[:-1] + b',"samples":['

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The inside of the array."""
        self._told.append(part._replace(samples=_NOTHING))
        first, self._row = self._row, self._row + len(part.samples)
        if first:
            yield b","
        yield from arrays.json_values(part, self._spec, self._provenance, first)

    def conclude(self, told: Mapping[str, object]) -> None:
        """Members behind all others."""
        self._concluded = told

    def closing(self) -> Iterator[Piece]:
        """The end of the array, the rows' numbers, labels, conditions as one object a row, and scores."""
        yield b"]"
        told, provenance = self._told, self._provenance
        if told[0].numbers is not None:
            yield b',"rows":['
            yield from arrays.json_numbers(np.concatenate([part.numbers for part in told if part.numbers is not None]))
            yield b"]"
        if told[0].labels is not None:
            yield b',"labels":['
            yield from arrays.listed(orjson.dumps(provenance.label_names(part))[1:-1] for part in told)
            yield b"]"
        if told[0].conditions is not None:
            yield b',"conditions":['
            conditions = np.concatenate([part.conditions for part in told if part.conditions is not None])
            yield from arrays.json_objects(conditions, provenance.conditions)
            yield b"]"
        if told[0].scores is not None:
            yield b',"scores":['
            yield from arrays.json_numbers(np.concatenate([part.scores for part in told if part.scores is not None]))
            yield b"]"
        for name, value in self._concluded.items():
            yield b",%b:%b" % (orjson.dumps(name), orjson.dumps(value))
        yield b"}"


class Ndjson(Document):
    """A JSON object a row: `sample`, and what is known of it."""

    has_room = True

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        of_all = provenance._replace(asked_labels=None, asked_conditions=None)  # lines tell their own
        self.headers = ((b"content-type", NDJSON.encode()), of_all.header(n))
        self._spec = spec
        self._provenance = provenance
        self._row = 0
        self._names = [column.name for column in spec.columns or ()]
        self.text = spec.kind != "image"
        names = sum(len(name) * 6 + 4 for name in self._names)
        self.size = HEAD_BYTES + n * (sample_bytes(spec) + names + provenance.facts_bytes)

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The lines."""
        for some in part.in_parts():
            facts = self._provenance.facts(some, self._row)
            first, self._row = self._row, self._row + len(facts)
            if self._spec.kind == "table":
                samples = tables.rows(cast("NDArray[np.float32]", some.samples), self._spec)
                lines = [
                    {"sample": dict(zip(self._names, sample, strict=True)), **fact}
                    for sample, fact in zip(samples, facts, strict=True)
                ]
                yield b"".join([orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines])
                continue
            for row, fact in enumerate(facts):
                yield b'{"sample":'
                yield from self._sample(some, row, first)
                yield b",%b\n" % orjson.dumps(fact)[1:]

    def _sample(self, part: Rows, row: int, first: int) -> Iterator[bytes]:
        """One row that is no table's; the answer's row `first` is the part's first."""
        sample = part.samples[row : row + 1]
        if self._spec.kind != "image":
            return arrays.json_numbers(sample)
        picture = images.pixels(sample, self._spec)[0]
        return arrays.json_picture(picture, self._provenance.of(part, row, first))


def sample_bytes(spec: SampleSpec) -> int:
    """Of a sample as JSON, at the most: base64 of a picture that could not be compressed, or its numbers."""
    if spec.kind == "image":
        return (math.prod(spec.shape) + HEAD_BYTES) * 4 // 3
    return tables.row_bytes(spec) if spec.kind == "table" else math.prod(spec.shape) * NUMBER_BYTES
