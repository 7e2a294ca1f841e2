"""Samples as Arrow: a stream of record batches, or a Parquet file. Importing this needs the extra `tables`.

A table has its columns, by their own names and types. Other samples are a column `sample` of tensors, of the extension
type `arrow.fixed_shape_tensor`. What is known of the rows stands in metadata, as JSON: what is the same of all under
`latentserve` in the schema's; what each was made for under the same in that of each record batch (and in the schema's,
if there is one), in a Parquet file under `latentserve.rows`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec, plain, typed
from latentserve.service.encoding import images
from latentserve.service.encoding.arrays import Dtype
from latentserve.service.encoding.document import ARROW, HEAD_BYTES, NUMBER_BYTES, PARQUET, Document, Piece
from latentserve.service.encoding.provenance import Provenance, named
from latentserve.service.encoding.rows import Rows, in_parts
from latentserve.service.encoding.sink import Sink
from latentserve.service.encoding.tables import Address, row_bytes

_KEY, _ROWS_KEY = b"latentserve", b"latentserve.rows"
_TOLD_ROWS = 1 << 16  # of a file, that its metadata tells of: readers keep it in memory
_GROUP_BYTES = 2 << 20  # of a row group: a few milliseconds, and enough for readers that go by groups
_BATCH_ROWS, _BATCH_BYTES = 256, 8 << 20  # of a record batch: as many as come at a time
_FACTS_BYTES = 16


class _Batches:
    """Rows as record batches."""

    def __init__(self, spec: SampleSpec, provenance: Provenance, dtype: Dtype, address: Address | None) -> None:
        self._spec = spec
        self._dtype = dtype
        self._address = address
        self._columns = spec.columns if spec.kind == "table" else None
        if self._columns is not None:
            fields = [(column.name, pa.type_for_alias(column.type or "float32")) for column in self._columns]
        else:
            fields = [("sample", pa.fixed_shape_tensor(pa.type_for_alias(dtype), spec.shape))]
        if address is not None:
            fields += zip(address.names, map(pa.type_for_alias, address.types), strict=True)
        self.schema = pa.schema(fields)

    @property
    def row_bytes(self) -> int:
        """At the most."""
        told = NUMBER_BYTES * len(self._address.names) if self._address else 0
        if self._columns is not None:
            return told + row_bytes(self._spec)
        return told + math.prod(self._spec.shape) * np.dtype(self._dtype).itemsize

    def batch(self, part: Rows, first: int) -> Any:
        """Of a part; the answer's row `first` is its first."""
        if self._columns is not None:
            samples = cast("NDArray[np.float32]", part.samples)
            values: list[Any] = [typed(samples[:, at], column) for at, column in enumerate(self._columns)]
            arrays = [pa.array(array, type=kind) for array, kind in zip(values, self.schema.types, strict=False)]
        else:
            arrays = [self._tensors(part)]
        if self._address is not None:
            told = self._address.columns(part, first)
            kinds = self.schema.types[len(arrays) :]
            arrays += [pa.array(column, type=kind) for column, kind in zip(told, kinds, strict=True)]
        return pa.record_batch(arrays, schema=self.schema)

    def _tensors(self, part: Rows) -> Any:
        samples = part.samples
        if samples.dtype != self._dtype:
            samples = np.concatenate([images.pixels(some, self._spec) for some in in_parts(samples)])
        kind = self.schema.types[0]
        values = pa.array(np.ascontiguousarray(samples).reshape(-1))
        width = math.prod(self._spec.shape)
        return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(values, width))


