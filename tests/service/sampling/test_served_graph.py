"""The served graph: what it says of samples, beside numpy, and that the samples themselves stay as they were."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from benchmarks.generators import DIM, convolutional
from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.images import to_uint8
from latentserve.service.packing.int8 import quantize_int8
from latentserve.service.sampling.served_graph import Output, signal_columns
from tests.conftest import examples
from tests.generators import dense_generator
from tests.service.sampling.runners import served
from tests.sessions import session

RANGES = [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-3.2, 7.7), (1e-3, 1.1e-3)]
SPECIAL = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, 254.5, -0.0]
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


def image(shape: list[int], value_range: tuple[float, float] = (-1, 1)) -> SampleSpec:
    return SampleSpec(kind="image", shape=shape, value_range=value_range, channels=CHANNELS[shape[0]])  # type: ignore[arg-type]


def reshaping(shape: list[int], opset: int = 18, name: str = "inner") -> onnx.ModelProto:
    """A generator whose samples are its latents."""
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["z"], [name], name=name),
            helper.make_node("Reshape", [name, "shape"], ["sample"]),
        ],
        "generator",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", math.prod(shape)])],
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *shape])],
        [numpy_helper.from_array(np.array([-1, *shape], np.int64), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, spec: SampleSpec, z: NDArray[np.float32]) -> dict[Output, NDArray[np.generic]]:
    content, names = served(model, spec)
    return dict(zip(names, session(content).run(list(names.values()), {"z": z}), strict=True))


def expected(samples: NDArray[np.float32], spec: SampleSpec) -> dict[str, NDArray[np.float64]]:
    """The same signals in float64."""
    flat = samples.reshape(len(samples), -1)
    with np.errstate(all="ignore"):
        mean = flat.mean(axis=1, dtype=np.float64)
        columns = {"mean": mean, "std": flat.std(axis=1, dtype=np.float64)}
        if spec.kind == "image" and spec.value_range is not None:
            low, high = spec.value_range
            half_step = (high - low) / 510
            saturated = (flat <= low + half_step) | (flat >= high - half_step)
            columns["saturated_share"] = np.where(np.isfinite(mean), saturated.mean(axis=1), np.nan)
            pairs = [np.diff(samples.astype(np.float64), axis=axis).reshape(len(samples), -1) for axis in (2, 3)]
            squares = np.concatenate(pairs, axis=1) ** 2 / (high - low) ** 2
            high_frequency = squares.mean(axis=1) if squares.shape[1] else np.zeros(len(samples))
            columns["high_frequency"] = np.where(np.isfinite(mean), high_frequency, np.nan)
    columns["nonfinite"] = np.count_nonzero(~np.isfinite(flat), axis=1).astype(np.float64)
    return columns


def _check(samples: NDArray[np.float32], spec: SampleSpec, opset: int) -> None:
    model = reshaping(spec.shape, opset)
    onnx.checker.check_model(served(model, spec)[0], full_check=True)
    outputs = run(model, spec, samples.reshape(len(samples), -1))
    assert np.array_equal(outputs["sample"], samples, equal_nan=True)
    if spec.kind == "image":
        assert outputs["sample_uint8"].dtype == np.uint8
        assert spec.value_range is not None
        assert np.array_equal(outputs["sample_uint8"], to_uint8(samples, spec.value_range))
    wanted = expected(samples, spec)
    assert list(wanted) == signal_columns(spec)
    assert outputs["signals"].shape == (len(samples), len(wanted))
    assert outputs["signals"].dtype == np.float32
    scale = np.abs(np.nan_to_num(samples, nan=0, posinf=0, neginf=0)).max()
    for name, column in zip(wanted, outputs["signals"].T, strict=True):
        if name in ("std", "high_frequency") and scale > 1e18:  # squares overflow
            continue
        within = {"mean": 1e-6 * scale, "std": 1e-6 * scale, "high_frequency": 1e-6}.get(name, 1e-6)
        np.testing.assert_allclose(column, wanted[name], rtol=1e-5, atol=within, err_msg=name)


@settings(max_examples=examples(60), deadline=None)
@given(
    rows=st.integers(1, 5),
    channels=st.sampled_from(sorted(CHANNELS)),
    height=st.integers(1, 9),
    width=st.integers(1, 37),
    value_range=st.sampled_from(RANGES),
    opset=st.sampled_from([13, 17, 18, 21]),
    faults=st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(SPECIAL)), max_size=6),
    seed=st.integers(0, 1000),
)
@example(
    rows=2, channels=1, height=1, width=1, value_range=(-1.0, 1.0), opset=18, faults=[(0, np.nan)], seed=0
)  # no neighbours
def test_images(
    rows: int,
    channels: int,
    height: int,
    width: int,
    value_range: tuple[float, float],
    opset: int,
    faults: list[tuple[int, float]],
    seed: int,
) -> None:
    low, high = value_range
    rng = np.random.default_rng(seed)
    margin = 0.2 * (high - low)
    samples = rng.uniform(low - margin, high + margin, (rows, channels, height, width)).astype(np.float32)
    # Half of the values sit where 8-bit values meet.
    edges = low + (rng.integers(-2, 258, samples.shape) + 0.5) / 255 * (high - low)
    samples = np.where(rng.random(samples.shape) < 0.5, samples, edges.astype(np.float32))
    for place, value in faults:
        samples.flat[place % samples.size] = value
    _check(samples, image([channels, height, width], value_range), opset)


@settings(max_examples=examples(30), deadline=None)
@given(
    rows=st.integers(1, 5),
    shape=st.lists(st.integers(1, 7), max_size=4),
    opset=st.sampled_from([13, 18]),
    offset=st.sampled_from([0.0, -50.0, 1e4]),
    fault=st.sampled_from([None, *SPECIAL]),
    seed=st.integers(0, 1000),
)
def test_other_kinds(rows: int, shape: list[int], opset: int, offset: float, fault: float | None, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(size=(rows, *shape)).astype(np.float32) + np.float32(offset)
    if fault is not None:
        samples.flat[seed % samples.size] = fault
    _check(samples, SampleSpec(kind="array", shape=shape), opset)


def test_a_chessboard_has_the_highest_frequency_and_a_flat_image_none() -> None:
    spec = image([1, 6, 5])
    chessboard = np.indices((6, 5)).sum(axis=0) % 2 * 2.0 - 1
    samples = np.stack([chessboard, np.full((6, 5), 0.3)])[:, None].astype(np.float32)
    signals = run(reshaping(spec.shape), spec, samples.reshape(2, -1))["signals"]
    assert signals[:, signal_columns(spec).index("high_frequency")].tolist() == [1, 0]


def test_names_of_the_graph_are_left_alone() -> None:
    """Also where the graph has names of its own that begin, or are, as ours would."""
    spec = image([1, 2, 2])
    for name in ("served", "served/1", "served_/3", "signals", "sample_uint8"):
        model = reshaping(spec.shape, name=name)
        z = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
        outputs = run(model, spec, z)
        assert np.array_equal(outputs["sample_uint8"], to_uint8(z.reshape(2, 1, 2, 2), (-1, 1)))


def test_an_old_operator_set_has_the_sample_alone() -> None:
    content, names = served(reshaping([4], opset=12), SampleSpec(kind="array", shape=[4]))
    assert names == {"sample": "sample"}
    z = np.ones((2, 4), np.float32)
    assert np.array_equal(session(content).run(None, {"z": z})[0], z)


def _int8(model: onnx.ModelProto) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    return quantize_int8(model, ({"z": rng.normal(size=(64, DIM)).astype(np.float32)} for _ in range(4)))


def _fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    return convert_float_to_float16(model, keep_io_types=True)


@pytest.mark.parametrize("variant", [lambda model: model, _int8, _fp16], ids=["fp32", "int8", "fp16"])
def test_samples_are_those_of_the_bare_graph(variant) -> None:  # type: ignore[no-untyped-def]
    model, spec = variant(convolutional(16, (32, 16), 3)), image([3, 16, 16])
    bare = session(model.SerializeToString())
    for rows in (1, 3, 64):
        z = np.random.default_rng(rows).normal(size=(rows, DIM)).astype(np.float32)
        outputs = run(model, spec, z)
        assert np.array_equal(outputs["sample"], bare.run(["sample"], {"z": z})[0])
        assert np.array_equal(outputs["sample_uint8"], to_uint8(outputs["sample"], (-1, 1)))  # type: ignore[arg-type]
        wanted = expected(outputs["sample"], spec)  # type: ignore[arg-type]
        for name, column in zip(wanted, outputs["signals"].T, strict=True):
            np.testing.assert_allclose(column, wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_conditional_generator_keeps_its_label() -> None:
    spec = image([1, 8, 8])
    content, names = served(dense_generator(), spec)
    opened = session(content)
    z = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    sample, pixels = opened.run([names["sample"], names["sample_uint8"]], {"z": z, "label": np.array([0, 4, 9])})
    assert np.array_equal(pixels, to_uint8(sample, (-1, 1)))
