"""Columns of tables as their different values, of whatever they came as: texts, JSON's values, Arrow's arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Form
from latentserve.training.data.forms import AmbiguousError, MixedError, numbers, times
from latentserve.training.data.forms import Read as TextsRead
from latentserve.training.data.framing import MISSING
from latentserve.training.data.lines import NUMBER
from latentserve.training.data.reading import Reading
from latentserve.training.errors import DataError

DAY = 86_400  # seconds
LARGEST_WHOLE = 1 << 62  # beyond it whole numbers are texts
MANY = 20  # rows, from which texts that are all different are no accident
SPECIAL, SPECIAL_SHARE = 3, 0.05  # different texts among numbers, and share of the rows, that are taken as missing
MARKERS = 20  # different texts among more different numbers, at the most, that are asked about

_BEGINS = re.compile(r"[^A-Za-z]{0,4}\d")  # as numbers and times do
_POINTED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+\Z")
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)\Z")  # 007 is a text


@dataclass(frozen=True)
class Distinct:
    """A column as its different values and, int64 [N], where each row's is among them; None is a missing one.

    Attributes:
        form: how the values, which are numbers, were written; None: plainly.
        decimals: that they were written with; None: as many as they have.
        notes: what was made of it that is not seen from the values.
    """

    name: str
    type: str
    values: list[Any]
    places: NDArray[np.int64]
    form: Form | None = None
    decimals: int | None = None
    notes: tuple[str, ...] = ()

    def only(self, rows: NDArray[np.int64]) -> "Distinct":
        """Of some rows alone."""
        used, places = np.unique(self.places[rows], return_inverse=True)
        return replace(self, values=[self.values[at] for at in used], places=places.astype(np.int64))

    @property
    def all_different(self) -> bool:
        """Whether no two rows have the same, and enough of them for that to be no chance."""
        return len(self.places) >= MANY and len(self.values) == len(self.places) and None not in self.values


@dataclass(frozen=True)
class Read:
    """A table's columns, and what was understood of its file."""

    columns: list[Distinct]
    notes: tuple[str, ...] = ()


def from_texts(
    name: str, texts: list[str], places: NDArray[np.int64], stated: str | None = None, decimal_comma: bool = False
) -> Distinct:
    """A column of texts as what they are: whole numbers, numbers however written, times, true and false, or texts.

    `stated` is what `types` says of it; `decimal_comma` whether `1,559` has decimals where nothing in it tells.
    """
    present = [text for text in texts if text.lower() not in MISSING]
    if stated == "category" or not present:
        return Distinct(name, "string", [text or None for text in texts], places)
    if stated is not None and "%" in stated:
        read = times(present, stated)
        if read is None:
            raise DataError(f"column `{name}` is not written as `types` says, {stated}: {present[0][:40]}")
        return _as_read(name, read, present, texts, places)
    asked = f"--types '{name}=category' keeps texts, --drop '{name}' leaves it out"
    try:
        column = _read(name, texts, present, places, decimal_comma)
        if column is not None:
            return column
        # A few texts among numbers, or times, are missing ones, where they are few.
        regular = [text for text in present if _BEGINS.match(text)]
        strange = sorted(set(present) - set(regular))
        if regular and (len(strange) <= MARKERS or stated == "number"):
            kept = ["" if text in set(strange) else text for text in texts]
            column = _read(name, kept, regular, places, decimal_comma)
        if column is not None:
            counts = np.bincount(places, minlength=len(texts))
            rows = sum(int(count) for text, count in zip(texts, counts, strict=True) if text in set(strange))
            shown = ", ".join(f"`{text[:40]}`" for text in strange[:SPECIAL])
            if stated == "number" or (len(strange) <= SPECIAL and rows <= SPECIAL_SHARE * len(places)):
                what = "number" if column.form is None or column.form.time is None else "time"
                kept_by = f"--types {name}=category keeps texts"
                told = f"{shown} in {rows:,} rows is no {what} and taken as missing; {kept_by}"
                return replace(column, notes=(*column.notes, told))
            if len(regular) > MARKERS and 2 * rows <= len(places):
                raise DataError(
                    f"column `{name}` has numbers, and {shown} in {rows:,} rows: --types '{name}=number' takes what is "
                    f"none as missing, {asked}"
                )
    except AmbiguousError as error:
        first = str(error).partition(" or ")[0]
        raise DataError(
            f"column `{name}` has dates such as {present[0]}, which are {error}; say which: --types '{name}={first}'"
        ) from None
    except MixedError as error:
        raise DataError(
            f"column `{name}` has {error.what} that are not written in one way, such as {error}: write them in one, "
            f"{asked}"
        ) from None
    if stated == "number":
        raise DataError(f"column `{name}` holds texts such as {present[0][:40]}, which are no numbers")
    return Distinct(name, "string", [text or None for text in texts], places)


def _read(
    name: str, texts: Sequence[str], present: Sequence[str], places: NDArray[np.int64], decimal_comma: bool
) -> Distinct | None:
    """As numbers, as true and false, or as times, if all are. Raises AmbiguousError and MixedError."""
    found = _numbers(name, texts, present, places, decimal_comma)
    if found is not None:
        return found
    if {text.lower() for text in present} <= {"true", "false"}:
        flags = {"true": True, "false": False}
        return merged(name, "bool", [flags.get(text.lower()) for text in texts], places)
    when = times(present)
    return None if when is None else _as_read(name, when, present, texts, places)


