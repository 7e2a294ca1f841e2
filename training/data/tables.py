"""Tables: in CSV files however they are written, lines of JSON, and Parquet (which needs the extra `tables`); columns
of numbers or of categories, which of the two judged from their values.

A file is read once. Of a CSV file a line is held at a time, of Parquet a column, and of either each different value
once: what stays are the different values, and four bytes a cell.
"""

import json
import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column, Form
from latentserve.service.errors import one_line
from latentserve.training.data.dataset import Dataset, storage
from latentserve.training.data.forms import AmbiguousError, MixedError, compact, numbers, times
from latentserve.training.data.forms import Read as TextsRead
from latentserve.training.data.framing import MISSING
from latentserve.training.data.lines import NUMBER, PACKED, Open, csv_lines, opened, sniff
from latentserve.training.data.reading import Reading
from latentserve.training.errors import DataError

CSV = tuple(suffix + packed for suffix in (".csv", ".tsv", ".tab") for packed in ("", *PACKED))
JSON_LINES = tuple(suffix + packed for suffix in (".jsonl", ".ndjson") for packed in ("", *PACKED))
PARQUET = (".parquet", ".pq")
SUFFIXES = (*CSV, *JSON_LINES, *PARQUET)
TEXTS = tuple(suffix + packed for suffix in (".data", ".dat", ".txt") for packed in ("", *PACKED))  # where one is named

FEW = 10  # different numbers, which are taken for categories where each stands for ten rows or more
MOST_CATEGORIES = 1000
LONGEST = 256  # characters of a category
MOST_DECIMALS = 6
MANY = 20  # rows, from which texts that are all different are no accident
LEAST_SUMMED = 5  # rows, above which the last may be a total
LARGEST_WHOLE = 1 << 62
EXACT = 1 << 24  # whole numbers up to it are single floats
DAY = 86_400  # seconds
FINE, COARSE = 2e-7, 1e-3  # of a column's range, that rounding to single floats takes: told from, refused from
SPECIAL, SPECIAL_SHARE = 3, 0.05  # different texts among numbers, and share of the rows, that are taken as missing
MARKERS = 20  # different texts among more different numbers, at the most, that are asked about
FAR = 10  # times the range of all others, that 999 is away where it stands for a missing number; -999 is once

_TOTAL = re.compile(
    r"(?:(?:grand |sub-?)?totals?|sums?|averages?|mean|overall|summe|gesamt|insgesamt|total g[eé]n[eé]ral|totale):?\Z",
    re.I,
)
_ROW_NAME = re.compile(
    r"(?:unnamed: ?\d+|index|idx|row|row[-_ ]?(?:id|no|nr|num|number)|id|ids|.*[_ ]id|rownames|#|nr|no)\Z", re.I
)
_BEGINS = re.compile(r"[^A-Za-z]{0,4}\d")  # as numbers and times do
_STAND_IN = re.compile(r"-?9{2,6}(?:\.9+|\.0+)?\Z|-9\Z|-?8{2,6}\Z|-?1e\+?(?:20|30|31)\Z", re.I)
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)\Z")  # 007 is a text
_COMMA = re.compile(r"[+-]?\d+,\d+\Z")
_LARGEST = float(np.finfo(np.float32).max)


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

    @property
    def all_different(self) -> bool:
        """Whether no two rows have the same, and enough of them for that to be no chance."""
        return len(self.places) >= MANY and len(self.values) == len(self.places) and None not in self.values


@dataclass(frozen=True)
class Read:
    """A table's columns, and what was understood of its file."""

    columns: list[Distinct]
    notes: tuple[str, ...] = ()


