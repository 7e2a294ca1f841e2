"""What may be asked for: fields -> a request for rows, checked against a model. Nothing is coerced, nothing is ignored.

HTTP, the command line and Python ask with the same fields, and are refused in the same words.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from latentserve.service.bundle import Condition, Latent, Manifest
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.pieces import InPieces, Steps, at_once, pieces_of, slices_of
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output

NameField = Annotated[str, Field(max_length=256)]
LatentField = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(fail_fast=True)]
LabelField = int | NameField
# The values are looked at when the names are known: here each that is wrong would be an error of its own.
ConditionField = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": {"type": "number"}})
]
_BOUND: dict[str, Any] = {"type": "number"}
WhereField = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {
                    "min": _BOUND,
                    "max": _BOUND,
                    "in": {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
                    "missing": {"type": "boolean"},
                },
            },
        }
    ),
]
SelectField = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["of"],
            "properties": {"of": {"type": "integer", "minimum": 2}},
        }
    ),
]
SeedField = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
TruncationField = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

Scalar = TypeVar("Scalar", bound=np.generic)

SHOWN = 100  # characters of a client's own words in an answer
_INDEX = re.compile(r"[0-9]{1,18}", re.ASCII)


class TypedLabel(str):
    """A label that was typed, where names and indices look alike: see `label_from_text`."""

    __slots__ = ()


CHOOSING = frozenset({"where", "balance", "select", "budget", "allow_fewer"})


class StrictFields(BaseModel):
    """Fields of which nothing is coerced, and nothing ignored."""

    # Unknown fields are refused by `known`, one at a time: a body can hold a million of them, and so can the lists
    # hold wrong values. An error for each would cost more than a minute.
    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra={"additionalProperties": False})

    @classmethod
    def of(cls, **fields: object) -> Self:
        """From Python's values. Raises InvalidError."""
        try:
            return cls.model_validate(fields).known()
        except ValidationError as error:
            raise first_error(error) from None

    def known(self) -> Self:
        """Itself. Raises InvalidError: it holds an unknown field."""
        for field in self.__pydantic_extra__ or ():
            raise InvalidError(field[:SHOWN], "unknown field")
        return self


class SampleFields(StrictFields):
    """What makes a row, and which rows are wanted. None: not given.

    A protocol may put what it has checked itself in the place of a list: one that is not in memory whole (`InPieces`;
    of an object for `condition`, the pieces are its parts), or an array: float [n, dim] of latents, integers or names
    [n] of labels, float [n, k] of conditions in the manifest's order.
    """

    n: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Rows: by default as many as latents, labels or conditions have, else 1."
    )
    seed: SeedField | None = Field(default=None, description="Of the rows: drawn, and told, where none is given.")
    offset: SeedField | None = Field(default=None, description="The first row: 0 by default.")
    latents: Annotated[list[LatentField], Field(fail_fast=True)] | None = Field(
        default=None, description="What rows are made from, [n][dim], instead of seed, offset and truncation."
    )
    label: LabelField | None = Field(default=None, description="Of all rows, by index or name; else drawn.")
    labels: Annotated[list[LabelField], Field(fail_fast=True)] | None = Field(
        default=None, description="Of each row, instead of label."
    )
    condition: ConditionField | None = Field(
        default=None, description="Numbers by name, of all rows; what is left out is drawn."
    )
    conditions: Annotated[list[ConditionField], Field(fail_fast=True)] | None = Field(
        default=None, description="An object for each row, instead of condition."
    )
    truncation: TruncationField | None = Field(
        default=None, description="The central mass of the latents' prior that is kept: 1, all, by default."
    )
    where: WhereField | None = Field(
        default=None,
        description="Which rows are wanted: by column, $label, $condition.NAME or $score min, max, in or missing.",
    )
    balance: str | None = Field(default=None, description="A column, or $label, of whose values each comes as often.")
    select: SelectField | None = Field(default=None, description='{"of": k}: of every k rows the one that scores best.')
    budget: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Rows that are looked at, at the most: 200 n by default."
    )
    allow_fewer: bool | None = Field(default=None, description="End with fewer rows where the budget does.")

    @property
    def long(self) -> bool:
        """Whether it takes long to be understood: a list was not read whole, or rows are to be like something."""
        if self.where is not None:
            return True
        lists: tuple[object, ...] = (self.latents, self.labels, self.conditions)
        for rows in lists:
            if rows is not None and not isinstance(rows, list):
                return True
        return not (self.condition is None or isinstance(self.condition, dict))


