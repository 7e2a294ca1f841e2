"""From a generator's ONNX graphs to a bundle: golden samples, reference, preview, card, manifest, hashes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from service.bundle import (
    Bundle,
    Golden,
    Latent,
    Lineage,
    Manifest,
    Monitor,
    OnnxSpec,
    SampleSpec,
    content_version,
    graph,
    write_bundle,
)
from service.bundle.files import CARD, CRITIC, GENERATOR, GOLDEN, PREVIEW, REFERENCE
from service.bundle.manifest import first_fault
from service.encoding import images
from service.encoding.provenance import Provenance
from service.errors import BundleError
from service.packing.card import model_card
from service.sampling.engine import Engine
from service.sampling.latents import draw_latents
from service.sampling.request import RowsRequest
from service.watching.reference import BINS, Distribution, Reference
from service.watching.signals import CRITIC_SCORE, sample_signals, signal_names

GOLDEN_PROBES = 16  # at least, and one a label up to GOLDEN_LIMIT
GOLDEN_LIMIT = 64
GOLDEN_SEED = 0

_BATCHES = (1, 2, 3, 7, 64)  # batch sizes the engine is measured at
_TOLERANCE_FACTOR = 4  # over the largest difference measured here, for machines not tried
_TOLERANCE_FLOOR = 5e-5  # of the sample's span: float32 kernels of other processors differ by this order
_DEPENDENT = 0.02  # of the sample's span; a difference larger than that is no rounding
_REFERENCE_SEED = 1
_REFERENCE_SECONDS = 20.0  # a slow generator gets a smaller reference, and the manifest says so
_PREVIEW = 64


def golden_inputs(latent: Latent, labels: int | None) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Latents float32 [P, dim] and labels int64 [P] of the golden probes: every label in turn."""
    probes = min(max(GOLDEN_PROBES, labels or 0), GOLDEN_LIMIT)
    z = draw_latents(latent, GOLDEN_SEED, 0, probes)
    return z, None if labels is None else np.arange(probes, dtype=np.int64) % labels


def assemble_bundle(
    out: Path,
    *,
    name: str,
    generator: bytes,
    critic: bytes | None = None,
    latent: Latent,
    labels: list[str] | None = None,
    label_prior: list[float] | None = None,
    sample: SampleSpec,
    golden_sample: NDArray[np.float32] | None = None,
    golden_score: NDArray[np.float32] | None = None,
    measured: float = 0.0,
    lineage: Lineage | None = None,
    license_id: str | None = None,
    reference_samples: int = 20_000,
) -> Manifest:
    """Write a bundle to the folder `out`.

    Args:
        out: the folder; an older bundle there is replaced.
        name: what the model is served as.
        license_id: SPDX identifier of the weights' licence.
        generator: ONNX file with inputs `z` (and `label`) and output `sample`.
        critic: ONNX file with inputs `sample` (and `label`) and outputs `score` and `features`.
        labels, label_prior: names, and shares in the training data; no prior: all equally likely.
        golden_sample: float32 [P, *shape], what the original gives for `golden_inputs`; None: what the engine gives.
        golden_score: float32 [P], the original critic's scores of `golden_sample`.
        measured: a difference between original and engine that was seen on other samples than these few.
        reference_samples: samples the reference is made from, fewer where they would take longer than 20 s.

    Raises BundleError: the graphs are not what they should be, or their outputs are not finite.
    """
    parsed = graph.parse(generator, GENERATOR)
    onnx = OnnxSpec(
        opset=graph.opset(parsed),
        generator=graph.signature(parsed, GENERATOR),
        critic=None if critic is None else graph.signature(graph.parse(critic, CRITIC), CRITIC),
        batch_invariant=False,
    )
    try:
        stated = Manifest(
            name=name,
            version=content_version(generator, latent, labels, sample),
            created=datetime.now(UTC).replace(microsecond=0),
            license=license_id,
            latent=latent,
            labels=labels,
            label_prior=label_prior,
            sample=sample,
            onnx=onnx,
            lineage=lineage or Lineage(),
            sha256={},
        )
    except ValidationError as error:
        raise BundleError(f"{out}: {first_fault(error)}") from None
    z, label = golden_inputs(latent, None if labels is None else len(labels))
    draft = Bundle(
        path=out,
        manifest=stated,
        generator=generator,
        critic=critic,
        golden=Golden(z, label, np.zeros((len(z), *sample.shape), np.float32), None, 0.0, 0.0),
        reference=None,
    )
    engine = Engine(draft, "cpu")
    golden = _measure(engine, z, label, golden_sample, golden_score, measured)
    engine.bundle = Bundle(out, draft.manifest, generator, critic, golden, None)
    engine.warm_up()
    reference, preview = _sample_reference(engine, reference_samples)
    names = signal_names(sample, has_critic=critic is not None)
    manifest = draft.manifest.model_copy(
        update={
            "onnx": onnx.model_copy(update={"batch_invariant": engine.batch_invariant}),
            "monitor": Monitor(signals=names, reference_samples=reference.samples, bins=BINS),
        }
    )
    files = {
        GENERATOR: generator,
        GOLDEN: golden.to_bytes(),
        REFERENCE: reference.to_bytes(),
        CARD: model_card(manifest, golden).encode(),
    }
    if critic is not None:
        files[CRITIC] = critic
    if sample.kind == "image" and sample.value_range is not None:
        sheet = images.contact_sheet(images.to_uint8(preview, sample.value_range))
        made_by = Provenance(manifest.name, manifest.version, _REFERENCE_SEED, 0)
        files[PREVIEW] = images.encode(sheet, made_by)
    return write_bundle(out, manifest, files)


