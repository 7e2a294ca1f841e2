"""What a line of an account says was asked for -> the request for the same rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from latentserve.service.auditing.trail import Line, Trail
from latentserve.service.bundle import Manifest
from latentserve.service.sampling.arithmetic.interpolation import InterpolationFields, interpolation_request
from latentserve.service.sampling.arithmetic.variations import VariationFields, variation_request
from latentserve.service.sampling.choosing.choice import Choice, search_request
from latentserve.service.sampling.fields import SampleFields
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest

_PLAIN = ("seed", "offset", "truncation", "label", "labels", "latents")
CHOSEN = ("where", "balance", "select", "allow_fewer", "budget")


def asked_by(line: Line, trail: Trail, manifest: Manifest) -> tuple[RowsRequest, Choice | None]:
    """The rows that were made, and which of them were sent; None: all, but where the answer broke off.

    Raises AuditError, and InvalidError: the model takes no such request.
    """
    if "interpolation" in line:
        path = InterpolationFields.of(**_whole(line["interpolation"], trail))
        return interpolation_request(path, manifest, SEED_LIMIT), None
    if "variation" in line:
        around = VariationFields.of(**_whole(line["variation"], trail))
        return variation_request(around, manifest, SEED_LIMIT), None
    fields = _fields_of(line, trail, manifest.condition_names)
    # Labels and conditions that were not sent with latents are drawn by the seed, though latents exclude one.
    seed = {name: fields.pop(name) for name in ("seed", "offset") if name in fields} if "latents" in fields else {}
    request, choice = search_request(SampleFields.of(**fields, n=line["n"]), manifest, SEED_LIMIT)
    return request._replace(**seed), choice


def row_of(request: RowsRequest, place: int) -> RowsRequest:
    """One of the rows, as a request of its own that gives it bit for bit."""
    one = slice(place, place + 1)
    return request._replace(
        n=1,
        offset=request.offset + place,
        latents=None if request.latents is None else request.latents[one],
        labels=None if request.labels is None else request.labels[one],
        conditions=None if request.conditions is None else request.conditions[one],
        deterministic=True,
    )


def _whole(value: Any, trail: Trail) -> Any:
    """A value of a line, or what it stands for. Raises AuditError: that was not kept."""
    if not isinstance(value, dict) or "sha256" not in value:
        return value
    if "rows" not in value:
        return orjson.loads(trail.kept(value["sha256"], ".json"))
    array = np.load(io.BytesIO(trail.kept(value["sha256"], ".npy")), allow_pickle=False)
    if array.dtype.kind == "f" and array.ndim > 1:
        return [[None if np.isnan(number) else number for number in row] for row in array.tolist()]
    return array.tolist()


def _fields_of(line: Line, trail: Trail, names: Sequence[str]) -> dict[str, Any]:
    """The fields of a request, all but n; `names` are those of the model's conditions.

    Raises AuditError: what is too long for a line was not kept.
    """
    fields = {name: _whole(line[name], trail) for name in (*_PLAIN, *CHOSEN) if name in line}
    if "condition" in line:
        fields["condition"] = _named(line["condition"], names)
    if "conditions" in line:
        fields["conditions"] = [_named(row, names) for row in _whole(line["conditions"], trail)]
    return fields


def _named(row: Sequence[float | None], names: Sequence[str]) -> dict[str, float]:
    """Conditions by name; those that were drawn are drawn again."""
    return {name: value for name, value in zip(names, row, strict=True) if value is not None}
