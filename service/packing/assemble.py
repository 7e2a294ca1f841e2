"""From a generator's ONNX graphs to a bundle: golden samples, reference, preview, card, manifest, hashes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from latentserve.service.bundle import (
    Bundle,
    Condition,
    Golden,
    Inputs,
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
from latentserve.service.cores import whole_cores
from latentserve.service.encoding import images
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.aliases import conditions_without_effect, label_aliases, told
from latentserve.service.packing.card import model_card
from latentserve.service.packing.probes import golden_inputs, measure_golden
from latentserve.service.packing.progress import stage
from latentserve.service.packing.real import Real
from latentserve.service.packing.reference import make_reference
from latentserve.service.packing.storing import Stored
from latentserve.service.packing.value_range import clipped_share
from latentserve.service.sampling.engine import Engine, require_runtime
from latentserve.service.sampling.memory import rows_that_fit
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sessions import CPU, CUDA
from latentserve.service.watching.conditions import condition_bins
from latentserve.service.watching.reference import BINS, RealSide, Reference

log = logging.getLogger(__name__)

_PREVIEW, _PREVIEW_SEED = 64, 1
_PREVIEW_PIXELS = 1 << 24  # at the most; of larger pictures fewer are shown,
_PREVIEW_SECONDS = 15.0  # and of those that take longer
_MOST_ROWS = 256  # of one call that anything asks for


def assemble_bundle(
    out: Path,
    *,
    name: str,
    generator: Stored | bytes,
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
    remarks: Sequence[str] = (),
) -> Manifest:
    """Write a bundle to the folder `out`.

    Args:
        out: the folder; an older bundle there is replaced.
        name: what the model is served as.
        license_id: SPDX identifier of the weights' licence.
        generator: ONNX file with inputs `z` (and `label`, and `condition`) and output `sample`; or a large one's files
            (`store`), which are moved.
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
        remarks: what was guessed of the generator, a sentence each; logged here as warnings, and kept in the card.

    Raises BundleError: the graphs are not what they should be, or their outputs are not finite.
    """
    kept = generator if isinstance(generator, Stored) else Stored(generator)
    parsed, weights = kept.skim()
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
            version=content_version(parsed, latent, labels, sample, conditions, label_prior, weights),
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
        generator_file=kept.generator,
        data_file=kept.data,
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
    stage("golden probes: the generator is run in batches of many sizes")
    engines = _engines(draft)
    onnx = onnx.model_copy(update={"max_batch": _most_rows(engines[0], inputs)})
    for engine in engines:
        engine.bound(max(2, onnx.max_batch or _MOST_ROWS))  # of two it is seen whether they depend on each other
    golden = measure_golden(engines, inputs, golden_sample, golden_score, measured)
    engine = engines[0]
    engine.bundle = draft = replace(draft, golden=golden)
    engine.warm_up()
    if labels is not None and len(labels) > 1:
        remarks = [*remarks, *told(label_aliases(engine.generate, inputs, len(labels), engine.max_batch), labels)]
    if conditions is not None:
        few = inputs.take(slice(0, min(2, engine.max_batch)))
        remarks = [*remarks, *conditions_without_effect(engine.generate, few, conditions)]
    onnx = onnx.model_copy(update={"batch_invariant": engine.batch_invariant})
    stated = stated.model_copy(update={"onnx": onnx})
    preview, clipped = _look(engine, stated, golden)
    del engine, engines  # with what their calls have taken: the reference is made by another
    for remark in remarks:
        log.warning("%s: %s", name, remark)
    stage("reference: samples that drift is measured against")
    reference = make_reference(replace(draft, manifest=stated), reference_samples, real)
    manifest = stated.model_copy(update={"monitor": _monitor(reference, stated)})
    files = {
        **kept.files(),
        GOLDEN: golden.to_bytes(),
        REFERENCE: reference.to_bytes(),
        CARD: model_card(manifest, golden, reference, remarks, clipped).encode(),
    }
    if critic is not None:
        files[CRITIC] = critic
    if preview is not None:
        files[PREVIEW] = preview
    return write_bundle(out, manifest, files)


def _most_rows(engine: Engine, inputs: Inputs) -> int | None:
    """Rows of one call that memory and time are for; None: as many as anybody asks for. Raises BundleError: it does
    not run."""

    def run(rows: int) -> None:
        taken = inputs.take(np.arange(rows) % len(inputs.z))
        try:
            samples = engine.run(taken, engine.outputs)[engine.outputs.index("sample")]
            if engine.has_critic:
                engine.criticise(samples, taken)
        except Exception as error:
            raise BundleError(f"{GENERATOR}: does not run on the golden latents ({one_line(error)})") from None

    rows = rows_that_fit(run, _MOST_ROWS) if engine.provider == CPU else _MOST_ROWS
    return rows if rows < _MOST_ROWS else None


def _look(engine: Engine, manifest: Manifest, golden: Golden) -> tuple[bytes | None, float | None]:
    """The preview of pictures, and the share of values, theirs and the golden samples', that their range clips; None
    of anything else."""
    sample = manifest.sample
    if sample.value_range is None:
        return None, None
    if sample.kind != "image":
        return None, clipped_share(golden.sample, sample.value_range)
    count = _PREVIEW
    began = time.monotonic()
    engine.generate(golden.inputs.take(slice(1)))
    most = min(_PREVIEW_PIXELS / math.prod(sample.shape[1:]), _PREVIEW_SECONDS / (time.monotonic() - began))
    while count > 1 and count > most:
        count //= 4
    request = RowsRequest(n=count, seed=_PREVIEW_SEED)
    shown, clipped = [], [clipped_share(part, sample.value_range) for part in golden.sample]
    for start in range(0, count, engine.max_batch):
        made = engine.generate(request.inputs(manifest, start, min(engine.max_batch, count - start)))
        clipped += [clipped_share(part, sample.value_range) for part in made]
        shown.append(images.to_uint8(made, sample.value_range))
    sheet = images.contact_sheet(np.concatenate(shown))
    made_by = Provenance(manifest.name, manifest.version, _PREVIEW_SEED, 0)
    return b"".join(images.png(sheet, made_by)), float(np.mean(clipped))


def _engines(draft: Bundle) -> list[Engine]:
    """What this machine can run the generator on: the CPU, and CUDA where it works."""
    engines = [Engine(draft, "cpu", threads=whole_cores())]
    if CUDA in require_runtime().get_available_providers():
        engines += [engine for engine in [Engine(draft, "auto")] if engine.provider == CUDA]
    return engines


def _monitor(reference: Reference, manifest: Manifest) -> Monitor:
    head, classifier, real = reference.features, reference.classifier, reference.real
    bins_of_all = condition_bins(manifest.conditions)
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
        recorded_rows=0 if reference.spots is None else len(reference.spots),
        condition_bins=None
        if manifest.conditions is None
        else {one.name: bins.edges.tolist() for one, bins in zip(manifest.conditions, bins_of_all, strict=True)},
    )
