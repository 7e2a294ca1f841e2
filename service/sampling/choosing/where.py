"""`where`: what rows are to be like. Fields -> tests of samples, of labels, conditions and the critic's scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column, Condition, Form, Manifest
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.choosing.intervals import Intervals, numbers_of
from latentserve.service.sampling.fields import SHOWN, label_indices, shown_number
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.samples import Samples

LABEL, SCORE = "$label", "$score"
CONDITION = "$condition."  # and a name
MOST_VALUES = 10_000  # of one `in`

_MEMBERS = ("min", "max", "in", "missing")
_NOTHING = Intervals(np.zeros(0, np.float32), np.zeros(0, np.float32))
_EVERYTHING = Intervals(*np.array([[-1], [1]], np.float32) * np.finfo(np.float32).max)


class Test(NamedTuple):
    """Of the numbers of one column, or of scores. `missing`: whether missing values pass; `absent` stands for one."""

    numbers: Intervals
    missing: bool = False
    absent: np.float32 | None = None

    def passes(self, numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of float32 [n] do."""
        passing = self.numbers.hold(numbers)
        if self.absent is not None:
            passing &= numbers != self.absent
        if self.missing:
            passing |= ~np.isfinite(numbers)
            if self.absent is not None:
                passing |= numbers == self.absent
        return passing


class Where(NamedTuple):
    """Tests by column, of the score, of the label: bool [labels], and by the column of a condition."""

    columns: Sequence[tuple[int, Test]] = ()
    score: Test | None = None
    labels: NDArray[np.bool_] | None = None
    conditions: Sequence[tuple[int, Test]] = ()

    @property
    def of_drawn(self) -> bool:
        """Whether it asks for what is drawn for rows before they are made: labels, or conditions."""
        return self.labels is not None or bool(self.conditions)

    @property
    def of_made(self) -> bool:
        """Whether it asks for what rows have when they are made."""
        return bool(self.columns) or self.score is not None

    def passing(self, rows: Samples) -> NDArray[np.int64]:
        """The places of those rows that pass, whatever their scores are."""
        places = self.passing_drawn(rows)
        for at, test in self.columns:
            places = places[test.passes(rows.samples[places, at])]
        return places

    def passing_drawn(self, rows: Samples) -> NDArray[np.int64]:
        """The places of those that pass by their labels and conditions; their samples are not looked at."""
        places = np.arange(len(rows.samples))
        if self.labels is not None and rows.labels is not None:
            places = places[self.labels[rows.labels]]
        for at, test in self.conditions:
            assert rows.conditions is not None  # noqa: S101, the model has some
            places = places[test.passes(rows.conditions[places, at])]
        return places


def where_steps(asked: dict[str, Any], manifest: Manifest) -> Steps[Where]:
    """Checked against the model. Raises InvalidError."""
    if not asked:
        raise InvalidError("where", "is empty")
    columns: list[tuple[int, Test]] = []
    conditions: list[tuple[int, Test]] = []
    score = labels = None
    for name, of in asked.items():
        path = f"where.{shown(name)}"
        if not isinstance(of, dict) or not of:
            raise InvalidError(path, "an object with min, max, in or missing is needed")
        for member in of:
            if member not in _MEMBERS:
                raise InvalidError(f"{path}.{shown(member)}", "unknown field")
        if name == LABEL:
            labels = _labels(path, of, manifest)
        elif name == SCORE:
            require_critic(path, manifest)
            score = yield from _test(path, of, Column(name=SCORE))
        elif name.startswith(CONDITION):
            conditions.append((yield from _condition(path, name.removeprefix(CONDITION), of, manifest)))
        else:
            at, column = find_column(path, name, manifest)
            columns.append((at, (yield from _test(path, of, column))))
    return Where(columns, score, labels, conditions)


