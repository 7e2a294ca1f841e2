"""Rows around one: variation i of a row is a pure function of the row, the variation's seed, i and the strength.

Each number of the row's latent is taken as the standard normal number w that it was drawn by, mixed with another one e
drawn for it, w <- cos(a) w + sin(a) e with a = strength * pi / 2, and turned back: w stays standard normal, so the
latent stays in its prior, truncated or not. e is drawn as latents are, from (variation seed, i) on stream 4.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from latentserve.service.bundle import Manifest
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.arithmetic.quantiles import column_of, normal_of
from latentserve.service.sampling.arithmetic.row import CountField, RowFields, require_room, row_inputs
from latentserve.service.sampling.fields import SeedField, TruncationField
from latentserve.service.sampling.latents import SEED_LIMIT, Span, draw_variations
from latentserve.service.sampling.pieces import Steps, at_once
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output

_PIECE_NUMBERS = 1 << 16  # that are made in a step


class VariationFields(RowFields):
    """A row, and which of its variations are wanted."""

    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=0.2, description="How far they are from the row: near 0 they are the row, at 1 they have nothing of it."
    )
    variation_seed: SeedField = Field(default=0, description="Of the variations.")
    offset: SeedField = Field(default=0, description="The first variation that is wanted.")
    n: CountField = Field(default=1, description="Variations that are wanted.")
    truncation: TruncationField | None = Field(
        default=None, description="The central mass of the latents' prior that is kept: 1, all, by default."
    )


def variation_request(
    fields: VariationFields, manifest: Manifest, max_n: int, max_bytes: int = SEED_LIMIT
) -> RowsRequest:
    """Variations as rows to make; row numbers are theirs.

    Raises InvalidError, and TooLargeError: more than `max_n`, or than `max_bytes` of their latents.
    """
    return at_once(variation_request_steps(fields, manifest, max_n, max_bytes))


def variation_request_steps(
    fields: VariationFields,
    manifest: Manifest,
    max_n: int,
    max_bytes: int,
    *,
    deterministic: bool = False,
    output: Output = "sample",
) -> Steps[RowsRequest]:
    """The same, in steps."""
    n, offset, latent = fields.n, fields.offset, manifest.latent
    if offset + n > SEED_LIMIT:
        raise InvalidError("offset", f"offset + n is {offset + n}; at most 2^53 variations can be addressed")
    require_room("n", n, manifest, max_n, max_bytes)
    row = row_inputs(fields, manifest, fields.truncation)
    truncation = 1.0 if fields.truncation is None else fields.truncation
    angle = fields.strength * math.pi / 2
    z = np.empty((n, latent.dim), np.float32)
    z[:] = row.z  # its noise is that of all of them
    normals, at = [], 0
    for part in latent.pieces:
        if not part.noise:
            normals.append(normal_of(part, row.z[0, at : at + part.width], truncation))
        at += part.width
    step = max(1, _PIECE_NUMBERS // latent.dim)
    for start in range(0, n, step):
        rows = min(step, n - start)
        drawn = draw_variations(latent, Span(fields.variation_seed, offset + start, rows))
        at = 0
        for part, normal in zip(latent.pieces, normals, strict=False):
            columns = slice(at, at + part.width)
            mixed = math.cos(angle) * normal + math.sin(angle) * drawn[:, columns]
            z[start : start + rows, columns] = column_of(part, mixed, truncation)
            at += part.width
        yield
    return RowsRequest(
        n,
        0,
        offset,
        z,
        None if row.label is None else np.repeat(row.label, n),
        None if row.condition is None else np.repeat(row.condition, n, axis=0),
        deterministic=deterministic,
        output=output,
        derived=True,
    )
