"""Variants keep the contract, say what they cost, are refused when it is too much, and are told from damaged ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import Bundle, Inputs, Latent, SampleSpec, read_bundle
from latentserve.service.commands.optimize import optimize
from latentserve.service.errors import BundleError, RuntimeMissingError
from latentserve.service.packing import optimize as optimize_module
from latentserve.service.packing.fidelity import Generate, Moments, frechet
from latentserve.service.packing.optimize import Bound, optimize_bundle
from latentserve.service.packing.processor import instruction_set
from latentserve.service.sampling.engine import Engine
from tests.conftest import LABELS, make_bundle
from tests.generators import dense_critic, dense_generator, model

DIM = 8


def convolutional_generator(labels: int = 10, seed: int = 0) -> onnx.ModelProto:
    """4x4x16, twice doubled by normalised transposed convolutions, then 3x3 to one channel: 16x16."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {
        "embedding": rng.normal(size=(labels, DIM)),
        "w0": rng.normal(size=(2 * DIM, 16 * 16)) / 4,
        "w1": rng.normal(size=(16, 12, 4, 4)) / 8,
        "w2": rng.normal(size=(12, 8, 4, 4)) / 7,
        "w3": rng.normal(size=(1, 8, 3, 3)) / 6,
        "zeros": np.zeros(16),
        "ones": np.ones(16),
    }
    up = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Gather", ["embedding", "label"], ["e"]),
        helper.make_node("Concat", ["z", "e"], ["ze"], axis=1),
        helper.make_node("MatMul", ["ze", "w0"], ["h0"]),
        helper.make_node("Reshape", ["h0", "square"], ["r0"]),
        helper.make_node("BatchNormalization", ["r0", "ones", "zeros", "zeros", "ones"], ["n0"]),
        helper.make_node("Relu", ["n0"], ["a0"]),
        helper.make_node("ConvTranspose", ["a0", "w1"], ["h1"], **up),
        helper.make_node("LeakyRelu", ["h1"], ["a1"], alpha=0.2),
        helper.make_node("ConvTranspose", ["a1", "w2"], ["h2"], **up),
        helper.make_node("Relu", ["h2"], ["a2"]),
        helper.make_node("Conv", ["a2", "w3"], ["h3"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["h3"], ["sample"]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([-1, 16, 4, 4], np.int64), "square"))
    inputs = [
        helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", DIM]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
    ]
    sample = helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", 1, 16, 16])
    return model(nodes, "convolutional", inputs, [sample], tensors)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional bundle of images with a critic, a label prior and a licence."""
    return make_bundle(
        tmp_path_factory.mktemp("optimize") / "original",
        name="squares",
        generator=convolutional_generator().SerializeToString(),
        critic=dense_critic((1, 16, 16)).SerializeToString(),
        label_prior=[0.19, *[0.09] * 9],
        sample=SampleSpec(kind="image", shape=[1, 16, 16], value_range=(-1, 1), channels="L"),
        license_id="Apache-2.0",
        real=(np.random.default_rng(0).uniform(-1, 1, (64, 1, 16, 16)).astype(np.float32), 70),
    )


@pytest.fixture(scope="module")
def int8(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("optimize") / "int8"
    optimize_bundle(original, "int8", out, Bound())
    return out


@pytest.fixture(scope="module")
def fp16(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """By the command; and what it prints."""
    out = tmp_path_factory.mktemp("optimize") / "fp16"
    done = CliRunner().invoke(optimize, [str(original), "--precision", "fp16", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out, done.stdout


@pytest.fixture(params=["int8", "fp16"])
def variant(request: pytest.FixtureRequest, int8: Path, fp16: tuple[Path, str]) -> Bundle:
    return read_bundle(int8 if request.param == "int8" else fp16[0])


def test_the_contract_is_the_same(original: Path, variant: Bundle):
    before, after = read_bundle(original).manifest, variant.manifest
    assert after.version != before.version
    for field in ("name", "license", "latent", "labels", "label_prior", "sample"):
        assert getattr(after, field) == getattr(before, field)
    assert before.monitor is not None
    assert after.monitor is not None
    assert after.monitor.real_distance is not None
    for field in ("signals", "reference_samples", "bins", "cells", "pooled", "truncations", "features", "real_samples"):
        assert getattr(after.monitor, field) == getattr(before.monitor, field)
    assert after.onnx.generator == before.onnx.generator
    assert variant.critic == read_bundle(original).critic


def test_what_it_costs_is_written_down(original: Path, variant: Bundle):
    figures = variant.manifest.lineage.evaluation
    assert figures is not None
    assert figures["optimized_from"] == read_bundle(original).manifest.version
    assert figures["golden_psnr_db"] > 30
    assert abs(figures["critic_shift_sd"]) < 0.05
    assert figures["critic_shift_sd_95"][0] < figures["critic_shift_sd"] < figures["critic_shift_sd_95"][1]
    assert figures["frechet"] < 1.2 * figures["frechet_floor"]
    assert figures["made_on"] == instruction_set()
    assert figures.get("largest_sum_of_two_products", 0) < 2**15
    assert "frechet_floor" in (variant.path / "MODEL_CARD.md").read_text()


def test_its_samples_are_nearly_the_originals(original: Path, variant: Bundle):
    golden = variant.golden
    float32 = Engine(read_bundle(original), "cpu").generate(golden.inputs)
    optimized = Engine(variant, "cpu").generate(golden.inputs)
    figures = variant.manifest.lineage.evaluation or {}
    assert np.abs(float32 - optimized).max() == pytest.approx(figures["golden_max_difference"], abs=1e-3)


def test_its_golden_probes_hold_and_damage_fails_them(variant: Bundle):
    engine = Engine(variant, "cpu")
    assert engine.probe().max() <= variant.golden.tolerance
    damaged = onnx.load_model_from_string(variant.generator)
    largest = max(damaged.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(largest).copy()
    values.reshape(-1)[::3] = 0
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    broken = Bundle(variant.path, variant.manifest, damaged.SerializeToString(), None, variant.golden, None)
    assert Engine(broken, "cpu").probe().max() > variant.golden.tolerance


def test_int8_is_quantised_inside_and_float_at_its_ends(int8: Path):
    graph = onnx.load(int8 / "generator.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert not {"ConvTranspose", "BatchNormalization"} & set(operators)
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    layers = [node for node in graph.node if node.op_type in ("Gemm", "MatMul", "Conv")]
    quantised = [
        node.input[1] in makers and kinds[makers[node.input[1]].input[0]] == TensorProto.INT8 for node in layers
    ]
    assert quantised == [False, True, True, False]


def test_the_same_bundle_gives_the_same_version(original: Path, int8: Path, tmp_path: Path):
    again, _ = optimize_bundle(original, "int8", tmp_path / "again", Bound())
    assert again.version == read_bundle(int8).manifest.version


def test_beyond_the_bound_it_is_refused_with_the_figures(original: Path, tmp_path: Path):
    with pytest.raises(
        BundleError, match=r"int8 costs too much: the critic's mean score moves by .* SD .*; N = "
    ) as told:
        optimize_bundle(original, "int8", tmp_path / "out", Bound(shift=0.0, frechet=1.0))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_a_level_here_and_there_is_no_dependence_on_the_batch(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What one road rounds otherwise, layers behind may amplify: in few values, and far beyond float32's rounding."""
    session = optimize_module._session

    def rounding_otherwise(content: bytes, limit: int | None, as_written: bool = False) -> Generate:
        generate = session(content, limit, as_written)

        def amplified(inputs: Inputs) -> np.ndarray:
            samples = generate(inputs)
            samples[0, 0, 0, 0] += 0.3
            return samples

        return amplified if as_written else generate

    monkeypatch.setattr(optimize_module, "_session", rounding_otherwise)
    optimize_bundle(original, "int8", tmp_path / "int8", Bound())
    variant = read_bundle(tmp_path / "int8")
    assert variant.golden.measured > 0.25
    assert Engine(variant, "cpu").probe().max() <= variant.golden.tolerance


