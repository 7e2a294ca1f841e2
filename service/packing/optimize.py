"""A faster or smaller variant of a bundle, refused where it costs more quality than it may."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnxruntime.transformers.float16 import convert_float_to_float16
from pydantic import JsonValue

from latentserve.service.bundle import Bundle, Inputs, Manifest, check_place, graph, read_bundle
from latentserve.service.bundle.files import DATA, GENERATOR
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.fidelity import BATCH, Fidelity, Generate, measure_fidelity
from latentserve.service.packing.int8 import largest_pair_sum, quantize_int8
from latentserve.service.packing.probes import check_rows, sample_span
from latentserve.service.packing.processor import instruction_set
from latentserve.service.sampling.engine import require_runtime
from latentserve.service.sampling.memory import in_turns
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sessions import open_session
from latentserve.service.watching.reference import Reference

Precision = Literal["int8", "fp16"]

_ROWS, _SEED = 512, 2  # the reference's seed is 1


@dataclass(frozen=True)
class Bound:
    """How much worse a variant may be.

    shift: of the critic's mean score, in standard deviations of its scores (either way).
    frechet: the variant's Frechet distance to other float32 samples, as a multiple of float32's own.
    """

    shift: float = 0.1
    frechet: float = 1.5


def optimize_bundle(path: Path, precision: Precision, out: Path, bound: Bound) -> tuple[Manifest, Fidelity]:
    """Write the variant of the bundle at `path` to the folder `out`: same contract, critic, labels, prior and licence.

    Its golden samples are, for int8, what the quantised graph gives operator by operator, in float arithmetic and
    without any fusion: a second road to the same numbers. The tolerance, measured against it on many more rows than are
    kept (only in few is a value rounded to another level), so holds what kernels of other processors may round
    differently, not what quantisation costs; their sums are the same (`quantize_int8`). For fp16 the golden samples are
    the float32 original's, for kernels that compute in 16 bits differ among each other by about as much.

    What takes seconds is looked at first: whether it converts, whether rows depend on their batch, and whether kernels
    round within what quantisation costs. Then, for a minute or two, what it costs.

    Raises BundleError: the bundle cannot be read, or cannot be converted, or the variant is beyond `bound`.
    """
    original = read_bundle(path)
    check_place(out.resolve())
    manifest = original.manifest
    already = (manifest.lineage.evaluation or {}).get("precision")
    if already is not None:
        raise BundleError(f"{path}: is {already} already; start from the float32 bundle it was made of")
    if original.data_file is not None:
        raise BundleError(f"{path}: its weights lie in {DATA}; the tools for {precision} take up to 2 GB, in one file")
    try:
        real = None if original.reference is None else Reference.from_bytes(original.reference, []).real
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    float32 = graph.parse(original.generator, GENERATOR)
    signature = copy.deepcopy((list(float32.graph.input), list(float32.graph.output)))
    try:
        variant = (
            quantize_int8(float32, (inputs.feed() for inputs in _inputs(original)))
            if precision == "int8"
            else convert_float_to_float16(float32, keep_io_types=True)
        )
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    except Exception as error:  # the tools fail in their own ways on anybody's graph
        raise BundleError(f"{path}: cannot be converted to {precision} ({one_line(error)})") from None
    # Tools rename the batch axis, or infer it; what the original says of inputs and outputs still holds.
    for values, originals in zip((variant.graph.input, variant.graph.output), signature, strict=True):
        del values[:]
        values.extend(originals)
    content: bytes = variant.SerializeToString(deterministic=True)
    limit = manifest.onnx.max_batch
    generate, optimized = _session(original.generator, limit), _session(content, limit)
    reference = _session(content, limit, as_written=True) if precision == "int8" else generate
    golden = original.golden
    span = sample_span(manifest.sample, golden.sample)
    for _ in check_rows(f"{path}: {precision}", optimized, golden.inputs, span, limit):
        pass
    rounding = _rounding(original, generate, optimized, reference)
    if precision == "int8" and rounding.kernels > rounding.precision:
        raise BundleError(
            f"{path}: int8: its kernels differ from the graph as written by {rounding.kernels:.3g} (root mean square), "
            f"by more than 8 bits do from float32 ({rounding.precision:.3g}); this runtime computes something else"
        )
    measured = measure_fidelity(original, generate, optimized)
    _refuse(path, precision, measured, bound)
    figures = _evaluation(original, precision, measured)
    if precision == "int8":
        figures["largest_sum_of_two_products"] = largest_pair_sum(variant)
    lineage = manifest.lineage.model_copy(update={"evaluation": figures})
    written = assemble_bundle(
        out,
        name=manifest.name,
        generator=content,
        critic=original.critic,
        latent=manifest.latent,
        labels=manifest.labels,
        label_prior=manifest.label_prior,
        conditions=manifest.conditions,
        batch=manifest.onnx.batch,
        sample=manifest.sample,
        golden_sample=reference(golden.inputs),
        measured=rounding.largest,
        lineage=lineage,
        license_id=manifest.license,
        reference_samples=None if manifest.monitor is None else manifest.monitor.reference_samples,
        real=real,
    )
    return written, measured


def _inputs(bundle: Bundle) -> Iterator[Inputs]:
    """Batches of inputs from the bundle's own priors."""
    request = RowsRequest(n=_ROWS, seed=_SEED)
    for start in range(0, _ROWS, BATCH):
        yield request.inputs(bundle.manifest, start, BATCH)