class Arrow(Document):
    """A stream of record batches, of as many rows each whatever slices they come in."""

    headers = ((b"content-type", ARROW.encode()),)
    has_room = True

    def __init__(
        self, n: int, spec: SampleSpec, provenance: Provenance, dtype: Dtype, address: Address | None = None
    ) -> None:
        self._n = n
        self._provenance = provenance
        self._batches = _Batches(spec, provenance, dtype, address)
        self._row = 0
        self._sink = Sink()
        self._writer: Any = None
        self._waiting: list[Rows] = []
        self._room = self._batch_rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // self._batches.row_bytes))
        self.size = HEAD_BYTES + provenance.rows_mark_bytes(n)
        self.size += n * (self._batches.row_bytes + 2 * provenance.facts_bytes + HEAD_BYTES // 8)
        self.held = min(n, self._batch_rows) * self._batches.row_bytes

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The bytes of the batches that are whole; before the first, the schema's."""
        while len(part.samples) or (self._writer is None and not self._waiting):
            some, part = part.take(slice(self._room)), part.take(slice(self._room, None))
            self._waiting.append(some)
            self._room -= len(some.samples)
            if self._room == 0:
                yield self._written()

    def _written(self) -> bytes:
        """A batch of what waits."""
        part, self._waiting, self._room = Rows.join(self._waiting), [], self._batch_rows
        told = _told(part, self._provenance)
        if self._writer is None:
            head = self._provenance.mark(self._n) | (told if len(part.samples) == self._n else {})
            schema = self._batches.schema.with_metadata({_KEY: orjson.dumps(head)})
            self._writer = pa.ipc.new_stream(self._sink, schema)
        first, self._row = self._row, self._row + len(part.samples)
        address = {"row": self._provenance.offset + first} if part.numbers is None else {}
        self._writer.write_batch(self._batches.batch(part, first), {_KEY: orjson.dumps(address | told)})
        return self._sink.taken()

    def closing(self) -> Iterator[Piece]:
        """The last batch, and the end of the stream."""
        if self._waiting or self._writer is None:
            yield self._written()
        self._writer.close()
        yield self._sink.taken()


class Parquet(Document):
    """A Parquet file, with row groups of a few megabytes."""

    headers = ((b"content-type", PARQUET.encode()),)
    has_room = True

    def __init__(
        self, n: int, spec: SampleSpec, provenance: Provenance, dtype: Dtype, address: Address | None = None
    ) -> None:
        self._n = n
        self._provenance = provenance
        self._batches = _Batches(spec, provenance, dtype, address)
        self._row = 0
        self._told: list[dict[str, list[Any]]] = []
        self._waiting: list[Any] = []
        self._room = self._group_rows = max(1, _GROUP_BYTES // self._batches.row_bytes)
        self._sink = Sink()
        schema = self._batches.schema.with_metadata({_KEY: orjson.dumps(provenance.mark(n))})
        # Random numbers are all different, and no smaller for being compressed.
        words = [field.name for field in schema if pa.types.is_string(field.type)]
        packed = "snappy" if spec.kind == "table" or dtype == "uint8" else "none"
        self._writer = pq.ParquetWriter(self._sink, schema, compression=packed, use_dictionary=words)
        told_rows = min(n, _TOLD_ROWS)
        self.size = HEAD_BYTES + n * (self._batches.row_bytes + HEAD_BYTES // 8) + told_rows * provenance.facts_bytes
        self.held = 2 * min(_GROUP_BYTES, n * self._batches.row_bytes) + told_rows * provenance.facts_bytes

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The row groups that are whole, of as many rows each whatever slices they come in."""
        if self._n <= _TOLD_ROWS:
            self._told.append(_told(part, self._provenance))
        while len(part.samples):
            some, part = part.take(slice(self._room)), part.take(slice(self._room, None))
            first, self._row = self._row, self._row + len(some.samples)
            self._waiting.append(self._batches.batch(some, first))
            self._room -= len(some.samples)
            if self._room == 0:
                yield self._group()

    def closing(self) -> Iterator[Piece]:
        """The last row group, and what is said of all."""
        if self._waiting:
            yield self._group()
        if self._told:
            told = {name: list(chain.from_iterable(some[name] for some in self._told)) for name in self._told[0]}
            self._writer.add_key_value_metadata({_ROWS_KEY: orjson.dumps(told)})
        self._writer.close()
        yield self._sink.taken()

    def _group(self) -> bytes:
        waiting, self._waiting, self._room = self._waiting, [], self._group_rows
        # Pages would end where the slices did.
        table = pa.Table.from_batches(waiting).combine_chunks()
        self._writer.write_table(table, row_group_size=len(table))
        return self._sink.taken()


def _told(part: Rows, provenance: Provenance) -> dict[str, list[Any]]:
    """What each row was made for: labels by name, conditions; and its number, where they do not follow one another."""
    told: dict[str, list[Any]] = {}
    if part.numbers is not None:
        told["rows"] = part.numbers.tolist()
    if part.labels is not None:
        told["labels"] = provenance.label_names(part)
    if part.conditions is not None:
        told["conditions"] = named(part.conditions, provenance.conditions)
    if part.scores is not None:
        told["scores"] = plain(part.scores)
    return told
