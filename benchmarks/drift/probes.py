"""How many faults of a generator's weights do its golden probes find in one replay, and do they ever fail a sound one?

    python -m benchmarks probes [BUNDLE ...] [--short]

On an untrained 28x28 generator, and on each bundle given. Every fault is put into the bundle in memory, opened by the
server's own engine on one thread, and replayed once; it is found where a probe is off by more than the bundle's
tolerance. (Faults in a part of latent space that no probe lies in, as in `benchmarks.drift.faults.regions`, are by
construction not for probes to find.) Beside it stands what the fault does to 1,000 fresh latents: the peak
signal-to-noise ratio of the faulty samples against the healthy engine's, in dB,

    PSNR = 10 log10(span^2 / mean squared error), the mean over all values of all samples,

with the span of the value range as the peak. A value that is not finite counts as off by the span. So defined it is
never above the mean of the samples' own ratios, and a fault that shows in few samples counts. The latents come in
blocks of 50. The rest are not run where those so far make it certain that all 1,000 stay below 60 dB, nor where a
fault is above 70 dB that the probes found: it belongs to the curve, not to the faults that must be found.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.drift.faults.bundles import Precision, in_precision
from benchmarks.drift.faults.weights import BITS, add_noise_in, flip_bit_in, shuffle_in, zero_channel_in
from benchmarks.drift.probes_report import AIM_DB, report
from benchmarks.generators import CONVOLUTIONAL_28
from benchmarks.runner import Results
from latentserve.service.bundle import Bundle, Latent, SampleSpec, graph, read_bundle
from latentserve.service.bundle.files import GENERATOR
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest

__all__ = ["SHORT", "TITLE", "measure", "options", "report"]

TITLE = "Golden probes"
SHORT = True

SEED = 0  # of the faults
FRESH_SEED = 1_000  # of the latents
MOST_DB = 160.0  # stands for equal samples too

_BLOCK = 50  # latents
_CLEAR_DB = 70.0  # well above what must be found
_LARGEST_BATCH = 64
_THREADS = (1, 2)
_LOW_BITS = 16  # of the mantissa, which rarely show
_NOISE = (1e-5, 0.3)  # of a weight's root mean square

Change = Callable[[onnx.ModelProto, np.random.Generator], str]
Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured: flips of each bit of the lower mantissa and of each other bit, other faults, latents that
    each is measured on, replays of single probes of the healthy generator."""

    low_flips: int = 1
    flips: int = 16
    zeroed: int = 320
    noisy: int = 320
    shuffled: int = 100
    precisions: tuple[Precision, ...] = ("fp16", "int8")
    latents: int = 1_000
    replays: int = 100_000


QUICK = Plan(low_flips=1, flips=1, zeroed=8, noisy=8, shuffled=2, precisions=("fp16",), latents=200, replays=1_000)


def measure_bundle(bundle: Bundle, plan: Plan) -> Record:
    """Everything of one bundle."""
    began, cpu = time.monotonic(), time.process_time()
    fresh = _Fresh(bundle, plan.latents)
    records = [fresh.measure(kind, detail, model) for kind, detail, model in inject(bundle, plan)]
    golden, manifest = bundle.golden, bundle.manifest
    return {
        "generator": manifest.name,
        "version": manifest.version,
        "lineage": manifest.lineage.model_dump(mode="json", include={"dataset", "recipe", "seed", "images_seen"}),
        "labels": len(manifest.labels or ()),
        "weights": sum(
            math.prod(tensor.dims)
            for tensor in _parsed(bundle).graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT
        ),
        "probes": len(golden.z),
        "tolerance": golden.tolerance,
        "span": fresh.span,
        "plan": dataclasses.asdict(plan),
        "healthy": replay(bundle, plan.replays),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "faults": records,
    }


def inject(bundle: Bundle, plan: Plan) -> Iterator[tuple[str, str, onnx.ModelProto]]:
    """Faulty generators, one by one: what kind of fault, what was done, and the graph."""
    changes: list[tuple[str, Change]] = [
        ("bit flip", partial(flip_bit_in, bit=bit))
        for bit in range(BITS)
        for _ in range(plan.low_flips if bit < _LOW_BITS else plan.flips)
    ]
    changes += [("zeroed channel", zero_channel_in)] * plan.zeroed
    scales = np.geomspace(*_NOISE, plan.noisy)
    changes += [("weight noise", partial(add_noise_in, scale=float(scale))) for scale in scales]
    changes += [("swapped file", shuffle_in)] * plan.shuffled
    rng = np.random.default_rng(SEED)
    for kind, change in changes:
        model = _parsed(bundle)
        yield kind, change(model, rng), model
    for precision in plan.precisions:
        yield precision, "every layer that can be", in_precision(bundle, precision)