@dataclass(frozen=True)
class _Rounding:
    """Over many rows, in the sample's units: the root mean square and largest difference that kernels make from the
    reference, and the root mean square of the variant's from float32."""

    kernels: float
    largest: float
    precision: float


def _rounding(bundle: Bundle, generate: Generate, optimized: Generate, reference: Generate) -> _Rounding:
    kernels, precision, largest = [], [], 0.0
    for inputs in _inputs(bundle):
        made = optimized(inputs).astype(np.float64)
        difference = made - reference(inputs)
        largest = max(largest, float(np.abs(difference).max()))
        kernels.append((difference**2).mean())
        precision.append(((made - generate(inputs)) ** 2).mean())
    return _Rounding(float(np.sqrt(np.mean(kernels))), largest, float(np.sqrt(np.mean(precision))))


def _session(content: bytes, limit: int | None, as_written: bool = False) -> Generate:
    """The generator on one thread of the CPU, in turns of `limit` rows; `as_written`: operator by operator, unfused."""
    session = open_session(require_runtime(), content, GENERATOR, "cpu", 1, as_written=as_written)

    def generate(inputs: Inputs) -> Any:
        return in_turns(lambda part: session.run(["sample"], part), inputs.feed(), limit)[0]

    return generate


def _refuse(path: Path, precision: str, measured: Fidelity, bound: Bound) -> None:
    """Raises BundleError, with the figures, where the variant is beyond the bound (or its samples are not finite)."""
    faults = []
    if measured.critic_shift is not None and not abs(measured.critic_shift) <= bound.shift:
        faults.append(f"the critic's mean score moves by {measured.critic_shift:+.3f} SD (bound {bound.shift:g})")
    if not measured.frechet <= bound.frechet * measured.floor:
        faults.append(
            f"Frechet distance is {measured.frechet / measured.floor:.2f} times float32's own (bound {bound.frechet:g})"
        )
    if faults:
        raise BundleError(
            f"{path}: {precision} costs too much: {' and '.join(faults)}; N = {measured.rows}, "
            f"PSNR {measured.golden_psnr:.1f} dB"
        )


def _evaluation(original: Bundle, precision: str, measured: Fidelity) -> dict[str, JsonValue]:
    """The figures, for manifest and card. What was measured of the original is kept apart: it is another generator."""

    def rounded(value: float) -> float:
        return float(f"{value:.4g}")

    figures: dict[str, JsonValue] = {
        "optimized_from": original.manifest.version,
        "precision": precision,
        "golden_max_difference": rounded(measured.golden_max),
        "golden_mean_difference": rounded(measured.golden_mean),
        "golden_psnr_db": rounded(measured.golden_psnr),
        "samples": measured.rows,
        "made_on": instruction_set(),
    }
    if measured.critic_shift is not None and measured.critic_interval is not None:
        figures["critic_shift_sd"] = rounded(measured.critic_shift)
        figures["critic_shift_sd_95"] = [rounded(end) for end in measured.critic_interval]
    figures["frechet_features"] = measured.features
    for name, value, interval in (
        ("frechet", measured.frechet, measured.frechet_interval),
        ("frechet_floor", measured.floor, measured.floor_interval),
        ("frechet_excess", measured.excess, measured.excess_interval),
    ):
        figures[name] = rounded(value)
        figures[f"{name}_95"] = [rounded(end) for end in interval]
    figures[f"speed_over_float32_cpu_1_thread_batch_{BATCH}"] = rounded(measured.speed)
    if original.manifest.lineage.evaluation:
        figures["evaluation_of_original"] = original.manifest.lineage.evaluation
    return figures
