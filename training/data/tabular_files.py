"""Tables in files: CSV, gzipped or not, and Parquet (which needs the extra `tables`).

A file is read once. Of a CSV file a line is held at a time, of Parquet a column, and of either each different value
once: what stays are the different values, and four bytes a cell.
"""

import csv
import gzip
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from latentserve.service.errors import one_line
from latentserve.training.data.dataset import Dataset
from latentserve.training.data.table import Distinct, from_texts, table
from latentserve.training.errors import DataError

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)
SUFFIXES = (*CSV, *PARQUET)


def load(name: str, path: Path, label: str | None) -> Dataset:
    """A table. Raises DataError naming file, line and column."""
    read = read_parquet if path.suffix.lower() in PARQUET else read_csv
    return table(name, str(path), read(path), label)


def read_csv(path: Path) -> list[Distinct]:
    """The columns of a CSV file (RFC 4180, UTF-8) whose first line names them; spaces around a field are no part of it.

    Raises DataError naming file and line.
    """
    number = 0
    try:
        with _opened(path) as file:
            lines = csv.reader(file, strict=True)
            names = [name.strip() for name in next(lines, [])]
            if not names:
                raise DataError(f"{path}: no line that names columns")
            known: list[dict[str, int]] = [{} for _ in names]
            places = [array("i") for _ in names]
            for line in lines:
                number = lines.line_num
                if not line:
                    continue
                if len(line) != len(names):
                    raise DataError(f"{path}: line {number}: fields: {len(line)}, columns: {len(names)}")
                for texts, column, field in zip(known, places, line, strict=True):
                    column.append(texts.setdefault(field.strip(), len(texts)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: after line {number}: {error}") from None
    if not places[0]:
        raise DataError(f"{path}: no rows")
    return [
        from_texts(name, list(texts), np.array(column, np.int64))
        for name, texts, column in zip(names, known, places, strict=True)
    ]


def read_parquet(path: Path) -> list[Distinct]:
    """The columns of a Parquet file: numbers, texts, true and false. Raises DataError naming file and column."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise DataError(f"{path}: pyarrow is not installed: install latentserve[tables]") from None
    try:
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows == 0 or file.metadata.num_columns == 0:
                raise DataError(f"{path}: no rows")
            # A column at a time: the file as a whole may not fit into memory.
            return [arrow_column(file.read([name]).column(0), name, str(path)) for name in file.schema_arrow.names]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None


def arrow_column(column: Any, name: str, source: str) -> Distinct:
    """An Arrow column (a ChunkedArray) as its different values. Raises DataError naming a type that is not learned."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type):
        column = column.cast(pa.string())
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    kind = {"float": "float32", "double": "float64"}.get(str(column.type), str(column.type))
    if kind not in ("string", "bool", "float32", "float64") and not pa.types.is_integer(column.type):
        raise DataError(f"{source}: column `{name}` is of type {kind}; numbers, texts and booleans can be learned")
    encoded = column.combine_chunks().dictionary_encode("encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Distinct(name, kind, encoded.dictionary.to_pylist(), places)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    unpack = gzip.open if path.suffix.lower() == ".gz" else open
    with unpack(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield file
