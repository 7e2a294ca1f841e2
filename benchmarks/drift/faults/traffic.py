"""Traffic, clean and not: endless bodies for `POST /v1/samples`, of so many rows each, all of it from one seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Manifest
from latentserve.service.sampling.latents import condition_at, draw_latents

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


def conditions_as_drawn(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """Clean: clients choose all conditions, and draw them from their priors themselves."""
    conditions, names = _conditions(manifest)
    rng = np.random.default_rng(seed)
    while True:
        yield _asked(manifest, names, [condition_at(one, rng.random(rows)) for one in conditions])


def conditions_elsewhere(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """Another mix: half of the rows at one of three values of each condition, the others in the upper half of its
    prior."""
    conditions, names = _conditions(manifest)
    rng = np.random.default_rng(seed)
    points = [condition_at(one, rng.random(3)) for one in conditions]
    while True:
        columns = []
        for one, own in zip(conditions, points, strict=True):
            upper = condition_at(one, 0.5 + rng.random(rows) / 2)
            columns.append(np.where(rng.random(rows) < _FAVOURED, rng.choice(own, rows), upper))
        yield _asked(manifest, names, columns)


def conditions_of_some(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """The same mix in every other request; of each row of it some conditions, or none."""
    rng = np.random.default_rng(seed)
    for body in conditions_elsewhere(manifest, rows, seed):
        chosen = [
            {name: value for name, value in row.items() if rng.random() < _FAVOURED} for row in body["conditions"]
        ]
        yield {**body, "conditions": chosen}
        yield {"model": manifest.name, "n": rows}


def conditions_moving(manifest: Manifest, rows: int, seed: int, after: int = 50_000) -> Iterator[Body]:
    """As drawn from the priors, and after so many rows elsewhere."""
    yield from itertools.islice(conditions_as_drawn(manifest, rows, seed), after // rows)
    yield from conditions_elsewhere(manifest, rows, seed)


def _conditions(manifest: Manifest) -> tuple[list[Condition], list[str]]:
    """Those of a model, and their names. Raises ValueError: it has none."""
    if not manifest.conditions:
        raise ValueError("conditions cannot be asked for: there are none")
    return manifest.conditions, [one.name for one in manifest.conditions]


def _asked(manifest: Manifest, names: Sequence[str], columns: Sequence[NDArray[np.float32]]) -> Body:
    """Rows with these conditions."""
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(own.tolist() for own in columns), strict=True)]
    return {"model": manifest.name, "conditions": rows}