def table(name: str, source: str, read: Read, reading: Reading, like: Sequence[Column] | None = None) -> Dataset:
    """A data set of columns of one length; `reading.label` names the one whose categories are also the labels.

    `like` are the columns of the training part, as which a held-out one is read; rows that have what the other has not
    are left out. Raises DataError naming `source` and the column that cannot be learned.
    """
    notes = list(read.notes)
    columns = _named(read.columns, notes)
    names = [column.name for column in columns]
    label = reading.label
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise DataError(f"{source}: two columns are named `{twice}`")
    for option, stated in (("label", [label] if label else []), ("drop", reading.drop), ("types", reading.stated)):
        for one in stated:
            if one not in names:
                raise DataError(f"{source}: no column `{one}`, which `{option}` names; there are {', '.join(names)}")
    if like is not None:
        wanted = {column.name: column for column in like}
        missing = next((each for each in wanted if each not in names), None)
        if missing is not None:
            raise DataError(f"{source}: no column `{missing}`, which the training part has")
        columns = [_like(columns[names.index(each)], wanted[each]) for each in wanted]
    else:
        if len(columns) == 1 and columns[0].type == "string" and columns[0].form is None and not reading.stated:
            raise DataError(
                f"{source}: one column of texts, `{names[0][:80]}`: no table to learn. Is it parted by what was"
                " not recognised? --types COLUMN=category learns it all the same"
            )
        learnt = _learnt(columns, reading, notes)
        columns = [_as_meant(column, reading.stated.get(column.name), notes) for column in learnt]
        if not columns:
            raise DataError(f"{source}: no column is left to learn: {'; '.join(notes)}")
    count = len(columns[0].places)
    samples = storage((count, len(columns)), np.float32, source)
    whole = np.ones(count, np.bool_)
    described = []
    labels, label_names = np.zeros(count, np.int64), list[str]()
    for at, column in enumerate(columns):
        where = f"{source}: column `{column.name}`"
        if like is None:
            description, numbers = _described(column, where, column.name == label, reading, notes)
        else:
            description, numbers = like[at], _numbers_of(column, like[at])
        described.append(description)
        whole &= np.isfinite(numbers[column.places])
        samples[:, at] = numbers[column.places]
        notes += [f"`{column.name}`: {note}" for note in column.notes]
        if column.name == label:
            if None in (description.categories or []):
                raise DataError(f"{where} is the label and has missing values")
            labels = np.where(whole, samples[:, at], 0).astype(np.int64)
            label_names = [str(value) for value in description.categories or []]
    if not whole.all():
        notes.append(f"left out: {int((~whole).sum()):,} rows with values that the training part does not have")
        samples, labels = samples[whole], labels[whole]
    return Dataset(name, samples, labels, label_names, kind="table", columns=described, notes=tuple(notes))


def _named(columns: Sequence[Distinct], notes: list[str]) -> list[Distinct]:
    """Without columns that have no name, where they hold nothing or are the names of rows; others are named by their
    number."""
    kept = []
    for at, column in enumerate(columns, start=1):
        if column.name:
            kept.append(column)
        elif not any(value is not None for value in column.values):
            notes.append(f"left out: column {at}, which has neither a name nor values")
        elif is_index(column) or (at == 1 and None not in column.values and len(column.values) == len(column.places)):
            notes.append(f"left out: column {at}, which has no name and names the rows")
        else:
            notes.append(f"column {at} has no name: it is `column_{at}`")
            kept.append(replace(column, name=f"column_{at}"))
    return kept


def _learnt(columns: Sequence[Distinct], reading: Reading, notes: list[str]) -> list[Distinct]:
    """Without those that are to be left out, or say nothing but which row it is."""
    kept = []
    for column in columns:
        if column.name in reading.drop:
            notes.append(f"left out: `{column.name}`, as told")
        elif column.name != reading.label and not any(value is not None for value in column.values):
            notes.append(f"left out: `{column.name}`, which has no values")
        elif column.name == reading.label or column.name in reading.stated:
            kept.append(column)
        elif column.type == "string" and column.form is None and column.all_different:
            notes.append(f"left out: `{column.name}`, texts that are different in every row, as names and ids are")
        elif is_index(column):
            notes.append(f"left out: `{column.name}`, which numbers the rows")
        else:
            kept.append(column)
    return kept


def _as_meant(column: Distinct, stated: str | None, notes: list[str]) -> Distinct:
    """A column of numbers with those that stand for a missing one taken as that, and whole ones that are dates as
    dates; `types` keeps either as a number."""
    if stated is not None or not column.type.startswith(("int", "uint", "float")) or column.form is not None:
        return column
    present = [value for value in column.values if value is not None]
    if column.type.startswith(("int", "uint")) and (pattern := compact(present)) is not None:
        read = times([str(value) for value in present], pattern)
        assert read is not None  # noqa: S101, all are
        seconds = dict(zip(present, read.values, strict=True))
        notes.append(f"`{column.name}`: dates, written as {pattern}; --types '{column.name}=number' takes numbers")
        return replace(column, type="string", values=[seconds.get(value) for value in column.values], form=read.form)
    stands = _stand_in(present)
    if stands is None:
        return column
    rows = int((column.places == column.values.index(stands)).sum())
    notes.append(
        f"`{column.name}`: {stands:g} in {rows:,} rows, far from all others, is taken as missing; --types "
        f"'{column.name}=number' keeps it"
    )
    values = [None if value == stands else value for value in column.values]
    return _merged(column.name, column.type, values, column.places)


