"""What may be asked for: fields -> a request for rows, checked against a model. Nothing is coerced, nothing is ignored.

HTTP, the command line and Python ask with the same fields, and are refused in the same words.
"""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latentserve.service.bundle import Manifest
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output

NameField = Annotated[str, Field(max_length=256)]
LatentField = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(fail_fast=True)]
LabelField = int | NameField
SeedField = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
TruncationField = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

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
    latents = None
    if fields.latents is not None:
        for field in ("seed", "offset", "truncation"):
            if getattr(fields, field) is not None:
                raise InvalidError(field, "excludes latents, which say already what each row is made from")
        latents = _latents(fields.latents, manifest.latent.dim)
    n = _count(fields, max_n)
    labels = _labels(fields, manifest, n)
    offset = fields.offset or 0
    if offset + n > SEED_LIMIT:
        raise InvalidError("offset", f"offset + n is {offset + n}; at most 2^53 rows can be addressed")
    return RowsRequest(
        n=n,
        seed=secrets.randbelow(SEED_LIMIT) if fields.seed is None else fields.seed,
        offset=offset,
        latents=latents,
        labels=labels,
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
    """n, stated or from the length of `latents` or `labels`."""
    n = fields.n
    for name, rows in (("latents", fields.latents), ("labels", fields.labels)):
        if rows is None:
            continue
        if not rows:
            raise InvalidError(name, "is empty")
        if fields.n is not None and fields.n != len(rows):
            raise InvalidError("n", f"is {fields.n}, but {name} holds {len(rows)} rows")
        if n is not None and n != len(rows):
            raise InvalidError("labels", f"{len(rows)} labels for {n} latents")
        n = len(rows)
    n = n or 1
    if n > max_n:
        raise TooLargeError(f"n: {_shown(n)} rows were asked for; one request may ask for {max_n}")
    return n


def _shown(number: int) -> str:
    """In digits, where Python writes so many, and as many as an answer has room for."""
    return str(number)[:_SHOWN] if number.bit_length() < 10_000 else f"a number of {number.bit_length()} bits"


def _latents(rows: list[list[float]], dim: int) -> NDArray[np.float32]:
    for index, row in enumerate(rows):
        if len(row) != dim:
            raise InvalidError(f"latents[{index}]", f"has {len(row)} values; the model's latent has {dim}")
    with np.errstate(over="ignore"):
        latents = np.asarray(rows, np.float64).astype(np.float32)
    if not np.isfinite(latents).all():
        row, column = np.argwhere(~np.isfinite(latents))[0]
        raise InvalidError(f"latents[{row}][{column}]", "is too large for float32")
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
    return np.array(places, np.int64) if fields.label is None else np.full(n, places[0], np.int64)
