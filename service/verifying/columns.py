"""Arrow and Parquet that somebody brings -> their columns, and their mark. Importing this needs the extra `tables`."""

from __future__ import annotations

import struct
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from latentserve.service.errors import LatentserveError, TooLargeError

_KEY, _ROWS_KEY = b"latentserve", b"latentserve.rows"
_FILE = b"ARROW1\0\0"  # how a file begins that is no stream
_BATCH_ROWS = 1024
_BODY_COMPRESSION = 3  # which field of a RecordBatch says how its buffers are compressed (Arrow's Message.fbs)
_HEADER, _RECORD_BATCH = 2, "record batch"


def read_columns(
    content: bytes, parquet: bool, most_rows: int, most_bytes: int
) -> tuple[dict[str, Any] | None, list[str], list[Any]]:
    """The mark (None: there is none), the names of the columns and their values: lists, or an array [n, ...] of
    tensors. Raises TooLargeError, and pyarrow's own errors."""
    batches: Any
    if parquet:
        file = pq.ParquetFile(pa.BufferReader(content))
        if file.metadata.num_rows > most_rows:
            raise TooLargeError(f"the file has {file.metadata.num_rows} rows; at most {most_rows} are made again")
        schema, metadata = file.schema_arrow, file.metadata.metadata or {}
        batches = ((batch, None) for batch in file.iter_batches(_BATCH_ROWS))
    else:
        stream = content.removeprefix(_FILE)  # in a file there is a stream, and behind it where its batches are
        try:
            _require_plain(stream)
        except OSError:
            if stream is content:
                raise
            raise LatentserveError("there is no stream in this Arrow file: save it as Parquet") from None
        reader = pa.ipc.open_stream(stream)
        schema, metadata = reader.schema, reader.schema.metadata or {}
        batches = _of_stream(reader)
    for field in schema:
        if not _is_taken(field.type):
            raise LatentserveError(f"its column {field.name[:100]!r} is of type {str(field.type)[:100]}")
    read, rows, size, told_rows = [], 0, 0, []
    for batch, told in batches:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > most_rows or size > most_bytes:
            raise TooLargeError(f"the file has more than {most_rows} rows, or {most_bytes} bytes")
        read.append(batch)
        if told is not None and _KEY in told:
            told_rows.append(orjson.loads(told[_KEY]))
    table = pa.Table.from_batches(read, schema)
    head = metadata.get(_KEY)
    mark = None if head is None else _object(head)
    if mark is not None:
        lists = _joined(told_rows)
        if parquet and (rows_told := metadata.get(_ROWS_KEY)) is not None:
            lists = _object(rows_told) or {}
        mark = mark | {name: lists[name] for name in ("rows", "labels", "conditions") if name in lists}
    return mark, table.column_names, [_values(column) for column in table.columns]


def _object(content: bytes) -> dict[str, Any] | None:
    told = orjson.loads(content)
    return told if isinstance(told, dict) else None


def _of_stream(reader: Any) -> Any:
    while True:
        try:
            yield reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return


def _is_taken(kind: Any) -> bool:
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):  # of a Parquet file: its values are in it once
        kind = kind.value_type
    taken = (
        pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean,
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
    )  # fmt: skip
    return any(is_one(kind) for is_one in taken)


def _joined(parts: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = ("rows", "labels", "conditions")
    return {
        name: list(chain.from_iterable(part[name] for part in parts)) for name in names if parts and name in parts[0]
    }


def _values(column: Any) -> Any:
    if isinstance(column.type, pa.FixedShapeTensorType):
        return np.concatenate([chunk.to_numpy_ndarray() for chunk in column.chunks])
    return column.to_pylist()


def _require_plain(content: bytes) -> None:
    """Raises LatentserveError: buffers are compressed, or dictionaries, which nothing here writes: how large they
    become is not known before they are."""
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(content)):
        if message.type == _RECORD_BATCH:
            metadata = message.metadata.to_pybytes()
            header = _field(metadata, struct.unpack_from("<I", metadata)[0], _HEADER)
            if header is not None:
                batch = header + struct.unpack_from("<I", metadata, header)[0]
                if _field(metadata, batch, _BODY_COMPRESSION) is not None:
                    raise LatentserveError("its buffers are compressed")
        elif message.type == "dictionary":
            raise LatentserveError("it has dictionaries")


def _field(content: bytes, table: int, number: int) -> int | None:
    """Where a field of a table is (FlatBuffers' binary format); None: it is not there."""
    vtable = table - struct.unpack_from("<i", content, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", content, vtable)[0]:
        return None
    at = struct.unpack_from("<H", content, vtable + 4 + 2 * number)[0]
    return table + at if at else None
