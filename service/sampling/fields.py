"""What may be asked for: fields -> a request for rows, checked against a model. Nothing is coerced, nothing is ignored.

HTTP, the command line and Python ask with the same fields, and are refused in the same words.
"""

from __future__ import annotations

import math
import re
import secrets
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latentserve.service.bundle import Condition, Latent, Manifest
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output

NameField = Annotated[str, Field(max_length=256)]
LatentField = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(fail_fast=True)]
LabelField = int | NameField
# The values are looked at when the names are known: here each that is wrong would be an error of its own.
ConditionField = dict[str, Any]
SeedField = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
TruncationField = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

Scalar = TypeVar("Scalar", bound=np.generic)

_SHOWN = 100  # characters of a client's own words in an answer
_INDEX = re.compile(r"[0-9]{1,18}", re.ASCII)


class SampleFields(BaseModel):
    """What makes a row. None: not given."""

    # Unknown fields are refused by `known`, one at a time: a body can hold a million of them, and so can the lists
    # hold wrong values. An error for each would cost more than a minute.
    model_config = ConfigDict(extra="allow", strict=True)

    n: Annotated[int, Field(ge=1)] | None = None
    seed: SeedField | None = None
    offset: SeedField | None = None
    latents: Annotated[list[LatentField], Field(fail_fast=True)] | None = None
    label: LabelField | None = None
    labels: Annotated[list[LabelField], Field(fail_fast=True)] | None = None
    condition: ConditionField | None = None
    conditions: Annotated[list[ConditionField], Field(fail_fast=True)] | None = None
    truncation: TruncationField | None = None

    @classmethod
    def of(cls, **fields: object) -> Self:
        """From Python's values. Raises InvalidError."""
        try:
            return cls.model_validate(fields).known()
        except ValidationError as error:
            raise first_error(error) from None

    def known(self) -> Self:
        """Itself. Raises InvalidError: it holds an unknown field."""
        for field in self.model_extra or ():
            raise InvalidError(field[:_SHOWN], "unknown field")
        return self


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

    Raises InvalidError, and TooLargeError: more than `max_n` rows.
    """
    latents = None if fields.latents is None else _latents(fields, manifest.latent)
    n = _count(fields, max_n)
    labels = _labels(fields, manifest, n)
    conditions = _conditions(fields, manifest, n)
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
        if not rows:
            raise InvalidError(name, "is empty")
        if n is not None and n != len(rows):
            if said == "n":
                raise InvalidError("n", f"is {_shown(n)}, but {name} holds {len(rows)} rows")
            raise InvalidError(name, f"{len(rows)} {name} for {n} {said}")
        if n is None:
            n, said = len(rows), name
    n = n or 1
    if n > max_n:
        raise TooLargeError(f"n: {_shown(n)} rows were asked for; one request may ask for {max_n}")
    return n


def _shown(number: int) -> str:
    """In digits, where Python writes so many, and as many as an answer has room for."""
    return str(number)[:_SHOWN] if number.bit_length() < 10_000 else f"a number of {number.bit_length()} bits"


def _latents(fields: SampleFields, latent: Latent) -> NDArray[np.float32]:
    """What the client sent, float32 [n, dim]; or [n, width], where its noise is to be drawn from the seed."""
    rows = fields.latents or []
    columns = len(rows[0]) if rows else latent.dim
    for index, row in enumerate(rows):
        if len(row) not in (latent.dim, latent.width):
            noise = f", or {latent.width} without its noise" if latent.width < latent.dim else ""
            raise InvalidError(
                f"latents[{index}]", f"has {len(row)} values; the model's latent has {latent.dim}{noise}"
            )
        if len(row) != columns:
            raise InvalidError(f"latents[{index}]", f"has {len(row)} values, but the first row has {columns}")
    for field in ("seed", "offset", "truncation") if columns == latent.dim else ("truncation",):
        if getattr(fields, field) is not None:
            raise InvalidError(field, "excludes latents, which say already what each row is made from")
    with np.errstate(over="ignore"):
        latents = np.asarray(rows, np.float64).astype(np.float32)
    if not np.isfinite(latents).all():
        place = np.argwhere(~np.isfinite(latents))[0]
        raise InvalidError(f"latents[{place[0]}][{place[1]}]", "is too large for float32")
    return latents


def _labels(fields: SampleFields, manifest: Manifest, n: int) -> NDArray[np.int64] | None:
    """Labels by index or by name: 7 is an index, "7" a name."""
    if fields.label is not None and fields.labels is not None:
        raise InvalidError("label", "excludes labels")
    if fields.label is None and fields.labels is None:
        return None
    asked = [fields.label] if fields.labels is None else fields.labels
    if manifest.labels is None:
        raise InvalidError("labels" if fields.label is None else "label", f"the model {manifest.name} takes no labels")
    places = [manifest.label_places.get(label, -1) if isinstance(label, str) else label for label in asked]
    for row, place in enumerate(places):
        if place is None or not 0 <= place < len(manifest.labels):
            label = asked[row]
            if isinstance(label, str):
                reason = f"no label has the name {label[:_SHOWN]!r}"
            else:
                reason = f"is {_shown(label or 0)}; the model has labels 0 to {len(manifest.labels) - 1}"
            raise InvalidError("label" if fields.labels is None else f"labels[{row}]", reason)
    labels = np.array(places, np.int64)
    return labels if fields.label is None else _for_all(labels, n)


def _conditions(fields: SampleFields, manifest: Manifest, n: int) -> NDArray[np.float32] | None:
    """Conditions by name, float32 [n, k]; NaN where no value was given."""
    if fields.condition is not None and fields.conditions is not None:
        raise InvalidError("condition", "excludes conditions")
    if fields.condition is None and fields.conditions is None:
        return None
    asked = [fields.condition or {}] if fields.conditions is None else fields.conditions
    if manifest.conditions is None:
        field = "conditions" if fields.condition is None else "condition"
        raise InvalidError(field, f"the model {manifest.name} takes no conditions")
    columns = {one.name: (column, *_ends(one)) for column, one in enumerate(manifest.conditions)}
    values = np.full((len(asked), len(columns)), np.nan, np.float32)
    for row, condition in enumerate(asked):
        for name, value in condition.items():
            column, low, high = columns.get(name, _UNKNOWN)
            if type(value) not in (float, int) or not low <= value <= high:  # a bool is an int, and no number here
                field = "condition" if fields.conditions is None else f"conditions[{row}]"
                raise _refused(field, name, value, manifest)
            values[row, column] = value
    return values if fields.condition is None else _for_all(values, n)


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
    path = f"{field}.{name[:_SHOWN] if name.isprintable() else ascii(name)[:_SHOWN]}"
    if known is None:
        names = ", ".join(manifest.condition_places)
        return InvalidError(path, f"the model has no such condition; it has {names[: 4 * _SHOWN]}")
    if type(value) not in (float, int):
        return InvalidError(path, "a number is needed")
    shown = _shown(value) if isinstance(value, int) else repr(value)
    unit = f" {known.unit}" if known.unit else ""
    return InvalidError(path, f"is {shown}; the model's range is {known.range[0]:.9g} to {known.range[1]:.9g}{unit}")
