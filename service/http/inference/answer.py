"""The answer to an inference request: samples as one tensor, in the JSON or behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from latentserve.service.bundle import Manifest
from latentserve.service.encoding import arrays
from latentserve.service.encoding.document import HEAD_BYTES, Document, Piece
from latentserve.service.encoding.rows import Rows
from latentserve.service.http.inference.request import SAMPLE
from latentserve.service.sampling.request import RowsRequest

JSON, BINARY = b"application/json", b"application/octet-stream"

_ITEM_BYTES = 4  # of FP32
_NUMBER_BYTES = 24  # as text, at the most
_ROOM_BYTES = 1 << 14  # that are left in the header for what rows were made for, at the most


class Answer(Document):
    """`{"model_name", "model_version", "id", "parameters", "outputs": [sample]}`.

    `parameters` say the seed, offset and truncation where they say something, and what each row was made for: labels
    as text, `3,1,4`, and so the numbers of each condition; where those are known before the first sample is written,
    and do not take much room. The length of a header with numbers behind it is stated before it is made: blanks fill it
    up.
    """

    has_room = True

    def __init__(self, request: RowsRequest, manifest: Manifest, request_id: str | None, *, binary: bool) -> None:
        spec = manifest.sample
        self._n, self._spec = request.n, spec
        self._binary = self.cheap = binary
        self._before, self._after, numbers = _describe(
            manifest.name, manifest.version, (request.n, *spec.shape), binary=binary
        )
        if request_id is not None:
            self._before += b',"id":' + orjson.dumps(request_id)
        self._parameters: dict[str, Any] = {"synthetic": True}
        if request.seeded(manifest.latent):
            self._parameters |= {"seed": request.seed, "offset": request.offset}
        if request.latents is None:
            self._parameters["truncation"] = request.truncation
        self._header = self._made()
        self._names = [f"conditions.{name}" for name in manifest.condition_places]
        self._room = self._wanted_room(manifest)
        self._begun = False
        if binary:
            length = len(self._header) + self._room
            self.size = length + numbers * _ITEM_BYTES
            self.headers = (
                (b"content-type", BINARY),
                (b"content-length", b"%d" % self.size),
                (b"inference-header-content-length", b"%d" % length),
            )
        else:
            self.size = HEAD_BYTES + self._room + numbers * _NUMBER_BYTES
            self.headers = ((b"content-type", JSON),)

    def _made(self) -> bytes:
        """The header, as far as it is known."""
        return b'%b,"parameters":%b%b' % (self._before, orjson.dumps(self._parameters), self._after)

    def _wanted_room(self, manifest: Manifest) -> int:
        """Bytes that labels and conditions take in the header; 0: there are none, or too many."""
        room = 0
        if manifest.labels is not None:
            room += len(',"labels":""') + self._n * (len(str(len(manifest.labels))) + 1)
        for name in self._names:
            room += len(orjson.dumps(name)) + len(',:""') + self._n * (_NUMBER_BYTES + 1)
        return room if room <= _ROOM_BYTES else 0

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The header, before the first of them, and the values."""
        if not self._begun:
            yield self._opening(part)
        elif not self._binary:
            yield b","
        self._begun = True
        if self._binary:
            yield from arrays.raw(part.samples, self._spec, "float32")
        else:
            yield from arrays.json_numbers(part.samples.reshape(-1))

    def closing(self) -> Iterator[Piece]:
        """The end of the JSON, where the numbers are in it."""
        if not self._binary:
            yield b"]}]}"

    def _opening(self, part: Rows) -> bytes:
        if not self._room:
            return self._header
        length = len(self._header) + self._room
        if len(part.samples) == self._n:
            self._parameters |= self._made_for(part)
            self._header = self._made()
        return self._header.ljust(length) if self._binary else self._header

    def _made_for(self, part: Rows) -> dict[str, str]:
        """The labels and conditions of rows."""
        told = {}
        if part.labels is not None:
            told["labels"] = ",".join(map(str, part.labels.tolist()))
        if part.conditions is not None:
            for name, column in zip(self._names, part.conditions.T, strict=True):
                told[name] = b"".join(arrays.json_numbers(column)).decode()
        return told


@lru_cache(maxsize=64)
def _describe(model: str, version: str, shape: tuple[int, ...], *, binary: bool) -> tuple[bytes, bytes, int]:
    """What stands before a header's `id` and `parameters`, and after them; and how many numbers there are."""
    numbers = math.prod(shape)
    output: dict[str, Any] = {"name": SAMPLE, "datatype": "FP32", "shape": shape}
    if binary:
        output["parameters"] = {"binary_data_size": numbers * _ITEM_BYTES}
    before = orjson.dumps({"model_name": model, "model_version": version}).removesuffix(b"}")
    after = b',"outputs":[%b]}' % orjson.dumps(output)
    return before, after if binary else after.removesuffix(b"}]}") + b',"data":[', numbers