def _stand_in(present: Sequence[float]) -> float | None:
    """The number that stands for a missing one, such as -999 where no other is negative; None where there is none."""
    if len(present) <= FEW:
        return None
    ordered = sorted(present)
    for value, others, far in ((ordered[0], ordered[1:], 1), (ordered[-1], ordered[:-1], FAR)):
        gap = min(abs(value - other) for other in (others[0], others[-1]))
        if _STAND_IN.match(f"{value:g}") and gap > far * (others[-1] - others[0]) and (value > 0 or others[0] >= 0):
            return value
    return None


def _like(column: Distinct, wanted: Column) -> Distinct:
    """A held-out column with its dates and missing numbers taken as those of the training part are."""
    if wanted.categories is not None or (wanted.missing is None and (wanted.form is None or wanted.form.time is None)):
        return column
    return _as_meant(column, None, [])


def is_index(column: Distinct) -> bool:
    """Whether a column only says which row it is: by its name, and as many different whole numbers as rows."""
    if not column.type.startswith(("int", "uint")) or column.form is not None or None in column.values:
        return False
    if len(column.values) != len(column.places):
        return False
    follow = max(column.values) - min(column.values) == len(column.values) - 1
    return (not column.name and follow) or bool(_ROW_NAME.match(column.name) and len(column.places) >= MANY)


def _described(
    column: Distinct, where: str, as_categories: bool, reading: Reading, notes: list[str]
) -> tuple[Column, NDArray[np.float64]]:
    """What a column is, and the number for each of its different values."""
    counts = np.bincount(column.places, minlength=len(column.values))
    used = [value for value, count in zip(column.values, counts, strict=True) if count]
    present = [value for value in used if value is not None]
    if not present:
        raise DataError(f"{where} has no values; --drop leaves it out")
    stated = reading.stated.get(column.name)
    texts = column.form is None and column.type in ("string", "bool")
    few = len(present) <= FEW and len(column.places) >= FEW * len(present) and stated in (None, "category")
    if texts or as_categories or few or len(present) == 1 or stated == "category":
        return _categories(column, where, used)
    values = np.array(present, np.float64)
    largest = float(np.abs(values).max())
    if not largest <= _LARGEST:
        raise DataError(f"{where} has {largest:g}, which is no finite float32")
    described: dict[str, Any] = {"name": column.name, "type": column.type, "form": column.form}
    whole = all(isinstance(value, int) for value in present)
    if column.form is not None and column.form.time is not None:
        origin, step = _clock(present, where, notes, column.name)
        numbers = _steps(column.values, origin, step)
        form = column.form.model_copy(update={"time": re.sub(r"[.,]%f", "", column.form.time)})
        described |= {"origin": origin, "step": step, "decimals": 0, "form": form}
    elif whole and max(abs(min(present)), abs(max(present))) > EXACT:
        origin = min(present)
        step = math.gcd(*(value - origin for value in present)) or 1
        if (max(present) - origin) // step <= EXACT:
            numbers = _steps(column.values, origin, step)
            described |= {"origin": origin, "step": step, "decimals": 0}
        elif stated == "number":
            notes.append(f"`{column.name}`: whole numbers beyond {EXACT:,} are rounded to seven digits, as told")
            numbers = np.array([math.nan if value is None else value for value in column.values], np.float64)
            described |= {"type": "string" if column.form else "float64"}
        else:
            raise DataError(
                f"{where} has whole numbers such as {max(present, key=abs)}, which single floats cannot tell apart; "
                f"--drop {column.name} leaves it out, --types {column.name}=number takes it rounded to seven digits"
            )
    else:
        numbers = np.array([math.nan if value is None else value for value in column.values], np.float64)
        written = column.decimals if column.decimals is None or column.decimals <= MOST_DECIMALS else None
        described |= {"decimals": _decimals(values) if written is None else written}
        _tell_rounding(values, where, column, stated, notes)
    here = numbers[[at for at, value in enumerate(column.values) if value is not None and counts[at]]]
    missing = _outside(here) if None in used else None
    described |= {"missing": missing}
    return Column.model_validate(described), np.where(np.isnan(numbers), missing or 0.0, numbers)


