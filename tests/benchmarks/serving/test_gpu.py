"""The benchmark on a GPU, tried on a CPU: the same code, a tiny generator, and the real server."""

from __future__ import annotations

import math
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import shape_inference

from benchmarks.generators import DIM, LARGE, TINY, Generator, convolutional
from benchmarks.serving import alone, gpu
from benchmarks.serving.alone import TorchEngine


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this runtime has CUDA")
def test_without_cuda_it_says_so_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.serving.gpu"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("benchmarks.serving.gpu: ")
    assert captured.err.count("\n") == 1
    assert "CUDA" in captured.err


def test_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTSERVE_DEVICE", "cpu")  # and put back what was there
    monkeypatch.setattr(alone, "BATCHES", (16, 32))
    results = gpu.measure(TINY, "cpu", ("fp16",), seconds=0.1, repetitions=2)
    ways = {record["way"] for record in results["records"]}
    assert ways == {gpu.OURS, gpu.BARE, gpu.TORCH}, results["absent"]
    assert len(results["records"]) == 2 * len(ways)
    for record in results["records"]:
        assert record["samples_per_second"] > 0
        assert record.get("failed", 0) == 0
    table = gpu.report(results)
    for way in ways:
        assert f"| fp16 | {way} |" in table
    assert "not measured" not in table


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_torch_makes_the_same_samples(precision: str) -> None:
    torch = pytest.importorskip("torch")
    model = TINY.build()
    z = np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(["sample"], {"z": z})[0]
    found = TorchEngine(model, "cpu", precision).generate(torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(found, expected, atol={"fp32": 1e-5, "fp16": 1e-2}[precision])


def test_the_large_generator_is_large() -> None:
    """The operations of its convolutions: two for each weight that each pixel sees."""
    small = Generator("small", "", lambda: convolutional(28, (256, 96, 32), colours=1))
    assert _flop(small.build()) == pytest.approx(60e6, rel=0.05)
    assert _flop(LARGE.build()) == pytest.approx(7.6e9, rel=0.02)


def _flop(model: onnx.ModelProto) -> float:
    inferred = shape_inference.infer_shapes(model)
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    total = 0.0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            pixels = math.prod(shapes[node.output[0]][2:])
            stride = 4 if node.op_type == "ConvTranspose" else 1  # a pixel sees a quarter of a transposed kernel
            total += 2 * pixels * math.prod(weights[node.input[1]]) / stride
        elif node.op_type == "MatMul":
            total += 2 * math.prod(weights[node.input[1]])
    return total
