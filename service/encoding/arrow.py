"""Table samples as an Arrow stream. Importing this needs the extra `tables`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.documents import ARROW, HEAD_BYTES, Document, table_row_bytes
from latentserve.service.encoding.rows import Rows
from latentserve.service.encoding.tables import typed


class Arrow(Document):
    """A table as an Arrow stream, a record batch for each slice of rows, with the columns' own names and types."""

    headers = ((b"content-type", ARROW.encode()),)

    def __init__(self, n: int, spec: SampleSpec) -> None:
        self._columns = spec.columns or []
        self.size = HEAD_BYTES + n * table_row_bytes(spec)
        fields = [(column.name, pa.type_for_alias(column.type or "float32")) for column in self._columns]
        self._schema = pa.schema(fields)
        self._buffer = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._buffer, self._schema)

    def rows(self, part: Rows) -> Iterator[bytes]:
        """The bytes of the next batch, float32 [n, columns]; before the first, the schema's."""
        samples = cast("NDArray[np.float32]", part.samples)
        values = [typed(samples[:, at], column) for at, column in enumerate(self._columns)]
        arrays = [pa.array(array, type=kind) for array, kind in zip(values, self._schema.types, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        yield self._taken()

    def closing(self) -> Iterator[bytes]:
        """The end of the stream."""
        self._writer.close()
        yield self._taken()

    def _taken(self) -> bytes:
        content = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return content
