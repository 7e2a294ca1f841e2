"""Golden probes: which ones, and how far from them each engine at hand is at each batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Golden, Inputs, Latent, SampleSpec
from latentserve.service.bundle.files import CRITIC, GENERATOR
from latentserve.service.bundle.golden import TOLERANCE_FACTOR
from latentserve.service.errors import BundleError
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import condition_at, draw_conditions, draw_latents

GOLDEN_PROBES = 16  # at least, and one a label; fewer of samples that are very large
GOLDEN_SEED = 0

_MOST_PROBES = 1024
_MOST_BYTES = 16 << 20  # of golden samples, beyond GOLDEN_PROBES
_HUGE_BYTES, _LEAST_PROBES = 64 << 20, 4  # of fewer than GOLDEN_PROBES
_BATCHES = (1, 2, 3, 4, 7, 8, 16, 32, 64)  # batch sizes the engine is measured at
_FLOOR = 5e-5  # of the sample's span: float32 kernels of other processors differ by this order
DEPENDENT = 0.02  # of the sample's span, root mean square of a row; further, and it is no rounding
_FAR = 0.02  # of the sample's span, in one value; further, and it is no float32 rounding

Floats = NDArray[np.float32]


def golden_inputs(
    latent: Latent,
    labels: int | None,
    conditions: Sequence[Condition] | None = None,
    shape: Sequence[int] | None = None,
) -> Inputs:
    """What the golden probes are made from: every label in turn, one each at least as far as samples of `shape` leave
    room for it; and conditions over their ranges (`_conditions`). Without a shape the first GOLDEN_PROBES."""
    probes = GOLDEN_PROBES
    if shape is not None:
        size = 4 * math.prod(shape)
        probes = max(_LEAST_PROBES, min(probes, _HUGE_BYTES // size))
        probes = max(probes, min(labels or 0, _MOST_BYTES // size, _MOST_PROBES))
    condition = None if conditions is None else _conditions(latent, conditions, probes)
    label = None if labels is None else np.arange(probes, dtype=np.int64) % labels
    return Inputs(draw_latents(latent, GOLDEN_SEED, 0, probes), label, condition)


def _conditions(latent: Latent, conditions: Sequence[Condition], probes: int) -> Floats:
    """Conditions float32 [probes, k]: of the first probe all at the least value of their range, of the second at the
    largest; of the next two by turns at one end and the other, where there are two conditions or more; then all at
    their medians. The others of each GOLDEN_PROBES are a Latin hypercube: each condition takes as many quantiles of its
    prior as there are rows, each once, in an order of its own, that of its draws."""
    blocks = -(-probes // GOLDEN_PROBES)
    drawn = draw_conditions(latent, conditions, GOLDEN_SEED, 0, blocks * GOLDEN_PROBES)
    ends = np.array([one.range for one in conditions], np.float32).T
    low = np.arange(len(conditions)) % 2
    fixed = [ends[0], ends[1], *([ends[low, range(len(low))], ends[1 - low, range(len(low))]] if len(low) > 1 else [])]
    fixed.append(np.concatenate([condition_at(one, np.array([0.5])) for one in conditions]))
    found = []
    for block in range(blocks):
        rows = drawn[block * GOLDEN_PROBES : (block + 1) * GOLDEN_PROBES]
        if block == 0:
            rows = rows[len(fixed) :]
        quantiles = (rows.argsort(axis=0, kind="stable").argsort(axis=0) + 0.5) / len(rows)
        found.append(np.stack([condition_at(one, u) for one, u in zip(conditions, quantiles.T, strict=True)], axis=1))
    return np.concatenate([np.stack(fixed), *found])[:probes]


def check_rows(
    source: str, generate: Callable[[Inputs], Floats], inputs: Inputs, span: float, most: int | None = None
) -> Iterator[tuple[int, Floats]]:
    """Samples of the first probes in batches of each size (up to `most`, and of two rows always), the largest first.
    Raises BundleError naming `source` where they are not finite, or a row's sample depends on its batch: differs as a
    whole (rounding, which other kernels do differently, moves few of its values far, and only where a quantised layer
    makes a level of it)."""
    sizes = [size for size in _BATCHES if most is None or size <= max(2, most)]
    rows = np.arange(max(sizes)) % len(inputs.z)
    whole: Floats | None = None
    for size in (sizes[-1], *sizes[:-1]):
        samples = generate(inputs.take(rows[:size]))
        if not np.isfinite(samples).all():
            raise BundleError(f"{source}: gives values that are not finite for latents from the prior")
        whole = samples if whole is None else whole
        worst = max(_rms(one, other) for one, other in zip(samples, whole, strict=False))
        if worst > DEPENDENT * span:
            raise BundleError(
                f"{source}: a row's sample is another in a batch of {size} than in one of {max(sizes)} (off by "
                f"{worst:.3g}, root mean square); rows must not depend on their batch"
            )
        yield size, samples


def _rms(one: Floats, other: Floats) -> float:
    """Root mean square of the difference of two samples."""
    difference = one.astype(np.float64) - other
    return float(np.sqrt((difference**2).mean()))


def sample_span(spec: SampleSpec, samples: Floats) -> float:
    """From the least to the largest value that samples have."""
    return spec.value_range[1] - spec.value_range[0] if spec.value_range else float(np.ptp(samples))


def measure_golden(
    engines: Sequence[Engine],
    inputs: Inputs,
    golden_sample: Floats | None,
    golden_score: Floats | None,
    measured: float,
) -> Golden:
    """Golden samples (by default what the first engine gives), with the largest difference from them that each engine
    shows at each batch size; never less than `measured`, which was seen elsewhere, and found to be all right.
    Raises BundleError: not finite, rows depend on their batch, or an engine's samples are others than the golden."""
    first = engines[0]
    if golden_sample is None:
        size = min(first.max_batch, max(_BATCHES))
        blocks = np.array_split(np.arange(len(inputs.z)), -(-len(inputs.z) // size))
        golden_sample = np.concatenate([first.generate(inputs.take(block)) for block in blocks])
    if not np.isfinite(golden_sample).all():
        raise BundleError(f"{GENERATOR}: gives values that are not finite for latents from the prior")
    span = sample_span(first.bundle.manifest.sample, golden_sample)
    bound = max(_FAR * span, TOLERANCE_FACTOR * measured)
    worst = measured
    for engine in engines:
        furthest = 0.0
        for size, samples in check_rows(GENERATOR, engine.generate, inputs, span, engine.max_batch):
            originals = (golden_sample[row % len(inputs.z)] for row in range(size))
            difference = max(float(np.abs(one - other).max()) for one, other in zip(samples, originals, strict=True))
            furthest = max(furthest, difference)
        if not furthest <= bound:
            raise BundleError(
                f"{GENERATOR}: {engine.provider} gives other samples than the original, off by up to {furthest:.3g} "
                f"(bound {bound:.3g})"
            )
        worst = max(worst, furthest)
    golden = Golden(
        z=inputs.z,
        label=inputs.label,
        condition=inputs.condition,
        sample=golden_sample.astype(np.float32),
        score=None if golden_score is None else golden_score.astype(np.float32),
        measured=worst,
        tolerance=max(TOLERANCE_FACTOR * worst, _FLOOR * span),
    )
    return _measure_critic(engines, golden) if first.has_critic else golden


def _measure_critic(engines: Sequence[Engine], golden: Golden) -> Golden:
    """The same with the critic's scores (where there are none yet) and features of the golden samples, and how far
    those of each engine are off at each batch size. Raises BundleError: not finite, or another critic's."""
    rows = np.arange(max(_BATCHES)) % len(golden.z)
    score, features = engines[0].criticise(golden.sample, golden.inputs)
    score = score if golden.score is None else golden.score
    recorded = [outputs for outputs in (score, features) if outputs is not None]
    if not all(np.isfinite(outputs).all() for outputs in recorded):
        raise BundleError(f"{CRITIC}: gives values that are not finite for the generator's samples")
    worst = [0.0] * len(recorded)
    for engine in engines:
        for size in _BATCHES:
            if size > max(2, engine.max_batch):
                break
            taken = rows[:size]
            made = engine.criticise(golden.sample[taken], golden.inputs.take(taken))
            for index, (one, outputs) in enumerate(zip(made, recorded, strict=False)):
                worst[index] = max(worst[index], float(np.abs(np.asarray(one) - outputs[taken]).max()))
    sizes = [float(np.abs(outputs).max()) for outputs in recorded]
    for name, off, size_of in zip(("scores", "features"), worst, sizes, strict=False):
        if not off <= 2 * _FAR * size_of:
            raise BundleError(
                f"{CRITIC}: its {name} are off by up to {off:.3g}; they must be the original's, and must not depend on "
                "their batch"
            )
    tolerances = [max(TOLERANCE_FACTOR * off, _FLOOR * size_of) for off, size_of in zip(worst, sizes, strict=True)]
    return replace(
        golden,
        score=score.astype(np.float32),
        score_tolerance=tolerances[0],
        features=features,
        feature_tolerance=tolerances[1] if len(tolerances) > 1 else 0.0,
    )