def of_batch_means(_model: object, _calibration: object) -> onnx.ModelProto:
    return dense_generator(shape=(1, 16, 16), batch_mean=True)


def of_infinities(_model: object, _calibration: object) -> onnx.ModelProto:
    made = dense_generator(shape=(1, 16, 16))
    made.graph.node[-2].op_type = "Log"  # was Tanh
    return made


@pytest.mark.parametrize(
    ("converted", "words"),
    [
        (
            of_batch_means,
            r"original: int8: a row's sample is another in a batch of 1 .* rows must not depend",
        ),
        (of_infinities, "original: int8: gives values that are not finite"),
    ],
)
def test_what_takes_seconds_is_looked_at_first(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: object, words: str
):
    monkeypatch.setattr("latentserve.service.packing.optimize.quantize_int8", converted)
    monkeypatch.delattr("latentserve.service.packing.optimize.measure_fidelity")
    with pytest.raises(BundleError, match=words):
        optimize_bundle(original, "int8", tmp_path / "out", Bound())


def test_kernels_that_compute_something_else_are_told(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As those of processors without VNNI would, of weights in 8 bits."""
    session = optimize_module._session

    def saturating(content: bytes, limit: int | None, as_written: bool = False) -> Generate:
        generate = session(content, limit)
        return (lambda inputs: generate(inputs) * np.float32(0.9)) if as_written else generate

    monkeypatch.setattr(optimize_module, "_session", saturating)
    monkeypatch.delattr(optimize_module, "measure_fidelity")
    with pytest.raises(BundleError, match=r"int8: its kernels differ from the graph as written by .* something else"):
        optimize_bundle(original, "int8", tmp_path / "out", Bound())


def test_without_a_critic_features_are_random(tmp_path: Path):
    bundle = make_bundle(
        tmp_path / "plain",
        generator=convolutional_generator().SerializeToString(),
        critic=None,
        sample=SampleSpec(kind="image", shape=[1, 16, 16], value_range=(-1, 1), channels="L"),
    )
    manifest, measured = optimize_bundle(bundle, "int8", tmp_path / "int8", Bound())
    assert measured.critic_shift is None
    assert "random" in str((manifest.lineage.evaluation or {})["frechet_features"])


def test_a_generator_that_is_only_ends_is_told(bundle: Path, tmp_path: Path):
    with pytest.raises(BundleError, match="no layer between its first and its last"):
        optimize_bundle(bundle, "int8", tmp_path / "out", Bound())


def test_twice_is_refused(variant: Bundle, tmp_path: Path):
    with pytest.raises(BundleError, match=r"is (int8|fp16) already; start from the float32 bundle"):
        optimize_bundle(variant.path, "int8", tmp_path / "out", Bound())


def test_the_command_prints_one_line(fp16: tuple[Path, str]):
    _, printed = fp16
    assert printed.count("\n") == 1
    assert "beside float32's own" in printed


def test_a_missing_package_is_one_line(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "latentserve.service.packing.optimize", None)
    done = CliRunner().invoke(optimize, [str(original), "--precision", "int8", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, RuntimeMissingError)


def test_frechet_distance_of_known_gaussians():
    identity = np.eye(3)
    near, far = Moments(np.zeros(3), identity), Moments(np.array([3.0, 0, 4]), 4 * identity)
    assert frechet(near, near) == pytest.approx(0, abs=1e-9)
    assert frechet(near, far) == pytest.approx(25 + 3 * (2 - 1) ** 2)
    one = np.random.default_rng(0).normal(size=(500, 4))
    assert frechet(Moments.of(one), Moments.of(one + 1)) == pytest.approx(4)


def test_uniform_latents_and_no_labels(tmp_path: Path):
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.normal(size=(16, 16)) / 4).astype(np.float32), name) for name in ("a", "b", "c")
    ]
    nodes = [
        helper.make_node("MatMul", ["z", "a"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        helper.make_node("MatMul", ["h1", "b"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["h3"]),
        helper.make_node("MatMul", ["h3", "c"], ["sample"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 16]) for name in ("z", "sample")]
    bundle = make_bundle(
        tmp_path / "dense",
        generator=model(nodes, "dense", ends[:1], ends[1:], weights).SerializeToString(),
        critic=None,
        latent=Latent(dim=16, prior="uniform"),
        labels=None,
        sample=SampleSpec(kind="array", shape=[16]),
    )
    manifest, measured = optimize_bundle(bundle, "int8", tmp_path / "int8", Bound())
    assert manifest.latent.prior == "uniform"
    assert measured.golden_psnr > 30


def test_labels_are_carried(variant: Bundle):
    assert variant.manifest.labels == LABELS