def first_error(error: ValidationError) -> InvalidError:
    """The first thing that is wrong, its field as a path."""
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    if not location:
        return InvalidError("body", "a JSON object is needed")
    path = str(location[0]) + "".join(f"[{part}]" for part in location[1:] if isinstance(part, int))
    return InvalidError(path, first["msg"])


def rows_request(
    fields: SampleFields, manifest: Manifest, max_n: int, *, deterministic: bool = False, output: Output = "sample"
) -> RowsRequest:
    """The rows asked for, checked against the model; a seed that is not given is drawn.

    Raises InvalidError, and TooLargeError: more than `max_n` rows. Rows are not chosen here (`choosing` is where), and
    fields that say which are refused.
    """
    return at_once(rows_request_steps(fields, manifest, max_n, deterministic=deterministic, output=output))


def rows_request_steps(
    fields: SampleFields, manifest: Manifest, max_n: int, *, deterministic: bool = False, output: Output = "sample"
) -> Steps[RowsRequest]:
    """The same, in steps."""
    if not CHOOSING.isdisjoint(fields.model_fields_set):
        for name in sorted(CHOOSING):
            if getattr(fields, name) is not None:
                raise InvalidError(name, "is not taken here")
    latents = None if fields.latents is None else (yield from _latents(fields, manifest.latent))
    n = _count(fields, max_n)
    labels = conditions = None
    if fields.label is not None or fields.labels is not None:
        labels = yield from _labels(fields, manifest, n)
    if fields.condition is not None or fields.conditions is not None:
        conditions = yield from _conditions(fields, manifest, n)
    offset = fields.offset or 0
    if offset + n > SEED_LIMIT:
        raise InvalidError("offset", f"offset + n is {offset + n}; at most 2^53 rows can be addressed")
    return RowsRequest(
        n=n,
        seed=secrets.randbelow(SEED_LIMIT) if fields.seed is None else fields.seed,
        offset=offset,
        latents=latents,
        labels=labels,
        conditions=conditions,
        truncation=1.0 if fields.truncation is None else fields.truncation,
        deterministic=deterministic,
        arm="server" if fields.seed is None and latents is None else "client",
        output=output,
    )


def label_from_text(text: str, names: list[str] | None) -> int | str:
    """A label that was typed, where names and indices look alike: the name where there is such a one, else the index
    that the digits are.

    Elsewhere 7 is an index and "7" a name; of what this returns, that is so too.
    """
    return int(text) if _INDEX.fullmatch(text) and text not in (names or ()) else text


def _count(fields: SampleFields, max_n: int) -> int:
    """n, stated or from the length of `latents`, `labels` or `conditions`."""
    n, said = fields.n, "n"
    for name, rows in (("latents", fields.latents), ("labels", fields.labels), ("conditions", fields.conditions)):
        if rows is None:
            continue
        if (length := len(rows)) == 0:
            raise InvalidError(name, "is empty")
        if n is not None and n != length:
            if said == "n":
                raise InvalidError("n", f"is {shown_number(n)}, but {name} holds {length} rows")
            raise InvalidError(name, f"{length} {name} for {n} {said}")
        if n is None:
            n, said = length, name
    n = n or 1
    if n > max_n:
        raise TooLargeError(f"n: {shown_number(n)} rows were asked for; one request may ask for {max_n}")
    return n


def shown_number(number: int) -> str:
    """In digits, where Python writes so many, and as many as an answer has room for."""
    return str(number)[:SHOWN] if number.bit_length() < 10_000 else f"a number of {number.bit_length()} bits"


class _Numbers(NamedTuple):
    """Rows of numbers: how many each has, all of them as float32, and what is wrong with which."""

    lengths: NDArray[np.int64]
    values: NDArray[np.float32]
    wrong: tuple[int, str] | None