class _Fresh:
    """Latents that no probe has, and what the healthy engine makes of them."""

    def __init__(self, bundle: Bundle, latents: int) -> None:
        self._bundle = bundle
        self._inputs = [
            RowsRequest(n=latents, seed=FRESH_SEED).inputs(bundle.manifest, start, min(_BLOCK, latents - start))
            for start in range(0, latents, _BLOCK)
        ]
        healthy = Engine(bundle, "cpu")
        self._expected = [healthy.generate(inputs).astype(np.float64) for inputs in self._inputs]
        value_range = bundle.manifest.sample.value_range
        low, high = value_range or (min(map(np.min, self._expected)), max(map(np.max, self._expected)))
        self.span = float(high - low)
        self._values = sum(block.size for block in self._expected)

    def measure(self, kind: str, detail: str, model: onnx.ModelProto) -> Record:
        """Probe a faulty generator, and measure it.

        `difference`: the probes' largest. `psnr`: in dB, on `latents` latents. `seen`: the share of these on which a
        probe would have found it.
        """
        faulty = dataclasses.replace(self._bundle, generator_file=model.SerializeToString())
        engine, tolerance = Engine(faulty, "cpu"), self._bundle.golden.tolerance
        difference = float(np.max(engine.probe()))
        found_by_probes = not difference <= tolerance
        total, latents, values, seen = 0.0, 0, 0, 0
        for inputs, expected in zip(self._inputs, self._expected, strict=True):
            found = engine.generate(inputs).astype(np.float64)
            off = np.where(np.isfinite(found), np.abs(found - expected), self.span)
            total += float(np.sum((off / self.span) ** 2))
            seen += int((off.reshape(len(off), -1).max(axis=1) > tolerance).sum())
            latents += len(off)
            values += off.size
            certain = _decibels(total / self._values) < AIM_DB
            if certain or (found_by_probes and _decibels(total / values) > _CLEAR_DB):
                break
        return {
            "kind": kind,
            "detail": detail,
            "found": found_by_probes,
            "difference": None if math.isinf(difference) else float(f"{difference:.3g}"),
            "psnr": round(_decibels(total / values), 2),
            "latents": latents,
            "seen": round(seen / latents, 4),
        }


def _decibels(mean_square: float) -> float:
    """Of a mean squared error in units of the span's square."""
    return min(MOST_DB, -10 * math.log10(mean_square)) if mean_square else MOST_DB


def replay(bundle: Bundle, replays: int) -> Record:
    """Replay single probes of the sound generator in batches of random size, at random places and among random others,
    on one thread and on two by turns; how many were taken for faulty, and how far off one was at most."""
    rng = np.random.default_rng(SEED)
    golden = bundle.golden
    engines = [Engine(bundle, "cpu", threads) for threads in _THREADS]
    done = mismatches = batches = 0
    worst = 0.0
    while done < replays:
        rows = rng.integers(len(golden.z), size=min(int(rng.integers(1, _LARGEST_BATCH + 1)), replays - done))
        samples = engines[batches % len(engines)].generate(golden.inputs.take(rows))
        off = np.abs(samples - golden.sample[rows]).reshape(len(rows), -1).max(axis=1)
        mismatches += int((~(off <= golden.tolerance)).sum())
        worst = max(worst, float(off.max()))
        done += len(rows)
        batches += 1
    return {
        "replays": done,
        "batches": batches,
        "threads": _THREADS,
        "mismatches": mismatches,
        "largest_difference": worst,
    }


def _parsed(bundle: Bundle) -> onnx.ModelProto:
    return graph.parse(bundle.generator, GENERATOR)


def untrained_bundle(folder: Path, model: onnx.ModelProto) -> Bundle:
    """A bundle of an untrained generator of images with values between -1 and 1."""
    found = graph.signature(model, GENERATOR)
    (_, dim), (_, *shape) = found.inputs[0].shape, found.outputs[0].shape
    sample = SampleSpec.model_validate(
        {"kind": "image", "shape": shape, "value_range": (-1, 1), "channels": {1: "L", 3: "RGB"}[int(shape[0])]}
    )
    assemble_bundle(
        folder,
        name="untrained",
        generator=model.SerializeToString(),
        latent=Latent(dim=int(dim)),
        sample=sample,
        reference_samples=1_000,
    )
    return read_bundle(folder)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="trained ones, measured as well")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Of an untrained generator, and of each bundle."""
    results |= {"seeds": {"faults": SEED, "latents": FRESH_SEED}, "generators": []}
    with tempfile.TemporaryDirectory() as folder:
        untrained = untrained_bundle(Path(folder) / "bundle", CONVOLUTIONAL_28.build())
        for bundle in (untrained, *map(read_bundle, given.bundles)):
            results["generators"].append(measure_bundle(bundle, QUICK if given.short else Plan()))