def _numbers(
    name: str, texts: Sequence[str], present: Sequence[str], places: NDArray[np.int64], decimal_comma: bool
) -> Distinct | None:
    """As numbers, if all are."""
    if all(_WHOLE.match(text) for text in present):
        if any(abs(int(text)) > LARGEST_WHOLE for text in present):
            return None  # what is counted in such numbers are ids
        values: list[Any] = [None if text.lower() in MISSING else int(text) for text in texts]
        return merged(name, "int64", values, places)
    if all(NUMBER.match(text) and not _padded(text) for text in present) and not (decimal_comma and _grouped(present)):
        values = [None if text.lower() in MISSING else float(text) or 0.0 for text in texts]  # and no -0
        return merged(name, "float64", values, places)
    read = None if any(_padded(text) for text in present) else numbers(present, decimal_comma)
    return None if read is None else _as_read(name, read, present, texts, places)


def _as_read(
    name: str, read: TextsRead, present: Sequence[str], texts: Sequence[str], places: NDArray[np.int64]
) -> Distinct:
    of = dict(zip(present, read.values, strict=True))
    kind = "string" if read.form is not None else "int64" if read.whole else "float64"
    column = merged(name, kind, [of.get(text) for text in texts], places)
    return replace(column, form=read.form, decimals=read.decimals, notes=() if read.note is None else (read.note,))


def _grouped(texts: Sequence[str]) -> bool:
    """Whether points stand between thousands: 1.559 beside 980, where a comma is before decimals."""
    pointed = [text for text in texts if "." in text]
    return 0 < len(pointed) < len(texts) and all(map(_POINTED.match, pointed))


def _padded(text: str) -> bool:
    """Whether it begins with a zero that no number has: 007."""
    return bool(re.match(r"[+-]?0\d", text))


def merged(name: str, kind: str, values: list[Any], places: NDArray[np.int64]) -> Distinct:
    """With equal values, which different texts may be, counted as one."""
    first: dict[Any, int] = {}
    onto = np.array([first.setdefault(value, len(first)) for value in values], np.int64)
    return Distinct(name, kind, list(first), onto[places])


def dropped(name: str, rows: int) -> Distinct:
    """A column that nobody looks into."""
    return Distinct(name, "string", [None], np.zeros(rows, np.int64))


def of_values(name: str, values: list[Any], places: NDArray[np.int64]) -> Distinct:
    """A column of JSON's values as what they are together."""
    types = {type(value) for value in values if value is not None}
    if types <= {int} and all(-(2**63) <= value < 2**63 for value in values if value is not None) and types:
        return merged(name, "int64", values, places)
    if types <= {int, float} and types:
        return merged(name, "float64", [None if value is None else float(value) for value in values], places)
    if types == {bool}:
        return merged(name, "bool", values, places)
    texts = ["" if value is None else str(value) for value in values]
    first: dict[str, int] = {}
    onto = np.array([first.setdefault(text, len(first)) for text in texts], np.int64)
    return from_texts(name, list(first), onto[places])


def arrow_columns(column: Any, name: str, source: str, reading: Reading) -> list[Distinct]:
    """An Arrow column (a ChunkedArray) as what it is; one of structs as a column for each of their fields, `user.age`.
    Raises DataError naming a type that is not learned."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in reading.drop:
        return [dropped(name, len(column))]
    if not pa.types.is_struct(column.type):
        return [arrow_column(column, name, source, reading.stated.get(name))]
    fields = ((f"{name}.{field.name}", pc.struct_field(column, field.name)) for field in column.type)
    return [one for inner, values in fields for one in arrow_columns(values, inner, source, reading)]


def arrow_column(column: Any, name: str, source: str, stated: str | None = None) -> Distinct:
    """An Arrow column (a ChunkedArray) as its different values; texts that are dates, or numbers with a form or with
    decimals, as that, and whole numbers that are texts as texts. Raises DataError naming a type that is not learned."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(column.type):
        return dropped(name, len(column))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_time(column.type):
        column = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    when = None
    if pa.types.is_date(column.type):
        column, when = column.cast(pa.date32()).cast(pa.int32()), "%Y-%m-%d"
    elif pa.types.is_timestamp(column.type):
        when = "%Y-%m-%d %H:%M:%S" + ("" if column.type.tz is None else "+00:00")
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    kind = {"float": "float32", "double": "float64"}.get(str(column.type), str(column.type))
    if kind not in ("string", "bool", "float32", "float64") and not pa.types.is_integer(column.type):
        raise DataError(
            f"{source}: column `{name}` is of type {kind}; numbers, texts, times and booleans can be learned; "
            f"--drop {name} leaves it out"
        )
    encoded = column.combine_chunks().dictionary_encode("encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    values = encoded.dictionary.to_pylist()
    if kind == "string" and when is None:
        texts = ["" if value is None else value for value in values]
        plain = all(_WHOLE.match(text) for text in texts if text)
        return from_texts(name, texts, places, "category" if plain and stated is None else stated)
    if when is None:
        return Distinct(name, kind, values, places)
    if when == "%Y-%m-%d":
        seconds: list[Any] = [None if value is None else DAY * value for value in values]
    else:
        seconds = [
            None if value is None else (value // 10**6 if value % 10**6 == 0 else value / 10**6) for value in values
        ]
    return Distinct(name, "string", seconds, places, Form(time=when))
