"""Tables as data sets: columns of numbers or of categories, which of the two judged from their values."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column
from latentserve.training.data.columns import DAY, LARGEST_WHOLE, MANY, Distinct, Read, merged
from latentserve.training.data.dataset import Dataset, follow_on, storage
from latentserve.training.data.forms import compact, times
from latentserve.training.data.framing import MISSING
from latentserve.training.data.reading import Reading
from latentserve.training.data.shards import alike_but_for_case
from latentserve.training.errors import DataError

FEW = 10  # different numbers, which are taken for categories where each stands for ten rows or more
MOST_CATEGORIES = 1000
LONGEST = 256  # characters of a category
NAMES = 50  # different texts, at the least, that are left out where most rows have one of their own
MOST_DECIMALS = 6
EXACT = 1 << 24  # whole numbers up to it are single floats
FINE, COARSE = 2e-7, 1e-3  # of a column's range, that rounding to single floats takes: told from, refused from
FAR = 10  # times the range of all others, that 999 is away where it stands for a missing number; -999 is once

_ROW_NAME = re.compile(
    r"(?:unnamed: ?\d+(?:\.\d+)*|index|idx|row|row[-_ ]?(?:id|no|nr|num|number)|id|ids|.*[_ ]id|rownames|#|nr|no)\Z",
    re.I,
)
_CALLED_ID = re.compile(r"[a-z](?:Id|ID)s?\Z")
_NO_NAME = re.compile(r"(?:column_\d+)?\Z")
_STAND_IN = re.compile(r"-?9{2,6}(?:\.9+|\.0+)?\Z|-9\Z|-?8{2,6}\Z|-?1e\+?(?:20|30|31)\Z", re.I)
_LARGEST = float(np.finfo(np.float32).max)
_COUNTED = re.compile(r"([A-Za-z_]*)[-_ ]?[\d/.-]+\Z")  # t0, 2020-01
_LOOKED_AT = 10_000  # rows that may tell that columns are not one-hot
_STEPS, _SOME = 16, 500  # columns that may be a series, at the least; and rows that are looked at
_WHEN = re.compile(r"time|date|epoch|stamp|created|updated|(?:^|[-_ ])ts\Z|[-_]at\Z", re.I)
_SINCE_1970 = (631_152_000, 4_102_444_800)  # seconds of the years 1990 and 2100


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
            aligned = "Columns of a fixed width are not read: save it as CSV, as by pandas.read_fwf"
            why = aligned if "  " in names[0] else "What parts it was not recognised: save it with commas"
            raise DataError(
                f"{source}: one column of texts, `{names[0][:80]}`: no table to learn. {why}; "
                "--types COLUMN=category learns it all the same"
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
        if like is None and (told := alike_but_for_case(description.categories or [])):
            notes.append(f"`{column.name}`: values that differ in case alone are kept apart: {told}")
        if column.name == label:
            if None in (description.categories or []):
                raise DataError(f"{where} is the label and has missing values")
            if like is None and _hardly_comes_again(column):
                raise DataError(
                    f"{where} is the label and has {len(column.values):,} different values in {count:,} rows: no "
                    "classes; --set label=null learns it as any other"
                )
            labels = np.where(whole, samples[:, at], 0).astype(np.int64)
            label_names = [str(value) for value in description.categories or []]
    if not whole.all():
        notes.append(f"left out: {int((~whole).sum()):,} rows with values that the training part does not have")
        samples, labels = samples[whole], labels[whole]
    if like is None:
        notes += _one_hot(described, samples)
        numeric = [at for at, column in enumerate(described) if column.categories is None]
        if numeric and follow_on(samples[:, numeric]):
            notes.append(
                "each row is close to the one before, as in one series; windows of N rows are learnt by `latentserve "
                "train waves --set data=files --set network=dense --set size=N`"
            )
    if (series := _counted(described)) and like is None:
        steps = samples[:_SOME, series].astype(np.float64)
        if (np.diff(steps, axis=1) ** 2).mean() < steps.var(axis=1).mean():  # of numbers without an order it is twice
            first, last = described[series[0]].name, described[series[-1]].name
            notes.append(
                f"`{first}` to `{last}` look like steps of a series: to learn each row as one, save them by numpy.save "
                f"as an array [N, 1, {len(series)}]"
            )
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
        elif column.name != reading.label and all(_is_missing(value) for value in column.values):
            notes.append(f"left out: `{column.name}`, which has no values")
        elif column.name == reading.label or column.name in reading.stated:
            kept.append(column)
        elif column.type == "string" and column.form is None and column.all_different:
            notes.append(f"left out: `{column.name}`, texts that are different in every row, as names and ids are")
        elif column.type == "string" and column.form is None and _hardly_comes_again(column):
            notes.append(
                f"left out: `{column.name}`, {len(column.values):,} different texts in {len(column.places):,} rows, as "
                f"names and ids have; --types '{column.name}=category' learns them"
            )
        elif is_index(column):
            notes.append(f"left out: `{column.name}`, which numbers the rows")
        else:
            kept.append(column)
    return kept


def _hardly_comes_again(column: Distinct) -> bool:
    """Whether there are nearly as many different texts as rows, so that to learn them is to learn rows by heart."""
    texts = len(column.values) - (None in column.values)
    rows = len(column.places) if None not in column.values else int((column.places != column.values.index(None)).sum())
    return texts >= NAMES and 2 * texts > rows


def _one_hot(columns: Sequence[Column], samples: NDArray[np.float32]) -> Iterator[str]:
    """What to tell of columns beside each other of which exactly one is 1, or true, in every row."""
    flags, some = [column.categories in ([0, 1], [False, True]) for column in columns], samples[:_LOOKED_AT]
    at = 0
    while at < len(columns):
        end, total = at, np.zeros(len(some), np.float32)
        while end < len(columns) and flags[end] and (added := total + some[:, end]).max() <= 1:
            end, total = end + 1, added
        if end - at > 2 and total.min() == 1 and (samples[:, at:end].sum(axis=1) == 1).all():
            yield (
                f"`{columns[at].name}` to `{columns[end - 1].name}` are one-hot: one of them is 1 in every row, which "
                "samples need not keep to; bring them into one column, as pandas.from_dummies does"
            )
        else:
            end = at + 1
        at = end


def _counted(columns: Sequence[Column]) -> list[int]:
    """The places of columns of numbers whose names count on, or are dates; none where they are few."""
    named = [(at, _COUNTED.match(column.name)) for at, column in enumerate(columns) if column.categories is None]
    groups: dict[str, list[int]] = {}
    for at, found in named:
        if found is not None:
            groups.setdefault(found[1], []).append(at)
    most = max(groups.values(), key=len, default=[])
    return most if len(most) >= _STEPS else []


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in MISSING)


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
    return merged(column.name, column.type, values, column.places)


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
    called = (
        _ROW_NAME.match(column.name) or _CALLED_ID.search(column.name) or (follow and column.name.lower()[-2:] == "id")
    )
    return (_NO_NAME.match(column.name) is not None and follow) or bool(called and len(column.places) >= MANY)


def is_time(column: Distinct) -> bool:
    """Whether a column says when its rows were."""
    if column.form is not None:
        return column.form.time is not None
    return _second(column) is not None or (
        column.type == "int64" and compact([value for value in column.values if value is not None]) is not None
    )


def _second(column: Distinct) -> int | None:
    """How many of a column's whole numbers are a second, where these count since 1970; None where they do not."""
    if not column.type.startswith(("int", "uint")) or column.form is not None or not _WHEN.search(column.name):
        return None
    present = [value for value in column.values if value is not None] or [0]
    first, last = _SINCE_1970
    units = (1, 10**3, 10**6, 10**9)
    return next((unit for unit in units if first * unit <= min(present) and max(present) <= last * unit), None)


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
    rows = sum(count for value, count in zip(column.values, counts.tolist(), strict=True) if value is not None)
    few = len(present) <= FEW and rows >= FEW * len(present) and stated in (None, "category")
    if texts or as_categories or few or len(present) == 1 or stated == "category":
        return _categories(column, where, used)
    values = np.array(present, np.float64)
    largest = float(np.abs(values).max())
    if not largest <= _LARGEST:
        raise DataError(f"{where} has {largest:g}, which is no finite float32; --drop '{column.name}' leaves it out")
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
        if (max(present) - origin) // step <= EXACT and abs(origin) <= LARGEST_WHOLE:
            numbers = _steps(column.values, origin, step)
            described |= {"origin": origin, "step": step, "decimals": 0}
        elif stated is None and (second := _second(column)) is not None:
            origin, step = _clock(present, where, notes, column.name, second)
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