def _tell_rounding(
    values: NDArray[np.float64], where: str, column: Distinct, stated: str | None, notes: list[str]
) -> None:
    """Say where single floats round what a column holds. Raises DataError where they round most of it away."""
    lost = float(np.abs(values - values.astype(np.float32)).max())
    spread = float(values.max() - values.min())
    if lost <= FINE * spread:
        return
    if lost > COARSE * spread and stated != "number":
        raise DataError(
            f"{where} has numbers from {values.min():.15g} to {values.max():.15g}, which single floats cannot tell "
            f"apart: subtract what they have in common, --drop '{column.name}' leaves it out, --types "
            f"'{column.name}=number' takes it rounded to seven digits"
        )
    notes.append(f"`{column.name}`: numbers are rounded to seven digits")


def _categories(column: Distinct, where: str, used: Sequence[Any]) -> tuple[Column, NDArray[np.float64]]:
    present = sorted(value for value in used if value is not None)
    if len(present) > MOST_CATEGORIES:
        kind = "texts" if column.type == "string" else "values"
        raise DataError(
            f"{where} has {len(present):,} different {kind}; {MOST_CATEGORIES:,} can be learned at most; "
            f"--drop {column.name} leaves it out"
        )
    place: dict[Any, int] = {value: at for at, value in enumerate(present)}
    place |= {None: len(present)} if None in used else {}
    categories: list[Any] = present if column.form is None else [_written(value, column) for value in present]
    long = next((value for value in categories if isinstance(value, str) and len(value) > LONGEST), None)
    if long is not None:
        raise DataError(
            f"{where} has a text of {len(long):,} characters; {LONGEST} can be learned at most; --drop {column.name} "
            "leaves it out"
        )
    numbers = np.array([place.get(value, 0) for value in column.values], np.float64)
    known = {"name": column.name, "type": column.type, "categories": [*categories, *([None] if None in used else [])]}
    return Column.model_validate(known), numbers


def _written(value: float, column: Distinct) -> str:
    """A value of a column that has a form, in it."""
    assert column.form is not None  # noqa: S101
    numbers = np.array([each for each in column.values if each is not None], np.float64)
    decimals = _decimals(numbers) if column.decimals is None else column.decimals
    return column.form.write(value, None if column.form.time else decimals)


def _numbers_of(column: Distinct, like: Column) -> NDArray[np.float64]:
    """The number that stands for each of a column's different values where it is read as another one, NaN for what that
    one does not have."""
    places = {value: at for at, value in enumerate(like.categories or ())}
    numbers = np.full(len(column.values), np.nan)
    for at, value in enumerate(column.values):
        if like.categories is not None:
            written = value if column.form is None or value is None else _written(value, column)
            found = places.get(written, places.get(str(written)))
            numbers[at] = np.nan if found is None else found
        elif value is None:
            numbers[at] = np.nan if like.missing is None else like.missing
        elif isinstance(value, int | float):
            numbers[at] = (value - (like.origin or 0)) / (like.step or 1)
    return numbers


def _clock(present: Sequence[float], where: str, notes: list[str], name: str) -> tuple[int, int]:
    """Since when and in how many seconds times are counted, so that a single float holds the count."""
    if all(value % DAY == 0 for value in present):
        return 0, DAY
    first, last = math.floor(min(present)), math.ceil(max(present))
    if not all(isinstance(value, int) for value in present):
        notes.append(f"`{name}`: fractions of a second are left out")
    step = math.gcd(*(math.floor(value) - first for value in present)) or 1
    for coarser in (step, 60, 3600, DAY):
        if (last - first) // coarser <= EXACT:
            if coarser > step:
                notes.append(f"`{name}`: times are kept to {coarser:,} seconds, over so many years")
                first -= first % coarser
            return first, coarser
    raise DataError(f"{where} has times too far from one another")


