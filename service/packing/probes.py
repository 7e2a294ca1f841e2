"""Golden probes: which ones, and how far from them each engine at hand is at each batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Golden, Latent, SampleSpec
from latentserve.service.bundle.files import CRITIC, GENERATOR
from latentserve.service.bundle.golden import TOLERANCE_FACTOR, Measured
from latentserve.service.errors import BundleError
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import draw_latents

GOLDEN_PROBES = 16  # at least, and one a label
GOLDEN_SEED = 0

_MOST_PROBES = 1024
_MOST_BYTES = 16 << 20  # of golden samples, beyond GOLDEN_PROBES
_BATCHES = (1, 2, 3, 4, 7, 8, 16, 32, 64)  # batch sizes the engine is measured at
_FLOOR = 5e-5  # of the sample's span: float32 kernels of other processors differ by this order
_DEPENDENT = 0.02  # of the sample's span, root mean square of a row; further, and it is no rounding
_FAR = 0.02  # of the sample's span, in one value; further, and it is no float32 rounding

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def golden_inputs(
    latent: Latent, labels: int | None, shape: Sequence[int] | None = None
) -> tuple[Floats, Labels | None]:
    """Latents float32 [P, dim] and labels int64 [P] of the golden probes: every label in turn, one each at least as
    far as samples of `shape` leave room for it. Without a shape the first GOLDEN_PROBES."""
    probes = GOLDEN_PROBES
    if shape is not None and labels is not None:
        room = _MOST_BYTES // (4 * math.prod(shape))
        probes = max(probes, min(labels, room, _MOST_PROBES))
    z = draw_latents(latent, GOLDEN_SEED, 0, probes)
    return z, None if labels is None else np.arange(probes, dtype=np.int64) % labels


def check_rows(
    source: str, generate: Callable[[Floats, Labels | None], Floats], z: Floats, label: Labels | None, span: float
) -> dict[int, Floats]:
    """Samples of the first probes in batches of each size, by that size. Raises BundleError naming `source` where they
    are not finite, or a row's sample depends on its batch: differs as a whole (rounding, which other kernels do
    differently, moves few of its values far, and only where a quantised layer makes a level of it)."""
    rows = np.arange(max(_BATCHES)) % len(z)
    made = {size: generate(z[rows[:size]], None if label is None else label[rows[:size]]) for size in _BATCHES}
    for size, samples in made.items():
        if not np.isfinite(samples).all():
            raise BundleError(f"{source}: gives values that are not finite for latents from the prior")
        difference = samples.astype(np.float64) - made[max(_BATCHES)][:size]
        worst = float(np.sqrt((difference**2).reshape(size, -1).mean(axis=1)).max())
        if worst > _DEPENDENT * span:
            raise BundleError(
                f"{source}: a row's sample is another in a batch of {size} than in one of {max(_BATCHES)} (off by "
                f"{worst:.3g}, root mean square); rows must not depend on their batch"
            )
    return made


def sample_span(spec: SampleSpec, samples: Floats) -> float:
    """From the least to the largest value that samples have."""
    return spec.value_range[1] - spec.value_range[0] if spec.value_range else float(np.ptp(samples))


def measure_golden(
    engines: Sequence[Engine],
    z: Floats,
    label: Labels | None,
    golden_sample: Floats | None,
    golden_score: Floats | None,
    measured: float,
) -> Golden:
    """Golden samples (by default what the first engine gives), with the largest difference from them that each engine
    shows at each batch size; never less than `measured`, which was seen elsewhere, and found to be all right.
    Raises BundleError: not finite, rows depend on their batch, or an engine's samples are others than the golden."""
    first = engines[0]
    if golden_sample is None:
        blocks = np.array_split(np.arange(len(z)), -(-len(z) // max(_BATCHES)))
        golden_sample = np.concatenate(
            [first.generate(z[block], None if label is None else label[block]) for block in blocks]
        )
    if not np.isfinite(golden_sample).all():
        raise BundleError(f"{GENERATOR}: gives values that are not finite for latents from the prior")
    span = sample_span(first.bundle.manifest.sample, golden_sample)
    bound = max(_FAR * span, TOLERANCE_FACTOR * measured)
    table = []
    for engine in engines:
        for size, samples in check_rows(GENERATOR, engine.generate, z, label, span).items():
            difference = float(np.abs(samples - golden_sample[np.arange(size) % len(z)]).max())
            table.append(Measured(engine.provider, engine.precision, size, max(measured, difference)))
            if not difference <= bound:
                raise BundleError(
                    f"{GENERATOR}: {engine.provider} gives other samples than the original, off by up to "
                    f"{difference:.3g} (bound {bound:.3g})"
                )
    measured = max(row.difference for row in table)
    score_measured = score_span = 0.0
    if first.has_critic:
        scored = first.score(golden_sample, label)
        golden_score = scored if golden_score is None else golden_score
        if not np.isfinite(golden_score).all():
            raise BundleError(f"{CRITIC}: gives scores that are not finite for the generator's samples")
        score_measured = float(np.abs(scored - golden_score).max())
        score_span = float(np.abs(golden_score).max())
    return Golden(
        z=z,
        label=label,
        sample=golden_sample.astype(np.float32),
        score=None if golden_score is None else golden_score.astype(np.float32),
        measured=measured,
        tolerance=max(TOLERANCE_FACTOR * measured, _FLOOR * span),
        score_tolerance=max(TOLERANCE_FACTOR * score_measured, _FLOOR * score_span),
        floor=_FLOOR * span,
        table=tuple(table),
    )
