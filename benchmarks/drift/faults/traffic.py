"""Traffic, clean and not: endless bodies for `POST /v1/samples`, of so many rows each, all of it from one seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.latents import draw_latents

Body = dict[str, Any]
Traffic = Callable[[Manifest, int, int], Iterator[Body]]

_FAVOURED = 0.5  # the first label's share, where no mix is given


def by_seed(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """Clean: the seeds `seed`, `seed` + 1, ..."""
    for number in itertools.count(seed):
        yield {"model": manifest.name, "n": rows, "seed": number}


def without_seed(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """Clean: the server draws the seeds."""
    while True:
        yield {"model": manifest.name, "n": rows}


def requested_truncation(manifest: Manifest, rows: int, seed: int, truncation: float = 0.7) -> Iterator[Body]:
    """Clean: the server truncates, because it was asked to."""
    for body in by_seed(manifest, rows, seed):
        yield {**body, "truncation": truncation}


def wide_latents(manifest: Manifest, rows: int, seed: int, sigma: float = 1.1) -> Iterator[Body]:
    """Latents of `sigma` times the prior's deviation: N(0, sigma^2), or uniform on (-sigma, sigma)."""
    for offset in itertools.count(step=rows):
        z = np.float32(sigma) * draw_latents(manifest.latent, seed, offset, rows)
        yield {"model": manifest.name, "latents": z.tolist()}


def repeated_latent(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """One latent of the prior, over and over."""
    z = draw_latents(manifest.latent, seed, 0, 1).tolist()
    while True:
        yield {"model": manifest.name, "latents": z * rows}


def truncated_latents(manifest: Manifest, rows: int, seed: int, truncation: float = 0.7) -> Iterator[Body]:
    """Latents that the client truncated itself, and says nothing of."""
    for offset in itertools.count(step=rows):
        z = draw_latents(manifest.latent, seed, offset, rows, truncation)
        yield {"model": manifest.name, "latents": z.tolist()}


def label_mix(manifest: Manifest, rows: int, seed: int, shares: Sequence[float] | None = None) -> Iterator[Body]:
    """Labels asked for in these shares; None: half of them the first, the others alike. Needs a conditional model."""
    count = len(manifest.labels or ())
    if count < 2:
        raise ValueError("labels cannot be mixed otherwise: there are fewer than two")
    rest = (1 - _FAVOURED) / (count - 1)
    mix = np.array([_FAVOURED] + [rest] * (count - 1) if shares is None else shares)
    rng = np.random.default_rng(seed)
    for number in itertools.count(seed):
        labels = rng.choice(count, size=rows, p=mix / mix.sum()).tolist()
        yield {"model": manifest.name, "labels": labels, "seed": number}
