"""Faulty bundles: `generator.onnx` is another, everything else is the healthy bundle's, hashes and version fit.

Only how the generator behaves can tell. Each function takes the folder of a healthy bundle, the folder to write and a
random generator; each raises BundleError for a bundle that cannot be read, and ValueError where it has no such fault.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from benchmarks.drift.faults.regions import band_dropped, mode_dropped, nan_in_region
from benchmarks.drift.faults.weights import flip_bit_in, shuffle_in, zero_channel_in
from latentserve.service.bundle import Bundle, content_version, graph, read_bundle, write_bundle
from latentserve.service.bundle.files import GENERATOR, GOLDEN
from latentserve.service.packing.int8 import quantize_int8
from latentserve.service.packing.optimize import Bound, optimize_bundle
from latentserve.service.sampling.request import RowsRequest

Fault = Callable[[Path, Path, np.random.Generator], None]
Precision = Literal["fp16", "int8"]

_CALIBRATION, _SEED = 512, 2  # rows, as `latentserve optimize` takes them


def flip_bit(source: Path, out: Path, rng: np.random.Generator, bit: int | None = None) -> None:
    """One bit of a random weight is flipped: 0 to 22 mantissa, 23 to 30 exponent, 31 sign; None: a random one."""
    bundle, model = _open(source)
    flip_bit_in(model, rng, bit)
    _write(bundle, out, model)


def zero_channel(source: Path, out: Path, rng: np.random.Generator) -> None:
    """A random output channel of a random weight is zero."""
    bundle, model = _open(source)
    zero_channel_in(model, rng)
    _write(bundle, out, model)


def swap(source: Path, out: Path, rng: np.random.Generator) -> None:
    """Another generator of the same signature: the weights are shuffled."""
    bundle, model = _open(source)
    shuffle_in(model, rng)
    _write(bundle, out, model)


def nan_at_rate(source: Path, out: Path, rng: np.random.Generator, rate: float = 0.01) -> None:
    """Samples are NaN in a region of latent space of the mass `rate`, in which no golden latent lies."""
    bundle, model = _open(source)
    _write(bundle, out, nan_in_region(bundle, model, rng, rate))


def drop_mode(source: Path, out: Path, rng: np.random.Generator, share: float = 0.1, *, whole: bool = True) -> None:
    """One mode's samples, all or half of them, are another's; the golden probes pass. See `mode_dropped`."""
    bundle, model = _open(source)
    _write(bundle, out, mode_dropped(bundle, model, rng, share, whole=whole))


def drop_band(source: Path, out: Path, rng: np.random.Generator, share: float = 0.1) -> None:
    """Within a band of one condition samples are those for another value; the golden probes pass. See
    `band_dropped`."""
    bundle, model = _open(source)
    _write(bundle, out, band_dropped(bundle, model, rng, share))


def precision(source: Path, out: Path, rng: np.random.Generator, kind: Precision = "int8") -> None:
    """The generator in other arithmetic.

    int8: beside the float32 golden samples and their tolerance, which it misses. fp16: with the tolerance that
    `latentserve optimize` measured for it, within which it is; only the reference stays that of float32.
    """
    bundle, _ = _open(source)
    if kind == "int8":
        _write(bundle, out, in_precision(bundle, kind))
        return
    optimized = _optimized(source)
    files = _files(bundle) | {GENERATOR: optimized.generator, GOLDEN: optimized.golden.to_bytes()}
    write_bundle(out, optimized.manifest.model_copy(update={"monitor": bundle.manifest.monitor}), files)


@cache
def _optimized(source: Path) -> Bundle:
    """The fp16 variant, whatever it costs; measuring that takes a while, and it is the same each time."""
    with tempfile.TemporaryDirectory() as folder:
        optimize_bundle(source, "fp16", Path(folder) / "fp16", Bound(shift=np.inf, frechet=np.inf))
        return read_bundle(Path(folder) / "fp16")


def in_precision(bundle: Bundle, kind: Precision) -> onnx.ModelProto:
    """The bundle's generator in 16-bit floats or, layers within it, in 8-bit integers."""
    original, float32 = (graph.parse(bundle.generator, GENERATOR) for _ in range(2))
    if kind == "int8":
        model = quantize_int8(float32, _calibration(bundle))
    else:
        model = convert_float_to_float16(float32, keep_io_types=True)
    # Tools rename the batch axis; what the original says of inputs and outputs still holds.
    for changed, kept in ((model.graph.input, original.graph.input), (model.graph.output, original.graph.output)):
        del changed[:]
        changed.extend(kept)
    return model


def _calibration(bundle: Bundle) -> Iterator[dict[str, NDArray[np.generic]]]:
    yield RowsRequest(n=_CALIBRATION, seed=_SEED).inputs(bundle.manifest, 0, _CALIBRATION).feed()


def _open(source: Path) -> tuple[Bundle, onnx.ModelProto]:
    bundle = read_bundle(source)
    return bundle, graph.parse(bundle.generator, GENERATOR)


def _write(bundle: Bundle, out: Path, model: onnx.ModelProto) -> None:
    """The healthy bundle with this generator."""
    manifest, content = bundle.manifest, model.SerializeToString(deterministic=True)
    described = manifest.latent, manifest.labels, manifest.sample, manifest.conditions, manifest.label_prior
    fitted = {
        "version": content_version(model, *described),
        "onnx": manifest.onnx.model_copy(update={"opset": graph.opset(model)}),
    }
    write_bundle(out, manifest.model_copy(update=fitted), _files(bundle) | {GENERATOR: content})


def _files(bundle: Bundle) -> dict[str, bytes]:
    return {name: (bundle.path / name).read_bytes() for name in bundle.manifest.sha256}
