"""From a generator's ONNX graphs to a bundle: golden samples, reference, preview, card, manifest, hashes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from latentserve.service.bundle import (
    Bundle,
    Condition,
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
from latentserve.service.bundle.files import CARD, CRITIC, GENERATOR, GOLDEN, PREVIEW, REFERENCE
from latentserve.service.bundle.manifest import first_fault
from latentserve.service.encoding import images
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import BundleError
from latentserve.service.packing.card import model_card
from latentserve.service.packing.probes import golden_inputs, measure_golden
from latentserve.service.packing.real import Real
from latentserve.service.packing.reference import make_reference
from latentserve.service.sampling.engine import Engine, require_runtime
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sessions import CUDA
from latentserve.service.watching.reference import BINS, RealSide, Reference

_PREVIEW, _PREVIEW_SEED = 64, 1


def assemble_bundle(
    out: Path,
    *,
    name: str,
    generator: bytes,
    critic: bytes | None = None,
    latent: Latent,
    labels: list[str] | None = None,
    label_prior: list[float] | None = None,
    conditions: list[Condition] | None = None,
    batch: int | None = None,
    sample: SampleSpec,
    golden_sample: NDArray[np.float32] | None = None,
    golden_score: NDArray[np.float32] | None = None,
    measured: float = 0.0,
    lineage: Lineage | None = None,
    license_id: str | None = None,
    reference_samples: int | None = None,
    real: Real | RealSide | None = None,
) -> Manifest:
    """Write a bundle to the folder `out`.

    Args:
        out: the folder; an older bundle there is replaced.
        name: what the model is served as.
        license_id: SPDX identifier of the weights' licence.
        generator: ONNX file with inputs `z` (and `label`, and `condition`) and output `sample`.
        critic: ONNX file with inputs `sample` (and `label`, and `condition`) and outputs `score` and `features`.
        labels, label_prior: names, and shares in the training data; no prior: all equally likely.
        conditions: what the columns of `condition` are.
        batch: rows that the generator takes at a time, where it was made for no other number.
        golden_sample: float32 [P, *shape], what the original gives for `golden_inputs` with the sample's shape; None:
            what the engine gives.
        golden_score: float32 [P], the original critic's scores of `golden_sample`.
        measured: a difference between original and engine that was seen on other samples than these few.
        reference_samples: samples the reference is made from at truncation 1, fewer where they would take longer than
            two minutes; None: 100,000, and 20,000 a label where there is time.
        real: real samples (`keep_real`), or what another bundle kept of them, to tell later when the generator's
            reference has gone stale.

    Raises BundleError: the graphs are not what they should be, or their outputs are not finite.
    """
    parsed = graph.parse(generator, GENERATOR)
    onnx = OnnxSpec(
        opset=graph.opset(parsed),
        generator=graph.signature(parsed, GENERATOR),
        critic=None if critic is None else graph.signature(graph.parse(critic, CRITIC), CRITIC),
        batch_invariant=False,
        batch=batch,
    )
    try:
        stated = Manifest(
            name=name,
            version=content_version(parsed, latent, labels, sample, conditions),
            created=datetime.now(UTC).replace(microsecond=0),
            license=license_id,
            latent=latent,
            labels=labels,
            label_prior=label_prior,
            conditions=conditions,
            sample=sample,
            onnx=onnx,
            lineage=lineage or Lineage(),
            sha256={},
        )
    except ValidationError as error:
        raise BundleError(f"{out}: {first_fault(error)}") from None
    inputs = golden_inputs(latent, None if labels is None else len(labels), conditions, sample.shape)
    draft = Bundle(
        path=out,
        manifest=stated,
        generator_file=generator,
        critic_file=critic,
        golden=Golden(
            z=inputs.z,
            label=inputs.label,
            condition=inputs.condition,
            sample=np.zeros((len(inputs.z), *sample.shape), np.float32),
            score=None,
            measured=0.0,
            tolerance=0.0,
        ),
        reference=None,
    )
    engines = _engines(draft)
    golden = measure_golden(engines, inputs, golden_sample, golden_score, measured)
    engine = engines[0]
    engine.bundle = draft = Bundle(out, stated, generator, critic, golden, None)
    engine.warm_up()
    reference = make_reference(draft, reference_samples, real)
    manifest = stated.model_copy(
        update={
            "onnx": onnx.model_copy(update={"batch_invariant": engine.batch_invariant}),
            "monitor": _monitor(reference),
        }
    )
    files = {
        GENERATOR: generator,
        GOLDEN: golden.to_bytes(),
        REFERENCE: reference.to_bytes(),
        CARD: model_card(manifest, golden, reference).encode(),
    }
    if critic is not None:
        files[CRITIC] = critic
    if sample.kind == "image" and sample.value_range is not None:
        shown = engine.generate(RowsRequest(n=_PREVIEW, seed=_PREVIEW_SEED).inputs(manifest, 0, _PREVIEW))
        sheet = images.contact_sheet(images.to_uint8(shown, sample.value_range))
        made_by = Provenance(manifest.name, manifest.version, _PREVIEW_SEED, 0)
        files[PREVIEW] = images.encode(sheet, made_by)
    return write_bundle(out, manifest, files)


def _engines(draft: Bundle) -> list[Engine]:
    """What this machine can run the generator on: the CPU, and CUDA where it works."""
    engines = [Engine(draft, "cpu")]
    if CUDA in require_runtime().get_available_providers():
        engines += [engine for engine in [Engine(draft, "auto")] if engine.provider == CUDA]
    return engines


def _monitor(reference: Reference) -> Monitor:
    head, classifier, real = reference.features, reference.classifier, reference.real
    return Monitor(
        signals=list(reference.signals),
        reference_samples=reference.samples,
        bins=BINS,
        cells=len(reference.cells),
        pooled=reference.pooled,
        truncations=sorted({cell.truncation for cell in reference.cells}, reverse=True),
        features=None if head is None else head.space.source,
        components=0 if head is None else head.size,
        classifier_accuracy=None if classifier is None else classifier.accuracy,
        real_samples=0 if real is None else real.samples,
        real_distance=None if real is None else real.distance,
    )
