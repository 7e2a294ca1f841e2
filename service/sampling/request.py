"""A request for rows, as the sampling core understands it, and what it draws for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.latents import Span, draw_labels, draw_latents_of
from latentserve.service.sampling.served_graph import Output

Arm = Literal["server", "client", "control"]
ARMS: tuple[Arm, ...] = ("server", "client", "control")


class RowsRequest(NamedTuple):
    """Rows to make. `latents` float32 [n, dim] excludes what seeds them; `labels` int64 [n] or None: drawn.

    `output` is what the engine is to give of them, which it must have: `sample`, or `sample_uint8`.
    """

    n: int
    seed: int = 0
    offset: int = 0
    latents: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    truncation: float = 1.0
    deterministic: bool = False
    arm: Arm = "client"
    output: Output = "sample"

    def inputs(self, manifest: Manifest, start: int, rows: int) -> Inputs:
        """What the request's rows `start` to `start + rows - 1` are made from."""
        return draw_inputs(manifest, [(self, start, rows)])


Inputs = tuple[NDArray[np.float32], NDArray[np.int64] | None]
Part = tuple[RowsRequest, int, int]  # of a request: its first row, and the number of rows


def draw_inputs(manifest: Manifest, parts: Sequence[Part]) -> Inputs:
    """Latents float32 [rows, dim] and labels int64 [rows] (None if unconditional) of parts of requests, in order."""
    if manifest.labels is None:
        return _latents(manifest, parts), None
    prior = manifest.label_prior or len(manifest.labels)
    labels = [
        draw_labels(manifest.latent.dim, prior, request.seed, request.offset + start, rows)
        if request.labels is None
        else request.labels[start : start + rows]
        for request, start, rows in parts
    ]
    return _latents(manifest, parts), labels[0] if len(labels) == 1 else np.concatenate(labels)


def _latents(manifest: Manifest, parts: Sequence[Part]) -> NDArray[np.float32]:
    """Those that clients sent, and the others drawn together."""
    if all(request.latents is None for request, _, _ in parts):
        return draw_latents_of(manifest.latent, [_span(*part) for part in parts])
    z = [
        draw_latents_of(manifest.latent, [_span(request, start, rows)])
        if request.latents is None
        else request.latents[start : start + rows]
        for request, start, rows in parts
    ]
    return z[0] if len(z) == 1 else np.concatenate(z)


def _span(request: RowsRequest, start: int, rows: int) -> Span:
    return Span(request.seed, request.offset + start, rows, request.truncation)
