"""Buckets: padding, what does not fit, and calls from many threads.

The runner is the one that CUDA has; its buffers are on the CPU here, where ONNX Runtime binds them in the same way.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import SampleSpec
from latentserve.service.errors import BundleError
from latentserve.service.sampling import cuda
from latentserve.service.sampling.cuda import bucket_sizes
from latentserve.service.sampling.served_graph import Output
from tests.generators import dense_generator
from tests.generators import model as make_model
from tests.service.sampling.runners import open_runner, served
from tests.sessions import session

IMAGE = SampleSpec(kind="image", shape=[1, 8, 8], value_range=(-1, 1), channels="L")
ALL: tuple[Output, ...] = ("sample", "sample_uint8", "signals")


def limited(rows: int) -> onnx.ModelProto:
    """A generator that doubles its latents, by factors from a table; batches of more than `rows` rows fail."""
    numbers = {"first": np.array(0), "step": np.array(1), "table": np.full((rows, 1), 2, np.float32)}
    nodes = [
        helper.make_node("Shape", ["z"], ["n"], start=0, end=1),
        helper.make_node("Squeeze", ["n"], ["count"]),
        helper.make_node("Range", ["first", "count", "step"], ["places"]),
        helper.make_node("Gather", ["table", "places"], ["factors"]),
        helper.make_node("Mul", ["z", "factors"], ["sample"]),
    ]
    tensor = helper.make_tensor_value_info
    inputs, outputs = ([tensor(name, TensorProto.FLOAT, ["batch", 4])] for name in ("z", "sample"))
    weights = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    return make_model(nodes, "generator", inputs, outputs, weights)


def latents(rows: int) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(rows)
    return {"z": rng.normal(size=(rows, 8)).astype(np.float32), "label": rng.integers(0, 10, rows)}


def test_bucket_sizes() -> None:
    assert bucket_sizes(1) == [1]
    assert bucket_sizes(64) == [1, 2, 4, 8, 16, 32, 64]
    assert bucket_sizes(48) == [1, 2, 4, 8, 16, 32, 48]


def test_rows_are_those_of_the_session_whatever_the_bucket() -> None:
    """Every size up to more than two full batches; the toy's rows do not depend on their batch, to the last bit."""
    content, names = served(dense_generator(), IMAGE)
    opened = session(content)
    runner = open_runner(dense_generator(), IMAGE, 12)
    assert runner.max_batch == 12
    for rows in range(1, 27):
        feed = latents(rows)
        expected = opened.run([names[output] for output in ALL], feed)
        for found, wanted in zip(runner.run(feed, ALL), expected, strict=True):
            assert found.dtype == wanted.dtype
            assert np.array_equal(found, wanted)


def test_only_what_is_asked_for_in_that_order() -> None:
    runner = open_runner(dense_generator(), IMAGE, 8)
    whole = dict(zip(ALL, runner.run(latents(3), ALL), strict=True))
    for asked in ((), ("signals",), ("sample_uint8", "sample"), ("signals", "sample")):
        found = runner.run(latents(3), asked)  # type: ignore[arg-type]
        assert len(found) == len(asked)
        assert all(np.array_equal(array, whole[output]) for array, output in zip(found, asked, strict=True))


def test_later_batches_leave_earlier_results_alone() -> None:
    runner = open_runner(dense_generator(), IMAGE, 8)
    first = runner.run(latents(8), ALL)
    copies = [array.copy() for array in first]
    runner.run({"z": np.zeros((8, 8), np.float32), "label": np.zeros(8, np.int64)}, ALL)
    assert all(np.array_equal(array, copy) for array, copy in zip(first, copies, strict=True))


def test_inputs_that_are_not_contiguous() -> None:
    runner = open_runner(dense_generator(), IMAGE, 8)
    feed = latents(8)
    strided = {name: np.repeat(array, 2, axis=0)[::2] for name, array in feed.items()}
    assert np.array_equal(runner.run(strided, ("sample",))[0], runner.run(feed, ("sample",))[0])