def _clock(present: Sequence[float], where: str, notes: list[str], name: str, second: int = 1) -> tuple[int, int]:
    """Since when and in how many seconds, each of which is `second`, times are counted, so that a single float holds
    the count."""
    if all(value % (DAY * second) == 0 for value in present):
        return 0, DAY * second
    first, last = math.floor(min(present)), math.ceil(max(present))
    if not all(isinstance(value, int) for value in present):
        notes.append(f"`{name}`: fractions of a second are left out")
    step = math.gcd(*(math.floor(value) - first for value in present)) or 1
    for coarser in (step, *(one * second for one in (1, 60, 3600, DAY))):
        if coarser >= step and (last - first) // coarser <= EXACT:
            if coarser > step:
                notes.append(f"`{name}`: times are kept to {coarser // second:,} seconds, over so many years")
                first -= first % coarser
            return first, coarser
    raise DataError(f"{where} has times too far from one another")


def _steps(values: Sequence[Any], origin: int, step: int) -> NDArray[np.float64]:
    """Which step from the origin each value is, exactly; NaN for a missing one."""
    return np.array([math.nan if value is None else round((value - origin) / step) for value in values], np.float64)


def _decimals(values: NDArray[np.float64]) -> int | None:
    """Decimals that all values are whole multiples of; None where they are too many."""
    return next((at for at in range(MOST_DECIMALS + 1) if np.array_equal(np.round(values, at), values)), None)


def _outside(values: NDArray[np.float64]) -> float:
    """A number below all values, and a float32."""
    low, high = float(values.min()), float(values.max())
    below = np.float32(math.floor(low - max(1.0, 0.1 * (high - low))))
    return float(below if below < np.float32(low) else np.nextafter(np.float32(low), np.float32(-np.inf)))