def find_column(path: str, name: str, manifest: Manifest) -> tuple[int, Column]:
    """A column by its name, and its place. Raises InvalidError."""
    columns = manifest.sample.columns
    if columns is None:
        others = f"{LABEL}, {CONDITION}NAME and {SCORE}"
        raise InvalidError(path, f"the samples of {manifest.name} have no columns; there are {others}")
    found = [(at, column) for at, column in enumerate(columns) if column.name == name]
    if not found:
        names = ", ".join(column.name for column in columns)
        raise InvalidError(path, f"there is no such column; there are {names[: 4 * SHOWN]}")
    if len(found) > 1:
        raise InvalidError(path, f"{len(found)} columns have this name")
    return found[0]


def require_critic(path: str, manifest: Manifest) -> None:
    """Raises InvalidError where there is none."""
    if manifest.onnx.critic is None:
        raise InvalidError(path, f"the model {manifest.name} has no critic, which gives scores")


def shown(name: str) -> str:
    """A client's own word, for the path of a field."""
    return name[:SHOWN] if name.isprintable() else ascii(name)[:SHOWN]


def _labels(path: str, of: dict[str, Any], manifest: Manifest) -> NDArray[np.bool_]:
    if manifest.labels is None:
        raise InvalidError(path, f"the model {manifest.name} takes no labels")
    for member in of:
        if member != "in":
            raise InvalidError(f"{path}.{member}", "is not taken of labels; `in` is")
    values = _values(path, of["in"])
    for index, value in enumerate(values):
        if type(value) not in (int, str):
            raise InvalidError(f"{path}.in[{index}]", "an index or a name is needed")
    passing = np.zeros(len(manifest.labels), np.bool_)
    passing[label_indices(values, manifest, lambda row: f"{path}.in[{row}]")] = True
    return passing


def _condition(path: str, name: str, of: dict[str, Any], manifest: Manifest) -> Steps[tuple[int, Test]]:
    """A condition's column, and the test of its values."""
    if manifest.conditions is None:
        raise InvalidError(path, f"the model {manifest.name} takes no conditions")
    names = [condition.name for condition in manifest.conditions]
    if name not in names:
        raise InvalidError(path, f"the model has no such condition; it has {', '.join(names)[: 4 * SHOWN]}")
    if "missing" in of:
        raise InvalidError(f"{path}.missing", "is not taken of conditions, which all rows have")
    at = names.index(name)
    test = yield from _test(path, of, Column(name=CONDITION + name))
    if not len(test.numbers.within(_range(manifest.conditions[at])).lows):
        low, high = manifest.conditions[at].range
        raise InvalidError(path, f"no value of the condition is such; its range is {low:.9g} to {high:.9g}")
    return at, test


def _range(condition: Condition) -> Intervals:
    """As rows have it."""
    low, high = np.array(condition.range, np.float32)
    return Intervals(np.array([low]), np.array([high]))


def _test(path: str, of: dict[str, Any], column: Column) -> Steps[Test]:
    """Of one column."""
    missing = of.get("missing", False)
    if type(missing) is not bool:
        raise InvalidError(f"{path}.missing", "true or false is needed")
    of = _read(path, of, column)
    low, high = (None if of.get(end) is None else _bound(path, end, of[end]) for end in ("min", "max"))
    for end in ("min", "max", "in"):
        if end in of and of[end] is None:
            raise InvalidError(f"{path}.{end}", "is null")
    if low is not None and high is not None and low > high:
        raise InvalidError(f"{path}.min", f"is {of['min']}, above max, {of['max']}")
    values = None if "in" not in of else _values(path, of["in"])
    if column.categories is not None:
        numbers = yield from _categories(path, column, (low, high), values, missing)
        return Test(numbers, missing)
    absent = None if column.missing is None else np.float32(column.missing)
    if values is None and low is None and high is None:
        return Test(_NOTHING if missing else _EVERYTHING, missing, absent)
    exact = np.unique([_exact(f"{path}.in[{index}]", value) for index, value in enumerate(values or ())])
    least = np.append(exact, -math.inf if low is None else low)
    found = yield from numbers_of(column, least, np.append(exact, math.inf if high is None else high))
    numbers, each = found.take(slice(-1, None)), found.take(slice(-1))
    if values is not None:
        for place in np.flatnonzero(each.lows > each.highs)[:1]:
            raise InvalidError(f"{path}.in", f"no value of the column is {exact[place]:.17g}")
        numbers = each.within(numbers)
    if not (numbers.lows <= numbers.highs).any():
        raise InvalidError(path, "no value of the column is such")
    return Test(numbers, missing, absent)


