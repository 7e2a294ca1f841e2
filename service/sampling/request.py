"""A request for rows, as the sampling core understands it, and what it draws for each row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs, Latent, Manifest
from latentserve.service.sampling.latents import (
    Span,
    draw_conditions_of,
    draw_labels_of,
    draw_latents_of,
    draw_noise_of,
)
from latentserve.service.sampling.served_graph import Output

Arm = Literal["server", "client", "control"]
ARMS: tuple[Arm, ...] = ("server", "client", "control")


class RowsRequest(NamedTuple):
    """Rows to make. `latents` float32 [n, dim] excludes what seeds them, or [n, width]: their noise is drawn; `labels`
    int64 [n] or None: drawn; `conditions` float32 [n, k] or None: drawn, and so is each that is NaN.

    `numbers` int64 [n], ascending: which rows of the seed they are, instead of those from `offset` on. Such rows have
    no places of their own in a batch.

    `derived`: the latents were worked out from those of other rows, and are no draws of their prior by themselves.

    `output` is what the engine is to give of them, which it must have: `sample`, or `sample_uint8`.
    """

    n: int
    seed: int = 0
    offset: int = 0
    latents: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    conditions: NDArray[np.float32] | None = None
    truncation: float = 1.0
    deterministic: bool = False
    arm: Arm = "client"
    output: Output = "sample"
    derived: bool = False
    numbers: NDArray[np.int64] | None = None

    def seeded(self, latent: Latent) -> bool:
        """Whether the seed says anything of the rows' latents: all of them, or their noise."""
        return self.latents is None or self.latents.shape[1] < latent.dim

    @property
    def held(self) -> int:
        """Bytes of what the client sent for each row; what it said for all of them is held once."""
        held = 0
        for array in (self.latents, self.labels, self.conditions, self.numbers):
            if array is not None and array.strides[0]:
                held += array.nbytes
        return held

    def inputs(self, manifest: Manifest, start: int, rows: int) -> Inputs:
        """What the request's rows `start` to `start + rows - 1` are made from."""
        return draw_inputs(manifest, [(self, start, rows)])


Part = tuple[RowsRequest, int, int]  # of a request: its first row, and the number of rows


def draw_inputs(manifest: Manifest, parts: Sequence[Part]) -> Inputs:
    """What rows of parts of requests are made from, in order: what clients sent, and the rest drawn."""
    return Inputs(_latents(manifest, parts), _labels(manifest, parts), _conditions(manifest, parts))


def draw_labels_of_part(manifest: Manifest, part: Part) -> NDArray[np.int64] | None:
    """The labels of its rows alone; None: the model has none."""
    return _labels(manifest, [part])


def draw_conditions_of_part(manifest: Manifest, part: Part) -> NDArray[np.float32] | None:
    """The conditions of its rows alone; None: the model has none."""
    return _conditions(manifest, [part])


def _labels(manifest: Manifest, parts: Sequence[Part]) -> NDArray[np.int64] | None:
    if manifest.labels is None:
        return None
    dim, prior = manifest.latent.width, manifest.label_prior or len(manifest.labels)
    if all(request.labels is None for request, _, _ in parts):
        return draw_labels_of(dim, prior, _all_spans(parts))
    labels = [
        draw_labels_of(dim, prior, _spans(request, start, rows))
        if request.labels is None
        else request.labels[start : start + rows]
        for request, start, rows in parts
    ]
    return np.ascontiguousarray(labels[0]) if len(labels) == 1 else np.concatenate(labels)


def _conditions(manifest: Manifest, parts: Sequence[Part]) -> NDArray[np.float32] | None:
    """Those that clients asked for, and the others drawn together."""
    if manifest.conditions is None:
        return None
    asked = None
    if any(request.conditions is not None for request, _, _ in parts):
        columns = len(manifest.conditions)
        nothing = np.float32(np.nan)
        asked = np.concatenate(
            [
                np.full((rows, columns), nothing)
                if request.conditions is None
                else request.conditions[start : start + rows]
                for request, start, rows in parts
            ]
        )
        left_out = np.isnan(asked)
        if not left_out.any():
            return asked
    drawn = draw_conditions_of(manifest.latent, manifest.conditions, _all_spans(parts))
    return drawn if asked is None else np.where(left_out, drawn, asked)


def _latents(manifest: Manifest, parts: Sequence[Part]) -> NDArray[np.float32]:
    """Those that clients sent, and the others drawn together."""
    latent = manifest.latent
    if all(request.latents is None for request, _, _ in parts):
        return draw_latents_of(latent, _all_spans(parts))
    z = []
    for request, start, rows in parts:
        if request.latents is None:
            z.append(draw_latents_of(latent, _spans(request, start, rows)))
            continue
        z.append(request.latents[start : start + rows])
        if z[-1].shape[1] < latent.dim:
            z[-1] = np.concatenate([z[-1], draw_noise_of(latent, _spans(request, start, rows))], axis=1)
    return z[0] if len(z) == 1 else np.concatenate(z)


def _spans(request: RowsRequest, start: int, rows: int) -> list[Span]:
    """Rows that follow one another together."""
    if request.numbers is None:
        return [Span(request.seed, request.offset + start, rows, request.truncation)]
    numbers = request.numbers[start : start + rows]
    edges = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), rows]
    return [
        Span(request.seed, number, stop - begin, request.truncation)
        for number, (begin, stop) in zip(numbers[edges[:-1]].tolist(), pairwise(edges), strict=True)
    ]


def _all_spans(parts: Sequence[Part]) -> list[Span]:
    return [span for part in parts for span in _spans(*part)]
