"""The benchmark on a GPU, tried on a CPU: the same code, a tiny generator, and the real server."""

from __future__ import annotations

import json
import math
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import shape_inference

from benchmarks.generators import LARGE, Generator, convolutional
from benchmarks.runner import main
from benchmarks.serving import gpu


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this runtime has CUDA")
def test_without_cuda_it_says_so_and_exits_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gpu", "--out", str(tmp_path / "gpu")])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("benchmarks gpu: ")
    assert captured.err.count("\n") == 1
    assert "CUDA" in captured.err
    assert not list(tmp_path.iterdir())


def test_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LATENTSERVE_DEVICE", "cpu")  # and put back what was there
    monkeypatch.setattr(gpu, "BATCHES", (16, 32))
    out = tmp_path / "gpu"
    main(["gpu", "--device", "cpu", "--seconds", "0.1", "--repetitions", "2", "--out", str(out)])
    records = json.loads(out.with_suffix(".json").read_text())["records"]
    assert [record["way"] for record in records] == [gpu.BARE, gpu.OURS, gpu.OURS, gpu.BARE]
    for record in records:
        assert record["samples_per_second"] > 0
        assert record.get("failed", 0) == 0
    table = out.with_suffix(".md").read_text()
    assert all(f"| {way} |" in table for way in (gpu.OURS, gpu.BARE))


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
