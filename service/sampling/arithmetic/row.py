"""One row that others are made from: of a seed, or of a latent -> what it is made from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from latentserve.service.bundle import Inputs, Manifest
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.fields import (
    ConditionField,
    LabelField,
    LatentField,
    SampleFields,
    SeedField,
    StrictFields,
    rows_request,
    shown_number,
)

CountField = Annotated[int, Field(ge=1)]

_FLOAT_BYTES = 4


class RowFields(StrictFields):
    """A row by its seed and number, or by its latent; and what it is made for. None: not given."""

    seed: SeedField | None = Field(default=None, description="Of the row.")
    row: SeedField | None = Field(default=None, description="Its number: 0 by default.")
    latent: LatentField | None = Field(
        default=None, description="What it is made from, [dim], instead of seed and row."
    )
    label: LabelField | None = Field(default=None, description="By index or name; else drawn, as of this row.")
    condition: ConditionField | None = Field(
        default=None, description="Numbers by name; what is left out is drawn, as of this row."
    )


def row_inputs(fields: RowFields, manifest: Manifest, truncation: float | None = None) -> Inputs:
    """What the row is made from, of one row: as `POST /v1/samples` draws it. What a latent does not say (its noise, its
    label) is that of its seed and row, 0 and 0 where they are not given.

    Raises InvalidError.
    """
    if fields.seed is None and fields.latent is None:
        raise InvalidError("seed", "is needed, or latent")
    given: dict[str, object] = {"seed": fields.seed, "offset": fields.row, "truncation": truncation}
    given |= {"label": fields.label, "condition": fields.condition}
    if fields.latent is not None:
        given["latents"] = [fields.latent]
    known = SampleFields.of(**{name: value for name, value in given.items() if value is not None})
    try:
        request = rows_request(known, manifest, 1)
    except InvalidError as error:
        # The fields of many rows, as those of one are called.
        field = error.field.replace("latents[0]", "latent", 1).replace("latents", "latent", 1)
        reason = error.reason.replace("latents, which say", "latent, which says").replace("each row", "the row")
        raise InvalidError("row" if field == "offset" else field, reason) from None
    return request._replace(seed=fields.seed or 0).inputs(manifest, 0, 1)


def require_room(name: str, n: int, manifest: Manifest, max_n: int, max_bytes: int) -> None:
    """Raise TooLargeError where so many rows, or their latents, are more than one request may ask for."""
    if n > max_n:
        raise TooLargeError(f"{name}: {shown_number(n)} rows were asked for; one request may ask for {max_n}")
    if (size := n * manifest.latent.dim * _FLOAT_BYTES) > max_bytes:
        raise TooLargeError(f"{name}: the latents of {n} rows have {size} bytes; at most {max_bytes} are made")