def _read(path: str, of: dict[str, Any], column: Column) -> dict[str, Any]:
    """The same, with the numbers of what is written in the column's form."""
    if column.form is None:
        return of
    read = dict(of)
    for member, value in of.items():
        if member in ("min", "max") and isinstance(value, str):
            read[member] = _written(f"{path}.{member}", value, column.form)
        elif member == "in" and isinstance(value, list):
            read[member] = [
                _written(f"{path}.in[{index}]", one, column.form) if isinstance(one, str) else one
                for index, one in enumerate(value)
            ]
    return read


def _written(path: str, text: str, form: Form) -> float:
    value = form.read(text)
    if value is None:
        raise InvalidError(path, f"is not written as the column's values are, such as {form.write(0.0, 0)}")
    return value


def _categories(
    path: str,
    column: Column,
    ends: tuple[float | None, float | None],
    values: list[Any] | None,
    missing: bool,
) -> Steps[Intervals]:
    """The numbers that are places of categories that pass."""
    categories = column.categories or []
    passing = np.array([category is not None for category in categories])
    for end, bound in zip(("min", "max"), ends, strict=True):
        if bound is None:
            continue
        if any(type(category) not in (int, float) for category in categories if category is not None):
            raise InvalidError(f"{path}.{end}", "the column's values have no order; `in` takes some of them")
        passing &= [
            category is not None and (float(category) >= bound if end == "min" else float(category) <= bound)
            for category in categories
        ]
    if values is not None:
        known = {(type(one) is bool, one): place for place, one in enumerate(categories) if one is not None}
        there = np.zeros(len(categories), np.bool_)
        for index, value in enumerate(values):
            place = known.get((type(value) is bool, value)) if type(value) in (str, bool, int, float) else None
            if place is None:
                said = shown_number(value) if type(value) is int else repr(value)[:SHOWN]
                raise InvalidError(f"{path}.in[{index}]", f"no value of the column is {said}")
            there[place] = True
        passing &= there
    elif ends == (None, None) and missing:
        passing[:] = False
    if not passing.any() and not (ends == (None, None) and values is None):
        raise InvalidError(path, "no value of the column is such")
    if missing:
        passing |= [category is None for category in categories]
    steps = np.diff(passing.astype(np.int8), prepend=0, append=0)
    first, last = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1
    return (yield from numbers_of(column, first.astype(np.float64), last.astype(np.float64)))


def _values(path: str, values: object) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise InvalidError(f"{path}.in", "a list of values is needed")
    if len(values) > MOST_VALUES:
        raise InvalidError(f"{path}.in", f"holds {len(values)} values; at most {MOST_VALUES} are taken")
    for index, value in enumerate(values):
        if value is None:
            raise InvalidError(f"{path}.in[{index}]", "is null; `missing` says whether missing values pass")
    return values


def _bound(path: str, end: str, value: object) -> float:
    """As a double, or the next one inwards: no double lies between, and values that are served are doubles."""
    double = _double(f"{path}.{end}", value)
    if isinstance(value, int) and end == "min" and int(double) < value:
        return math.nextafter(double, math.inf)
    if isinstance(value, int) and end == "max" and int(double) > value:
        return math.nextafter(double, -math.inf)
    return double


def _exact(path: str, value: object) -> float:
    double = _double(path, value)
    if isinstance(value, int) and int(double) != value:
        raise InvalidError(path, f"no value of the column is {shown_number(value)}")
    return double


def _double(path: str, value: object) -> float:
    if type(value) not in (int, float):
        raise InvalidError(path, "a number is needed")
    try:
        double = float(value)  # type: ignore[arg-type]
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise InvalidError(path, "Input should be a finite number")
    return double
