"""Parquet and Arrow with pictures as bytes, as the hub and `save_to_disk` have them: a column of `{bytes, path}`, or of
bytes, beside labels, numbers and texts. Row groups are read one after the other; what is in memory is the group that is
looked at."""

import io
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from latentserve.service.errors import one_line
from latentserve.training.data import pictures
from latentserve.training.data.attributes import attributes
from latentserve.training.data.columns import Distinct, arrow_column
from latentserve.training.data.dataset import Dataset
from latentserve.training.data.listing import Listing
from latentserve.training.data.names import ABOUT_THEM
from latentserve.training.data.reading import Reading
from latentserve.training.data.table_files import PARQUET
from latentserve.training.errors import DataError

ARROW = (".arrow",)
SUFFIXES = (*PARQUET, *ARROW)

_NAMED = re.compile(r"(?:image|img|picture|photo|pixel_values|jpe?g|png|webp)s?(?:[._]bytes)?\Z", re.IGNORECASE)
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


class Groups:
    """A file of Parquet or Arrow as groups of rows: of Arrow, a stream or a file, what is mapped.

    Attributes:
        schema: Arrow's.
        rows: of each group.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError or ArrowException."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        self._parquet: Any = None
        self._batches: Any = None
        if path.name.lower().endswith(PARQUET):
            self._parquet = parquet.ParquetFile(path)
            self.schema = self._parquet.schema_arrow
            about = self._parquet.metadata
            self.rows = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
            return
        mapped = pa.memory_map(str(path))
        of_file = mapped.read(6) == b"ARROW1"
        mapped.seek(0)
        whole = (pa.ipc.open_file if of_file else pa.ipc.open_stream)(mapped).read_all()
        self._batches, self.schema = [batch for batch in whole.to_batches() if len(batch)], whole.schema
        self.rows = [len(batch) for batch in self._batches]

    def column(self, group: int, name: str) -> list[Any]:
        """The values of a column in a group."""
        if self._batches is not None:
            return list(self._batches[group].column(name).to_pylist())
        return list(self._parquet.read_row_group(group, [name]).column(0).to_pylist())

    def head(self, name: str, count: int) -> list[Any]:
        """Its first values, at the most `count`."""
        if self._batches is not None:
            return list(self._batches[0].column(name).slice(0, count).to_pylist()) if self._batches else []
        first = next(self._parquet.iter_batches(count, columns=[name]), None)
        return [] if first is None else list(first.column(0).to_pylist())

    def table(self, name: str) -> Any:
        """All of it, as a table of Arrow."""
        import pyarrow as pa

        if self._batches is not None:
            return pa.Table.from_batches(self._batches, self.schema).select([name])
        return self._parquet.read([name])


class Encoded:
    """The bytes of the pictures of some files, by their row."""

    def __init__(self, files: Sequence[Groups], column: str, inside: bool) -> None:
        """`column` holds them, in its field `bytes` if `inside`."""
        self._files, self._column, self._inside = files, column, inside
        self._groups = [(at, group) for at, file in enumerate(files) for group in range(len(file.rows))]
        self._starts = [0, *accumulate(rows for file in files for rows in file.rows)]
        self._held: tuple[int, list[Any]] = (-1, [])

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> bytes:
        """Raises OSError where a row has none."""
        at = bisect_right(self._starts, row) - 1
        if self._held[0] != at:
            file, group = self._groups[at]
            self._held = (at, self._files[file].column(group, self._column))
        found = self._held[1][row - self._starts[at]]
        content = found.get("bytes") if self._inside and found is not None else found
        if not content:
            elsewhere = found.get("path") if self._inside and found is not None else None
            raise OSError("no bytes in it" + (f", only the path {elsewhere}" if elsewhere else ""))
        return bytes(content)


def of_arrow(listing: Listing) -> list[PurePosixPath]:
    """The files of Arrow in a folder that hold pictures, but for what the package `datasets` keeps of what it made of
    them."""
    files = [file for file in listing.having(ARROW) if not file.name.startswith(("cache-", "tmp"))]
    return files if files and picture_column(listing.source / files[0]) is not None else []


def picture_column(path: Path) -> str | None:
    """The column of a Parquet file that holds pictures; None where there is none, or it is no such file. Of several it
    is one that is named so, rather than a mask or a map of depths."""
    columns = _picture_columns(path)
    named = [column for column in columns if _NAMED.match(column)]
    return next(iter([*named, *(column for column in columns if not ABOUT_THEM.match(column)), *columns]), None)


def _picture_columns(path: Path) -> list[str]:
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return []
    columns = []
    try:
        file = Groups(path)
        for field in file.schema:
            if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
                columns.append(str(field.name))
            if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
                content = next(iter(file.head(field.name, 1)), None)
                if content is not None and content.startswith(_MAGIC):
                    columns.append(str(field.name))
    except (OSError, pa.ArrowException):
        return []
    return columns


def some(path: Path, count: int) -> Iterator[Image.Image]:
    """The first pictures of a file that has a `picture_column`, at the most `count`, not decoded; what is none of them
    is passed over."""
    column = picture_column(path)
    assert column is not None  # noqa: S101, whoever calls has asked
    for found in Groups(path).head(column, count):
        content = found.get("bytes") if isinstance(found, dict) else found
        try:
            with Image.open(io.BytesIO(content or b"")) as picture:
                yield picture
        except (OSError, ValueError, SyntaxError):
            continue


def load(name: str, paths: Sequence[Path], reading: Reading) -> Dataset:
    """Pictures of files of Parquet or Arrow of one schema, in order. Raises DataError naming file, row and column."""
    import pyarrow as pa

    column = picture_column(paths[0])
    assert column is not None  # noqa: S101, whoever calls has asked
    source = str(paths[0])
    try:
        files = [Groups(path) for path in paths]
        schema = files[0].schema
        inside = pa.types.is_struct(schema.field(column).type)
        others = [field.name for field in schema if field.name != column]
        classes = _classes(schema)
        columns: list[Distinct] = []
        notes = []
        for other in others:
            try:
                whole = pa.concat_tables([file.table(other) for file in files]).column(0)
                columns.append(_named(arrow_column(whole, other, source), classes.get(other)))
            except DataError as error:
                notes.append(f"left out: {str(error).partition(': ')[2].partition(';')[0]}")
        encoded = Encoded(files, column, inside)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"{source}: cannot be read: {one_line(error)}") from None
    if len(encoded) == 0:
        raise DataError(f"{source}: no rows")
    known = replace(reading, label=reading.label or next(iter(classes), None))
    told = attributes(columns, source, known)
    names = [f"{source}, row {row}" for row in range(len(encoded))]
    made = pictures.decode(
        names,
        lambda row: Image.open(io.BytesIO(encoded[row])),
        reading,
        paths,
        {"parquet": column, "rows": len(encoded)},
    )
    kept = made.rows
    if told.labels is not None and (listed := classes.get(known.label or "")):
        order = np.array([*(listed.index(one) for one in told.label_names), -1], np.int64)
        told = replace(told, labels=order[told.labels], label_names=listed)  # -1 stays what it is
    labels = np.zeros(len(encoded), np.int64) if told.labels is None else told.labels
    if told.labels is not None and labels.min() < 0:
        raise DataError(f"{source}: row {int(labels.argmin())} has no label")
    conditions = None if told.conditions is None else told.conditions.take(kept)
    return Dataset(
        name,
        made.samples,
        labels[kept],
        told.label_names,
        stored_range=pictures.STORED_RANGE,
        conditions=conditions,
        notes=(f"`{column}` holds the pictures", *pictures.told(made, reading), *told.notes, *notes),
        entry=made.entry,
    )


def _classes(schema: Any) -> dict[str, list[str]]:
    """The names of the classes of columns that have some, by what the hub writes into a file's schema."""
    said = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(said)["info"]["features"] if said else {}
        return {
            name: [str(one) for one in of["names"]]
            for name, of in features.items()
            if isinstance(of, dict) and of.get("_type") == "ClassLabel" and isinstance(of.get("names"), list)
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _named(column: Distinct, names: list[str] | None) -> Distinct:
    """Classes by their names, in the order that they have."""
    if names is None:
        return column
    values = [names[at] if isinstance(at, int) and 0 <= at < len(names) else None for at in column.values]
    return Distinct(column.name, "string", values, column.places)