def test_many_threads_get_their_own_rows() -> None:
    runner = open_runner(dense_generator(), IMAGE, 16)
    expected = {rows: runner.run(latents(rows), ("sample",))[0] for rows in range(1, 17)}
    asked = [1 + number % 16 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for rows, found in zip(
            asked, pool.map(lambda rows: runner.run(latents(rows), ("sample",))[0], asked), strict=True
        ):
            assert np.array_equal(found, expected[rows])


@pytest.mark.parametrize(("fits", "largest"), [(2, 2), (5, 4), (16, 16), (63, 32)])
def test_batches_that_do_not_fit_are_left_out(fits: int, largest: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        runner = open_runner(limited(fits), SampleSpec(kind="array", shape=[4]), 64)
    assert runner.max_batch == largest
    (record,) = caplog.records
    assert f"at most {largest} " in record.getMessage()
    assert "64" in record.getMessage()
    assert "\n" not in record.getMessage()
    z = np.arange(4 * 70, dtype=np.float32).reshape(70, 4)
    for rows in (1, largest, largest + 1, 70):  # more than fit at once are run in turns
        assert np.array_equal(runner.run({"z": z[:rows]}, ("sample",))[0], 2 * z[:rows])


def test_nothing_is_said_where_everything_fits(caplog: pytest.LogCaptureFixture) -> None:
    open_runner(limited(64), SampleSpec(kind="array", shape=[4]), 64)
    assert not caplog.records


def test_not_even_one_row() -> None:
    with pytest.raises(BundleError, match=r"generator\.onnx: not even one row") as caught:
        open_runner(limited(0), SampleSpec(kind="array", shape=[4]), 8)
    assert "\n" not in str(caught.value)


def test_memory_that_cannot_be_had() -> None:
    shape = [1 << 45]  # of a sample: 128 TiB
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Expand", ["z", "shape"], ["sample"])],
            "generator",
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 1])],
            [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *shape])],
            [numpy_helper.from_array(np.array([1, *shape]), "shape")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    with pytest.raises(BundleError, match="not even one row"):
        open_runner(model, SampleSpec(kind="array", shape=shape), 2)


ONNX_RUNTIME_SAYS = (
    "Non-zero status code returned while running Gemm node. Name:'/net/0/Gemm' Status Message: CUDA failure {code}: "
    "{words} ; GPU=0 ; hostname=one ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc "
    "; line=446 ; expr=cudaStreamSynchronize(static_cast<cudaStream_t>(stream_)); "
)


@pytest.mark.parametrize(
    ("code", "words", "lasts"),
    [
        (700, "an illegal memory access was encountered", True),
        (719, "unspecified launch failure", True),
        (999, "unknown error", True),
        (2, "out of memory", False),
        (1, "invalid argument", False),
        (7000, "of another release", False),
    ],
)
def test_errors_after_which_a_process_has_no_device(code: int, words: str, lasts: bool) -> None:
    found = cuda.lasting_failure(ONNX_RUNTIME_SAYS.format(code=code, words=words))
    assert found == (f"the GPU failed with CUDA error {code} ({words})" if lasts else None)


def test_other_errors_have_no_code() -> None:
    for said in ("", "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0", "700", "[INVALID_ARGUMENT] 719"):
        assert cuda.lasting_failure(said) is None


def test_a_device_is_lost_with_the_first_such_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever is run there."""
    monkeypatch.setattr(cuda, "_lost", [])

    def fail(code: int) -> None:
        raise RuntimeError(ONNX_RUNTIME_SAYS.format(code=code, words="words"))

    for code, lost in ((2, None), (719, "719"), (700, "719")):
        with pytest.raises(RuntimeError, match="Gemm"):
            cuda.on_device(fail, code)
        assert cuda.lost_device() == (lost and f"the GPU failed with CUDA error {lost} (words)")