def _measure(
    engine: Engine,
    z: NDArray[np.float32],
    label: NDArray[np.int64] | None,
    golden_sample: NDArray[np.float32] | None,
    golden_score: NDArray[np.float32] | None,
    measured: float,
) -> Golden:
    """Golden samples, with the largest difference from them that the engine shows over the batch sizes."""
    rows = np.arange(max(_BATCHES)) % len(z)
    runs = [engine.generate(z[rows[:size]], None if label is None else label[rows[:size]]) for size in _BATCHES]
    if golden_sample is None:
        golden_sample = engine.generate(z, label)
    if not np.isfinite(golden_sample).all():
        raise BundleError(f"{GENERATOR}: gives values that are not finite for latents from the prior")
    measured = max(measured, *(float(np.abs(run - golden_sample[rows[: len(run)]]).max()) for run in runs))
    value_range = engine.bundle.manifest.sample.value_range
    span = value_range[1] - value_range[0] if value_range else float(np.ptp(golden_sample))
    if measured > _DEPENDENT * span:
        raise BundleError(
            f"{GENERATOR}: a sample is off by {measured:.3g} in some batch; rows must not depend on their batch"
        )
    score_measured = 0.0
    score_span = 0.0
    if engine.has_critic:
        scored = engine.score(golden_sample, label)
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
        tolerance=max(_TOLERANCE_FACTOR * measured, _TOLERANCE_FLOOR * span),
        score_tolerance=max(_TOLERANCE_FACTOR * score_measured, _TOLERANCE_FLOOR * score_span),
    )


def _sample_reference(engine: Engine, wanted: int) -> tuple[Reference, NDArray[np.float32]]:
    """The distribution of every signal over samples from the prior, and the first of those samples."""
    manifest = engine.bundle.manifest
    values: dict[str, list[NDArray[np.float64]]] = {}
    preview: NDArray[np.float32] | None = None
    request = RowsRequest(n=wanted, seed=_REFERENCE_SEED)
    made, began = 0, time.monotonic()
    while made < wanted and (made == 0 or time.monotonic() - began < _REFERENCE_SECONDS):
        rows = min(_PREVIEW, wanted - made)
        z, label = request.inputs(manifest, made, rows)
        samples = engine.generate(z, label)
        signals = sample_signals(samples, manifest.sample)
        if engine.has_critic:
            signals[CRITIC_SCORE] = engine.score(samples, label).astype(np.float64)
        for name, part in signals.items():
            values.setdefault(name, []).append(part)
        preview = samples if preview is None else preview
        made += rows
    distributions = {name: np.concatenate(parts) for name, parts in values.items()}
    for name, signal in distributions.items():
        if not np.isfinite(signal).all():
            raise BundleError(f"{GENERATOR}: the signal {name} of its samples is not finite")
    reference = Reference(made, {name: Distribution.of(signal) for name, signal in distributions.items()})
    if preview is None:
        raise BundleError("a reference needs at least one sample")
    return reference, preview
