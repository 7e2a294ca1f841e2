"""The body of `POST /v1/samples`: bytes -> fields -> a request for rows. Nothing is coerced, nothing is ignored."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from latentserve.service.bundle import Manifest
from latentserve.service.errors import InvalidError, LatentserveError, MalformedError, TooLargeError
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest

NameField = Annotated[str, Field(max_length=256)]
LatentField = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(fail_fast=True)]
LabelField = int | NameField
SeedField = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
TruncationField = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

_SHOWN = 100  # characters of a client's own words in an answer


class SamplesBody(BaseModel):
    """What a client may ask for."""

    # Unknown fields are refused by `_known`, one at a time: a body can hold a million of them, and so can the lists
    # hold wrong values. An error for each would cost more than a minute.
    model_config = ConfigDict(extra="allow", strict=True)

    model: NameField | None = None
    version: NameField | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    seed: SeedField | None = None
    offset: SeedField | None = None
    latents: Annotated[list[LatentField], Field(fail_fast=True)] | None = None
    label: LabelField | None = None
    labels: Annotated[list[LabelField], Field(fail_fast=True)] | None = None
    truncation: TruncationField | None = None
    deterministic: bool = False
    dtype: Literal["float32", "uint8"] = "float32"


_BODY = TypeAdapter(SamplesBody)


def parse_body(content: bytes) -> SamplesBody:
    """The fields of a JSON body; an empty one asks for the defaults. Raises MalformedError, InvalidError."""
    try:
        return _known(_BODY.validate_json(content or b"{}"))
    except ValidationError as error:
        raise _first(error) from None


def parse_fields(**fields: object) -> SamplesBody:
    """The same, of values that are parsed already. Raises InvalidError."""
    try:
        return _known(_BODY.validate_python(fields))
    except ValidationError as error:
        raise _first(error) from None


def _known(body: SamplesBody) -> SamplesBody:
    for field in body.model_extra or ():
        raise InvalidError(field[:_SHOWN], "unknown field")
    return body


def rows_request(body: SamplesBody, manifest: Manifest, max_n: int) -> RowsRequest:
    """The rows asked for, checked against the model. Raises InvalidError, TooLargeError."""
    latents = None
    if body.latents is not None:
        for field in ("seed", "offset", "truncation"):
            if getattr(body, field) is not None:
                raise InvalidError(field, "excludes latents, which say already what each row is made from")
        latents = _latents(body.latents, manifest.latent.dim)
    n = _count(body, max_n)
    labels = _labels(body, manifest, n)
    seed = secrets.randbelow(SEED_LIMIT) if body.seed is None else body.seed
    offset = body.offset or 0
    if offset + n > SEED_LIMIT:
        raise InvalidError("offset", f"offset + n is {offset + n}; at most 2^53 rows can be addressed")
    return RowsRequest(
        n=n,
        seed=seed,
        offset=offset,
        latents=latents,
        labels=labels,
        truncation=1.0 if body.truncation is None else body.truncation,
        deterministic=body.deterministic,
        arm="server" if body.seed is None and latents is None else "client",
    )


def _count(body: SamplesBody, max_n: int) -> int:
    """n, stated or from the length of `latents` or `labels`."""
    if body.latents is not None and body.labels is not None and len(body.latents) != len(body.labels):
        raise InvalidError("labels", f"{len(body.labels)} labels for {len(body.latents)} latents")
    for field in ("latents", "labels"):
        rows = getattr(body, field)
        if rows is None:
            continue
        if not rows:
            raise InvalidError(field, "is empty")
        if body.n is not None and body.n != len(rows):
            raise InvalidError("n", f"is {body.n}, but {field} holds {len(rows)} rows")
        n = len(rows)
        break
    else:
        n = 1 if body.n is None else body.n
    if n > max_n:
        raise TooLargeError(f"n: {n} rows were asked for; one request may ask for {max_n}")
    return n


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


def _labels(body: SamplesBody, manifest: Manifest, n: int) -> NDArray[np.int64] | None:
    if body.label is not None and body.labels is not None:
        raise InvalidError("label", "excludes labels")
    if body.label is None and body.labels is None:
        return None
    field = "label" if body.label is not None else "labels"
    if manifest.labels is None:
        raise InvalidError(field, f"the model {manifest.name} takes no labels")
    if body.labels is None:
        return np.full(n, _label("label", body.label, manifest.labels), np.int64)
    return np.array([_label(f"labels[{i}]", label, manifest.labels) for i, label in enumerate(body.labels)], np.int64)


def _label(field: str, label: Any, names: list[str]) -> int:
    """A label by index or by name. Names are looked up first only for strings: 7 is an index, "7" a name."""
    if isinstance(label, str):
        if label not in names:
            raise InvalidError(field, f"no label has the name {label[:_SHOWN]!r}")
        return names.index(label)
    if not 0 <= label < len(names):
        raise InvalidError(field, f"is {str(label)[:_SHOWN]}; the model has labels 0 to {len(names) - 1}")
    return int(label)


def _first(error: ValidationError) -> LatentserveError:
    """The first thing that is wrong, its field as a path."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return MalformedError(f"the body is not JSON: {first['msg']}")
    location = first["loc"]
    if not location:
        return InvalidError("body", "a JSON object is needed")
    path = str(location[0]) + "".join(f"[{part}]" for part in location[1:] if isinstance(part, int))
    return InvalidError(path, first["msg"])