def _latents(fields: SampleFields, latent: Latent) -> Steps[NDArray[np.float32]]:
    """What the client sent, float32 [n, dim]; or [n, width], where its noise is to be drawn from the seed."""
    rows: Any = fields.latents
    sent = yield from (_of_array(rows) if isinstance(rows, np.ndarray) else _of_lists(rows))
    columns = int(sent.lengths[0]) if len(sent.lengths) else latent.dim
    for index in np.flatnonzero((sent.lengths != columns) | ~np.isin(sent.lengths, (latent.dim, latent.width)))[:1]:
        length = sent.lengths[index]
        if length not in (latent.dim, latent.width):
            noise = f", or {latent.width} without its noise" if latent.width < latent.dim else ""
            raise InvalidError(f"latents[{index}]", f"has {length} values; the model's latent has {latent.dim}{noise}")
        raise InvalidError(f"latents[{index}]", f"has {length} values, but the first row has {columns}")
    for field in ("seed", "offset", "truncation") if columns == latent.dim else ("truncation",):
        if getattr(fields, field) is not None:
            raise InvalidError(field, "excludes latents, which say already what each row is made from")
    if sent.wrong is not None:
        row, column = divmod(sent.wrong[0], columns)
        raise InvalidError(f"latents[{row}][{column}]", sent.wrong[1])
    return sent.values.reshape(-1, columns)


def _of_lists(rows: list[list[float]] | InPieces) -> Steps[_Numbers]:
    lengths: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float32]] = []
    wrong = None
    count = numbers = 0
    for start, piece in pieces_of(rows):
        of_rows = np.fromiter(map(len, piece), np.int64, len(piece))
        narrow, bad = _narrow(np.fromiter(chain.from_iterable(piece), np.float64, int(of_rows.sum())))
        if wrong is None and bad is not None:
            wrong = numbers + bad[0], bad[1]
        if start < count:  # the rest of a long row
            lengths[-1][-1] += of_rows[0]
            of_rows = of_rows[1:]
        if len(of_rows):
            lengths.append(of_rows)
        values.append(narrow)
        count, numbers = count + len(of_rows), numbers + len(narrow)
        yield
    none = np.zeros(0)
    return _Numbers(np.concatenate([none.astype(int), *lengths]), np.concatenate([none.astype("f4"), *values]), wrong)


def _of_array(rows: NDArray[np.floating[Any]]) -> Steps[_Numbers]:
    values = np.empty(rows.shape, np.float32)
    wrong = None
    for start, piece in slices_of(rows):
        narrow, bad = _narrow(piece.reshape(-1))
        if wrong is None and bad is not None:
            wrong = start * rows.shape[1] + bad[0], bad[1]
        values[start : start + len(piece)] = narrow.reshape(piece.shape)
        yield
    return _Numbers(np.full(len(rows), rows.shape[1], np.int64), values.reshape(-1), wrong)


def _narrow(wide: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], tuple[int, str] | None]:
    """As float32, and the first that is none."""
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    finite = np.isfinite(narrow)
    if finite.all():
        return narrow, None
    first = int(np.argmin(finite))
    return narrow, (
        first,
        "is too large for float32" if np.isfinite(wide[first]) else "Input should be a finite number",
    )


def _labels(fields: SampleFields, manifest: Manifest, n: int) -> Steps[NDArray[np.int64]]:
    """Labels by index or by name: 7 is an index, "7" a name."""
    if fields.label is not None and fields.labels is not None:
        raise InvalidError("label", "excludes labels")
    if manifest.labels is None:
        raise InvalidError("labels" if fields.label is None else "label", f"the model {manifest.name} takes no labels")
    if fields.label is not None:
        one = fields.label
        if isinstance(one, TypedLabel):
            one = label_from_text(one, manifest.labels)
        return _for_all(label_indices([one], manifest, lambda _row: "label"), n)
    places: list[NDArray[np.int64]] = []
    asked: Any = fields.labels
    for start, piece in _rows_of(asked):
        places.append(label_indices(piece, manifest, lambda row, start=start: f"labels[{start + row}]"))  # type: ignore[misc]
        yield
    return np.concatenate(places) if len(places) != 1 else places[0]