def _steps(values: Sequence[Any], origin: int, step: int) -> NDArray[np.float64]:
    """Which step from the origin each value is, exactly; NaN for a missing one."""
    return np.array([math.nan if value is None else round((value - origin) / step) for value in values], np.float64)


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
            f"column `{name}` has numbers that are not written in one way, such as {error}: write them in one, {asked}"
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
        return _merged(name, "bool", [flags.get(text.lower()) for text in texts], places)
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
        return _merged(name, "int64", values, places)
    if all(NUMBER.match(text) and not _padded(text) for text in present):
        values = [None if text.lower() in MISSING else float(text) for text in texts]
        return _merged(name, "float64", values, places)
    read = None if any(_padded(text) for text in present) else numbers(present, decimal_comma)
    return None if read is None else _as_read(name, read, present, texts, places)


def _as_read(
    name: str, read: TextsRead, present: Sequence[str], texts: Sequence[str], places: NDArray[np.int64]
) -> Distinct:
    of = dict(zip(present, read.values, strict=True))
    kind = "string" if read.form is not None else "int64" if read.whole else "float64"
    column = _merged(name, kind, [of.get(text) for text in texts], places)
    return replace(column, form=read.form, decimals=read.decimals, notes=() if read.note is None else (read.note,))


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


def read_all(paths: Sequence[Path], reading: Reading) -> Read:
    """The columns of files of the same columns, one after the other. Raises DataError."""
    parts = [read(path, reading) for path in paths]
    if len(parts) == 1:
        return parts[0]
    columns = []
    for at, first in enumerate(parts[0].columns):
        known: dict[Any, int] = {}
        places = []
        for path, part in zip(paths, parts, strict=True):
            if [each.name for each in part.columns] != [each.name for each in parts[0].columns]:
                raise DataError(f"{path}: has other columns than {paths[0].name}")
            onto = np.array([known.setdefault(value, len(known)) for value in part.columns[at].values], np.int64)
            places.append(onto[part.columns[at].places])
        columns.append(replace(first, values=list(known), places=np.concatenate(places)))
    return Read(columns, parts[0].notes)


def read(path: Path, reading: Reading, source: Open | None = None) -> Read:
    """The columns of a file by its suffix; `source` opens it where it is none at `path`. Raises DataError."""
    name = path.name.lower()
    if name.endswith(PARQUET):
        return read_parquet(path, reading, source)
    if name.endswith(JSON_LINES):
        return read_json_lines(path, source)
    return read_csv(path, reading, source)


def read_csv(path: Path, reading: Reading, source: Open | None = None) -> Read:
    """The columns of a CSV file, however it is written. Raises DataError naming file and line."""
    dialect = sniff(path, source)
    notes = dialect.sentences
    lines = csv_lines(path, dialect, source, notes)
    _, names = next(lines)
    known: list[dict[str, int]] = [{} for _ in names]
    places = [array("i") for _ in names]
    for _, line in lines:
        for texts, column, field in zip(known, places, line, strict=True):
            column.append(texts.setdefault(field, len(texts)))
    if not places[0]:
        raise DataError(f"{path}: no rows")
    _without_total(known, places, notes)
    comma = dialect.delimiter == ";" or (
        dialect.delimiter != "," and any(_has_decimal_commas(texts) for texts in known)
    )
    columns = []
    for name, texts, column in zip(names, known, places, strict=True):
        try:
            if name in reading.drop:
                columns.append(_dropped(name, len(column)))
                continue
            stated = reading.stated.get(name)
            columns.append(from_texts(name, list(texts), np.array(column, np.int64), stated, comma))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    return Read(columns, tuple(notes))


def _without_total(known: list[dict[str, int]], places: "list[array[int]]", notes: list[str]) -> None:
    """Take the last row away where it sums up the others."""
    last = [list(texts)[column[-1]] for texts, column in zip(known, places, strict=True)]
    at = next((at for at, text in enumerate(last) if text), 0)
    if len(places[at]) < LEAST_SUMMED or not _TOTAL.match(last[at]) or places[at].count(places[at][-1]) > 1:
        return
    notes.append(f"left out: the last row, which sums up the others: `{' '.join(filter(None, last))[:60]}`")
    for texts, column, text in zip(known, places, last, strict=True):
        place = column.pop()
        if place == len(texts) - 1 and place not in column:
            del texts[text]


