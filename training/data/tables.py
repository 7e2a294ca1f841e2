"""Tables: in CSV files, gzipped or not, and Parquet (which needs the extra `tables`); columns of numbers or of
categories, which of the two judged from their values.

A file is read once. Of a CSV file a line is held at a time, of Parquet a column, and of either each different value
once: what stays are the different values, and four bytes a cell.
"""

import math
import re
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column
from latentserve.service.errors import one_line
from latentserve.training.data.dataset import Dataset, storage
from latentserve.training.data.lines import NUMBER, csv_lines
from latentserve.training.errors import DataError

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)
SUFFIXES = (*CSV, *PARQUET)

FEW = 10  # different numbers, which are taken for categories where each stands for ten rows or more
MOST_CATEGORIES = 1000
LONGEST = 256  # characters of a category
MOST_DECIMALS = 6

# Texts that stand for a missing number. In a column of texts they may be values (NA is Namibia): only "" is missing.
_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)\Z")  # 007 is a text
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Distinct:
    """A column as its different values and, int64 [N], where each row's is among them; None is a missing one."""

    name: str
    type: str
    values: list[Any]
    places: NDArray[np.int64]


def table(name: str, source: str, columns: list[Distinct], label: str | None) -> Dataset:
    """A data set of columns of one length; `label` names the one whose categories are also the labels.

    Raises DataError naming `source` and the column that cannot be learned.
    """
    names = [column.name for column in columns]
    for at, column in enumerate(columns):
        if not column.name:
            raise DataError(f"{source}: column {at + 1} has no name")
        if column.name in names[:at]:
            raise DataError(f"{source}: two columns are named `{column.name}`")
    if label is not None and label not in names:
        raise DataError(f"{source}: no column `{label}`, which `label` names; there are {', '.join(names)}")
    count = len(columns[0].places)
    samples = storage((count, len(columns)), np.float32, source)
    described = []
    labels, label_names = np.zeros(count, np.int64), []
    for at, column in enumerate(columns):
        where = f"{source}: column `{column.name}`"
        description, numbers = _described(column, where, as_categories=column.name == label)
        described.append(description)
        samples[:, at] = numbers[column.places]
        if column.name == label:
            if None in (description.categories or []):
                raise DataError(f"{where} is the label and has missing values")
            labels, label_names = (
                samples[:, at].astype(np.int64),
                [str(value) for value in description.categories or []],
            )
    return Dataset(name, samples, labels, label_names, kind="table", columns=described)


def _described(column: Distinct, where: str, as_categories: bool) -> tuple[Column, NDArray[np.float64]]:
    """What a column is, and the number for each of its different values."""
    counts = np.bincount(column.places, minlength=len(column.values))
    used = [value for value, count in zip(column.values, counts, strict=True) if count]
    present = [value for value in used if value is not None]
    if not present:
        raise DataError(f"{where} has no values")
    texts = column.type in ("string", "bool")
    few = len(present) <= FEW and len(column.places) >= FEW * len(present)
    if texts or as_categories or few or len(present) == 1:
        categories = [*sorted(present), *([None] if None in used else [])]
        if len(categories) > MOST_CATEGORIES:
            kind = "texts" if texts else "values"
            raise DataError(
                f"{where} has {len(present):,} different {kind}; {MOST_CATEGORIES:,} can be learned at most"
            )
        long = next((value for value in present if isinstance(value, str) and len(value) > LONGEST), None)
        if long is not None:
            raise DataError(f"{where} has a text of {len(long):,} characters; {LONGEST} can be learned at most")
        place = {value: at for at, value in enumerate(categories)}
        numbers = np.array([place.get(value, 0) for value in column.values], np.float64)
        return Column.model_validate({"name": column.name, "type": column.type, "categories": categories}), numbers
    values = np.array(present, np.float64)
    largest = float(np.abs(values).max())
    if not largest <= _LARGEST:
        raise DataError(f"{where} has {largest:g}, which is no finite float32")
    missing = _outside(values) if None in used else None
    numbers = np.array([math.nan if value is None else value for value in column.values], np.float64)
    described = {"name": column.name, "type": column.type, "decimals": _decimals(values), "missing": missing}
    return Column.model_validate(described), np.where(np.isnan(numbers), missing or 0.0, numbers)


def from_texts(name: str, texts: list[str], places: NDArray[np.int64]) -> Distinct:
    """A column of texts as what they are: whole numbers, numbers, true and false, or texts."""
    present = [text for text in texts if text.lower() not in _MISSING]
    if present and all(_WHOLE.match(text) for text in present) and all(-(2**63) <= int(t) < 2**63 for t in present):
        values: list[Any] = [None if text.lower() in _MISSING else int(text) for text in texts]
        return _merged(name, "int64", values, places)
    if present and all(NUMBER.match(text) and not _padded(text) for text in present):
        return _merged(name, "float64", [None if t.lower() in _MISSING else float(t) for t in texts], places)
    if present and {text.lower() for text in present} <= {"true", "false"}:
        flags = {"true": True, "false": False}
        return _merged(name, "bool", [flags.get(text.lower()) for text in texts], places)
    return Distinct(name, "string", [text or None for text in texts], places)


def _padded(text: str) -> bool:
    """Whether it begins with a zero that no number has: 007."""
    return bool(re.match(r"[+-]?0\d", text))


def _merged(name: str, kind: str, values: list[Any], places: NDArray[np.int64]) -> Distinct:
    """With equal values, which different texts may be, counted as one."""
    first: dict[Any, int] = {}
    onto = np.array([first.setdefault(value, len(first)) for value in values], np.int64)
    return Distinct(name, kind, list(first), onto[places])


def _decimals(values: NDArray[np.float64]) -> int | None:
    """Decimals that all values are whole multiples of; None where they are too many."""
    return next((at for at in range(MOST_DECIMALS + 1) if np.array_equal(np.round(values, at), values)), None)


def _outside(values: NDArray[np.float64]) -> float:
    """A number below all values, and a float32."""
    low, high = float(values.min()), float(values.max())
    below = np.float32(math.floor(low - max(1.0, 0.1 * (high - low))))
    return float(below if below < np.float32(low) else np.nextafter(np.float32(low), np.float32(-np.inf)))


def load(name: str, path: Path, label: str | None) -> Dataset:
    """A table. Raises DataError naming file, line and column."""
    read = read_parquet if path.suffix.lower() in PARQUET else read_csv
    return table(name, str(path), read(path), label)


def read_csv(path: Path) -> list[Distinct]:
    """The columns of a CSV file whose first line names them. Raises DataError naming file and line."""
    lines = csv_lines(path)
    _, names = next(lines)
    known: list[dict[str, int]] = [{} for _ in names]
    places = [array("i") for _ in names]
    for _, line in lines:
        for texts, column, field in zip(known, places, line, strict=True):
            column.append(texts.setdefault(field, len(texts)))
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
