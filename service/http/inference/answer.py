"""The answer to an inference request: samples as one tensor, in the JSON or behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
        self._names = [f"conditions.{name}" for name in manifest.condition_places]
        self._n, self._spec = request.n, manifest.sample
        self._binary = self.cheap = binary
        numbers = request.n * math.prod(manifest.sample.shape)
        self._parameters: dict[str, Any] = {"synthetic": True}
        if request.seeded(manifest.latent):
            self._parameters |= {"seed": request.seed, "offset": request.offset}
        if request.latents is None:
            self._parameters["truncation"] = request.truncation
        output: dict[str, Any] = {"name": SAMPLE, "datatype": "FP32", "shape": [request.n, *manifest.sample.shape]}
        self._header: dict[str, Any] = {"model_name": manifest.name, "model_version": manifest.version}
        if request_id is not None:
            self._header["id"] = request_id
        self._header |= {"parameters": self._parameters, "outputs": [output]}
        self._room = self._wanted_room(manifest)
        self._begun = False
        if binary:
            size = numbers * _ITEM_BYTES
            output["parameters"] = {"binary_data_size": size}
            self._length = len(orjson.dumps(self._header)) + self._room
            self.size = self._length + size
            self.headers = (
                (b"content-type", BINARY),
                (b"content-length", b"%d" % self.size),
                (b"inference-header-content-length", b"%d" % self._length),
            )
        else:
            self.size = HEAD_BYTES + self._room + numbers * _NUMBER_BYTES
            self.headers = ((b"content-type", JSON),)

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
        if self._room and len(part.samples) == self._n:
            self._parameters |= self._made_for(part)
        header = orjson.dumps(self._header)
        if self._binary:
            return header.ljust(self._length)
        return header.removesuffix(b"}]}") + b',"data":['

    def _made_for(self, part: Rows) -> dict[str, str]:
        """The labels and conditions of rows."""
        told = {}
        if part.labels is not None:
            told["labels"] = ",".join(map(str, part.labels.tolist()))
        if part.conditions is not None:
            for name, column in zip(self._names, part.conditions.T, strict=True):
                told[name] = b"".join(arrays.json_numbers(column)).decode()
        return told