def _dropped(name: str, rows: int) -> Distinct:
    """A column that nobody looks into."""
    return Distinct(name, "string", [None], np.zeros(rows, np.int64))


def _has_decimal_commas(texts: dict[str, int]) -> bool:
    """Whether all are written as 1,5 and not all as 1,559."""
    present = [text for text in texts if text.lower() not in MISSING]
    return bool(present) and all(map(_COMMA.match, present)) and not all(text[-4:-3] == "," for text in present)


def read_json_lines(path: Path, source: Open | None = None) -> Read:
    """The columns of a file of a JSON object a line; what is nested is left out. Raises DataError."""
    known: dict[str, dict[Any, int]] = {}
    places: dict[str, array[int]] = {}
    nested: set[str] = set()
    rows = 0
    try:
        with opened(path, source) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}: line {number}: no object of names and values")
                for name, value in row.items():
                    if isinstance(value, dict | list):
                        nested.add(name)
                        continue
                    value = None if value != value else value
                    if name not in places:
                        known[name], places[name] = {(type(None), None): 0}, array("i", [0] * rows)
                    places[name].append(known[name].setdefault((type(value), value), len(known[name])))
                rows += 1
                for column in places.values():
                    if len(column) < rows:
                        column.append(0)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise DataError(f"{path}: line {number}: no JSON: {one_line(error)}") from None
    columns = [
        _of_values(name, *_used([value for _, value in known[name]], np.array(places[name], np.int64)))
        for name in places
        if name not in nested
    ]
    if not columns:
        raise DataError(f"{path}: no rows")
    notes = [f"left out: `{name}`, whose values are lists or objects" for name in sorted(nested)]
    return Read(columns, tuple(notes))


def _used(values: list[Any], places: NDArray[np.int64]) -> tuple[list[Any], NDArray[np.int64]]:
    """Without the missing value at their beginning, where no row has it."""
    return (values, places) if (places == 0).any() else (values[1:], places - 1)


def _of_values(name: str, values: list[Any], places: NDArray[np.int64]) -> Distinct:
    """A column of JSON's values as what they are together."""
    types = {type(value) for value in values if value is not None}
    if types <= {int} and all(-(2**63) <= value < 2**63 for value in values if value is not None) and types:
        return _merged(name, "int64", values, places)
    if types <= {int, float} and types:
        return _merged(name, "float64", [None if value is None else float(value) for value in values], places)
    if types == {bool}:
        return _merged(name, "bool", values, places)
    texts = ["" if value is None else str(value) for value in values]
    first: dict[str, int] = {}
    onto = np.array([first.setdefault(text, len(first)) for text in texts], np.int64)
    return from_texts(name, list(first), onto[places])


def read_parquet(path: Path, reading: Reading, source: Open | None = None) -> Read:
    """The columns of a Parquet file: numbers, texts, times, true and false. Raises DataError naming file and column."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise DataError(f"{path}: pyarrow is not installed: install latentserve[tables]") from None
    try:
        with parquet.ParquetFile(path if source is None else source()) as file:
            if file.metadata.num_rows == 0 or file.metadata.num_columns == 0:
                raise DataError(f"{path}: no rows")
            # A column at a time: the file as a whole may not fit into memory.
            names = file.schema_arrow.names
            rows = file.metadata.num_rows
            columns = [
                _dropped(name, rows)
                if name in reading.drop
                else arrow_column(file.read([name]).column(0), name, str(path))
                for name in names
            ]
            return Read(columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None


def arrow_column(column: Any, name: str, source: str) -> Distinct:
    """An Arrow column (a ChunkedArray) as its different values. Raises DataError naming a type that is not learned."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    when = None
    if pa.types.is_date(column.type):
        column, when = column.cast(pa.date32()).cast(pa.int32()), "%Y-%m-%d"
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
        when = "%Y-%m-%d %H:%M:%S"
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
    if when is None:
        return Distinct(name, kind, values, places)
    if when == "%Y-%m-%d":
        seconds: list[Any] = [None if value is None else DAY * value for value in values]
    else:
        seconds = [
            None if value is None else (value // 10**6 if value % 10**6 == 0 else value / 10**6) for value in values
        ]
    return Distinct(name, "string", seconds, places, Form(time=when))