def label_indices(labels: Sequence[int | str], manifest: Manifest, field: Callable[[int], str]) -> NDArray[np.int64]:
    """The indices int64 [n] of labels, of which there are some; `field` names one in an error. Raises InvalidError."""
    known, count = manifest.label_places, len(manifest.labels or ())
    places = [known.get(label, -1) if isinstance(label, str) else label for label in labels]
    for row, place in enumerate(places):
        if not 0 <= place < count:
            label = labels[row]
            if isinstance(label, str):
                raise InvalidError(field(row), f"no label has the name {label[:SHOWN]!r}")
            raise InvalidError(field(row), f"is {shown_number(label)}; the model has labels 0 to {count - 1}")
    return np.array(places, np.int64)


def _rows_of(rows: list[Any] | InPieces | NDArray[Any]) -> Iterator[tuple[int, list[Any]]]:
    """In pieces, with the number of each one's first row."""
    if isinstance(rows, np.ndarray):
        return ((start, piece.tolist()) for start, piece in slices_of(rows))
    return pieces_of(rows)


def _conditions(fields: SampleFields, manifest: Manifest, n: int) -> Steps[NDArray[np.float32]]:
    """Conditions by name, float32 [n, k]; NaN where no value was given."""
    if fields.condition is not None and fields.conditions is not None:
        raise InvalidError("condition", "excludes conditions")
    for_all = fields.conditions is None
    if manifest.conditions is None:
        raise InvalidError("condition" if for_all else "conditions", f"the model {manifest.name} takes no conditions")
    columns = {one.name: (column, *_ends(one)) for column, one in enumerate(manifest.conditions)}
    values = np.full((1 if for_all else n, len(columns)), np.nan, np.float32)
    asked: Any = fields.condition if for_all else fields.conditions
    if isinstance(asked, np.ndarray) and asked.shape[1] != len(columns):
        names = ", ".join(columns)[: 4 * SHOWN]
        raise InvalidError("conditions", f"has {asked.shape[1]} columns; the model has {len(columns)}: {names}")
    for start, piece in _rows_of([asked] if isinstance(asked, dict) else asked):
        if isinstance(asked, np.ndarray):
            piece = [dict(zip(columns, row, strict=True)) for row in piece]
        for row, condition in enumerate(piece, start):
            for name, value in condition.items():
                column, low, high = columns.get(name, _UNKNOWN)
                if type(value) not in (float, int) or not low <= value <= high:  # a bool is an int, and no number here
                    raise _refused("condition" if for_all else f"conditions[{row}]", name, value, manifest)
                values[row, column] = value
        yield
    return _for_all(values, n) if for_all else values


def _for_all(row: NDArray[Scalar], n: int) -> NDArray[Scalar]:
    """One row as n, held once, however many they are: a view as `np.broadcast_to` gives, in a tenth of its time."""
    return np.ndarray((n, *row.shape[1:]), row.dtype, row, strides=(0, *row.strides[1:]))


_UNKNOWN = -1, math.inf, -math.inf  # a range that holds nothing


def _ends(condition: Condition) -> tuple[float, float]:
    """Of the range: the doubles that they are, or the float32 that answers tell, whichever is further out."""
    low, high = condition.range
    return min(low, float(np.float32(low))), max(high, float(np.float32(high)))


def _refused(field: str, name: str, value: object, manifest: Manifest) -> InvalidError:
    known = next((one for one in manifest.conditions or () if one.name == name), None)
    path = f"{field}.{name[:SHOWN] if name.isprintable() else ascii(name)[:SHOWN]}"
    if known is None:
        names = ", ".join(manifest.condition_places)
        return InvalidError(path, f"the model has no such condition; it has {names[: 4 * SHOWN]}")
    if type(value) not in (float, int):
        return InvalidError(path, "a number is needed")
    shown = shown_number(value) if isinstance(value, int) else repr(value)
    unit = f" {known.unit}" if known.unit else ""
    return InvalidError(path, f"is {shown}; the model's range is {known.range[0]:.9g} to {known.range[1]:.9g}{unit}")
