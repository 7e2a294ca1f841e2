"""The engine: what it refuses, and what it notices of the graphs it is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs, Lineage, read_bundle
from latentserve.service.encoding.images import to_uint8
from latentserve.service.errors import BundleError, RuntimeMissingError
from latentserve.service.sampling import engine as engine_module
from latentserve.service.sampling.engine import Engine, require_cuda
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sessions import tensorrt_options
from latentserve.service.settings import SettingsError, load_settings
from tests.conftest import make_bundle
from tests.generators import dense_critic, dense_generator
from tests.server import Server
from tests.service.sampling.runners import open_runner

no_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this runtime has CUDA"
)


@pytest.fixture(scope="module")
def good(bundle: Path) -> Bundle:
    return read_bundle(bundle)


@no_cuda
def test_cuda_that_is_not_there_is_refused(good: Bundle) -> None:
    for start in (lambda: Engine(good, "cuda"), require_cuda):
        with pytest.raises(RuntimeMissingError, match="CUDA") as caught:
            start()
        assert "\n" not in str(caught.value)


def test_auto_takes_what_there_is(good: Bundle) -> None:
    assert Engine(good, "cpu").provider == "CPUExecutionProvider"
    assert Engine(good, "auto").provider in onnxruntime.get_available_providers()


@pytest.mark.parametrize("spinning", [False, True])
def test_threads_sleep_between_calls_unless_they_are_to_await_the_next(good: Bundle, spinning: bool) -> None:
    engine = Engine(good, "cpu", threads=2, spinning=spinning)
    for session in (engine._runner._session, engine._critic):
        options = session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))


def test_no_runtime_names_the_extra(good: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError, match=r"latentserve\[cpu\]"):
        Engine(good, "cpu")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x0a"], ids=repr)
def test_a_graph_that_is_none_is_refused(good: Bundle, content: bytes) -> None:
    with pytest.raises(BundleError, match=r"generator\.onnx") as caught:
        Engine(replace(good, generator_file=content), "cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match=r"critic\.onnx"):
        Engine(replace(good, critic_file=content), "cpu")


def test_probe_of_the_right_weights(good: Bundle) -> None:
    assert Engine(good, "cpu").probe().max() <= good.golden.tolerance


@pytest.mark.parametrize("change", [1e-2, 1e-3])
def test_probe_notices_changed_weights(good: Bundle, change: float) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(good.generator)
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1 + change), "w2"))
    engine = Engine(replace(good, generator_file=model.SerializeToString()), "cpu")
    assert engine.probe().max() > good.golden.tolerance


@pytest.mark.parametrize("batch", [1, 5, 16, 40, 64])
def test_probes_in_batches_of_a_size(good: Bundle, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones: every probe is in one, those of the beginning again where the last one has room."""
    engine = Engine(good, "cpu")
    sizes: list[int] = []
    replay = engine._replay

    def noted(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        sizes.append(len(rows))
        return replay(rows)

    monkeypatch.setattr(engine, "_replay", noted)
    found = engine.probe(batch)
    assert found.shape == (len(good.golden.z),)
    assert found.max() <= good.golden.tolerance
    assert sizes == [batch] * -(-len(good.golden.z) // batch)
    sample = good.golden.sample.copy()
    sample[13] += 1
    engine.bundle = replace(good, golden=replace(good.golden, sample=sample))
    assert np.flatnonzero(engine.probe(batch) > good.golden.tolerance).tolist() == [13]


@pytest.mark.parametrize(("generator", "rides"), [("", True), ("places", True), ("batch_mean", False)])
def test_probes_ride_in_the_padding_where_no_row_sees_them(good: Bundle, generator: str, rides: bool) -> None:
    model = dense_generator(**({generator: True} if generator else {}))  # type: ignore[arg-type]
    engine = Engine(replace(good, generator_file=model.SerializeToString()), "cpu")
    engine._runner = open_runner(model, good.manifest.sample, 64)
    engine.warm_up()
    assert engine.batch_invariant == (not generator)
    assert engine.probed_in_padding() is None
    engine.run(RowsRequest(n=40).inputs(good.manifest, 0, 40), ("sample_uint8",))
    padded = engine.probed_in_padding()
    assert (padded is not None) == rides
    if padded is not None:
        assert padded.batch == 64
        assert padded.probes.tolist() == [number % 16 for number in range(24)]
        assert (padded.differences.max() <= good.golden.tolerance) == (not generator)
    assert engine.probed_in_padding() is None


def test_nothing_rides_where_nothing_is_padded(good: Bundle) -> None:
    engine = Engine(good, "cpu")
    engine.warm_up()
    engine.run(RowsRequest(n=40).inputs(good.manifest, 0, 40), ("sample",))
    assert engine.probed_in_padding() is None


def test_probe_is_infinite_where_samples_are_not_finite(good: Bundle) -> None:
    golden = replace(good.golden, z=np.full_like(good.golden.z, 4))
    poisoned = replace(good, generator_file=dense_generator(poison=True).SerializeToString(), golden=golden)
    assert Engine(poisoned, "cpu").probe().max() == float("inf")


def test_warm_up_notices_that_a_row_depends_on_its_batch(good: Bundle) -> None:
    honest = Engine(good, "cpu")
    honest.warm_up()
    assert honest.batch_invariant
    for kind in ("batch_mean", "places"):
        dependent = Engine(replace(good, generator_file=dense_generator(**{kind: True}).SerializeToString()), "cpu")
        dependent.warm_up()
        assert not dependent.batch_invariant


@pytest.mark.parametrize("threads", [1, 2])
def test_the_toy_generator_does_not_depend_on_its_batch(good: Bundle, threads: int) -> None:
    """What other tests here build on: bit for bit the same rows in batches of every size."""
    engine = Engine(good, "cpu", threads=threads)
    rng = np.random.default_rng(0)
    z, label = rng.normal(size=(64, 8)).astype(np.float32), rng.integers(0, 10, 64)
    whole = engine.generate(Inputs(z, label))
    for size in range(1, 65):
        assert np.array_equal(engine.generate(Inputs(z[:size], label[:size])), whole[:size])


def test_scores(good: Bundle, plain_bundle: Path) -> None:
    engine = Engine(good, "cpu")
    assert engine.has_critic
    assert good.golden.score is not None
    np.testing.assert_allclose(
        engine.score(good.golden.sample, good.golden.inputs), good.golden.score, atol=good.golden.score_tolerance
    )
    assert not Engine(read_bundle(plain_bundle), "cpu").has_critic


def test_a_graph_that_loads_but_does_not_run(tmp_path: Path) -> None:
    """Its signature is right; that its embedding holds too few labels shows when it runs."""
    honest = read_bundle(make_bundle(tmp_path / "b"))
    few_labels = replace(honest, generator_file=dense_generator(labels=3).SerializeToString())
    other_shape = replace(honest, generator_file=dense_generator(shape=(1, 4, 4)).SerializeToString())
    other_critic = replace(honest, critic_file=dense_critic(shape=(1, 4, 4)).SerializeToString())
    for broken, file in ((few_labels, "generator"), (other_shape, "generator"), (other_critic, "critic")):
        engine = Engine(broken, "cpu")
        with pytest.raises(BundleError, match=rf"{file}\.onnx") as caught:
            engine.warm_up() if file == "generator" else engine.probe_critic()
        assert "\n" not in str(caught.value)
        if file == "generator":
            with pytest.raises(BundleError, match=r"generator\.onnx"):
                engine.probe()


def test_outputs_of_one_run(good: Bundle, plain_bundle: Path) -> None:
    engine = Engine(good, "cpu")
    assert engine.outputs == ("sample", "sample_uint8", "signals")
    golden = good.golden
    pixels, samples = engine.run(golden.inputs, ("sample_uint8", "sample"))
    assert np.array_equal(samples, engine.generate(golden.inputs))
    assert np.array_equal(pixels, to_uint8(samples, (-1, 1)))
    plain = read_bundle(plain_bundle)
    assert Engine(plain, "cpu").outputs == ("sample", "signals")
    (signals,) = Engine(plain, "cpu").run(plain.golden.inputs, ("signals",))
    assert signals.shape == (len(plain.golden.z), 3)


def test_precision_is_what_the_bundle_says(good: Bundle) -> None:
    assert Engine(good, "cpu").precision == "fp32"
    lineage = good.manifest.lineage.model_copy(update={"evaluation": {"precision": "fp16"}})
    fp16 = replace(good, manifest=good.manifest.model_copy(update={"lineage": lineage}))
    assert Engine(fp16, "cpu").precision == "fp16"
    assert tensorrt_options("/tmp/engines", "fp16")["trt_fp16_enable"] == "1"  # noqa: S108
    assert tensorrt_options("/tmp/engines", "fp32")["trt_fp16_enable"] == "0"  # noqa: S108


@pytest.mark.skipif(
    "TensorrtExecutionProvider" in onnxruntime.get_available_providers(), reason="this runtime has TensorRT"
)
def test_tensorrt_that_is_not_there_is_refused(good: Bundle) -> None:
    for start in (lambda: Engine(good, "auto", tensorrt=True), lambda: require_cuda(tensorrt=True)):
        with pytest.raises(RuntimeMissingError, match="LATENTSERVE_TENSORRT") as caught:
            start()
        assert "\n" not in str(caught.value)


def test_tensorrt_contradicts_the_cpu() -> None:
    with pytest.raises(SettingsError, match=r"LATENTSERVE_TENSORRT: contradicts LATENTSERVE_DEVICE=cpu") as caught:
        load_settings(device="cpu", tensorrt=True)
    assert "\n" not in str(caught.value)
    assert load_settings(device="auto", tensorrt=True).tensorrt


def test_a_server_says_what_its_model_runs_on(tmp_path: Path, start_server: Callable[..., Server]) -> None:
    lineage = Lineage(evaluation={"precision": "fp16"})
    server = start_server(make_bundle(tmp_path / "b", lineage=lineage), device="cpu")
    assert server.metric("runtime_info", provider="CPUExecutionProvider", device="cpu", precision="fp16") == 1
    difference = server.metric("probe_abs_error")
    (line,) = [line for line in server.log.read_text().splitlines() if "golden probes" in line]
    assert re.search(
        rf"model toy \S+: golden probes off by at most {difference:.3g} \(tolerance \S+\) on CPUExec", line
    )
