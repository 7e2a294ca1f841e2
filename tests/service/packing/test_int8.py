"""Integer sums fit 16 bits, so that a variant gives the same on every processor."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.errors import BundleError
from latentserve.service.packing import int8
from latentserve.service.packing.int8 import largest_pair_sum, quantize_int8
from latentserve.service.packing.processor import instruction_set
from tests.generators import model

INT16_MAX = 2**15 - 1
EMULATOR = shutil.which("qemu-x86_64")


def quantized(operator: str, weight: np.ndarray, **attributes: object) -> onnx.ModelProto:
    """One layer whose weight is stored in 8 bits, and one whose weight is not."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node(operator, ["z", "w"], ["h"], **attributes),
        helper.make_node("MatMul", ["h", "float"], ["sample"]),
    ]
    stored = [
        numpy_helper.from_array(weight.astype(np.int8), "q"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.full((2, 2), 1000, np.float32), "float"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("z", "sample")]
    return model(nodes, "quantized", ends[:1], ends[1:], stored)


@pytest.mark.parametrize(
    ("operator", "weight", "attributes", "pair"),
    [
        ("MatMul", [[100, 1], [60, 2], [-90, 3]], {}, 100 + 60),  # wherever in its channel they stand
        ("MatMul", [[100, -127], [1, -127], [2, 0]], {}, 127 + 127),  # and of either sign
        ("MatMul", [[127, -127], [-127, 127]], {}, 127),  # of other signs they take from each other
        ("Gemm", [[100, 1], [60, 2]], {}, 100 + 60),
        ("Gemm", [[100, 1], [60, 2]], {"transB": 1}, 100 + 1),
        ("Conv", [[[[5, 9], [-7, -8]]], [[[1, 2], [3, 4]]]], {}, 7 + 8),
        ("MatMul", [[50, -20]], {}, 50),
    ],
)
def test_the_largest_sum_of_two_products(operator: str, weight: list, attributes: dict, pair: int) -> None:
    assert largest_pair_sum(quantized(operator, np.array(weight), **attributes)) == 255 * pair


def deep() -> onnx.ModelProto:
    """Five layers whose largest weights are all alike: what fills the range, and adds up to the most."""
    signs = np.random.default_rng(0).choice([-1, 1], (5, 32, 32)) / np.float32(np.sqrt(32))
    nodes, last = [], "z"
    for layer in range(5):
        nodes += [helper.make_node("MatMul", [last, f"w{layer}"], [f"h{layer}"])]
        last = f"h{layer}"
        if layer < 4:
            nodes += [helper.make_node("Relu", [last], [f"a{layer}"])]
            last = f"a{layer}"
    nodes[-1].output[0] = "sample"
    stored = [numpy_helper.from_array(weight.astype(np.float32), f"w{layer}") for layer, weight in enumerate(signs)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 32]) for name in ("z", "sample")]
    return model(nodes, "deep", ends[:1], ends[1:], stored)


def batches(seed: int = 0) -> list[dict[str, np.ndarray]]:
    return [{"z": np.random.default_rng(seed).normal(size=(64, 32)).astype(np.float32)}]


def test_what_is_made_fits_16_bits() -> None:
    assert largest_pair_sum(quantize_int8(deep(), batches())) == 255 * (64 + 64) <= INT16_MAX


def full_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of all 8 bits."""
    of_seven = int8.quantize_static
    monkeypatch.setattr(int8, "quantize_static", lambda *args, **given: of_seven(*args, **{**given, "reduce_range": 0}))


def test_sums_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    full_range(monkeypatch)
    with pytest.raises(BundleError, match="two products add up to 64770, beyond the 16 bits"):
        quantize_int8(deep(), batches())


@pytest.mark.full
@pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 (Debian's qemu-user) emulates a processor without AVX-512")
def test_without_avx512_the_sums_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full 8 bits are far off there, which shows that it is such a processor; seven are the same to float rounding."""
    (tmp_path / "seven.onnx").write_bytes(quantize_int8(deep(), batches()).SerializeToString())
    full_range(monkeypatch)
    monkeypatch.setattr(int8, "_INT16_MAX", 1 << 17)
    (tmp_path / "eight.onnx").write_bytes(quantize_int8(deep(), batches()).SerializeToString())
    np.save(tmp_path / "z.npy", batches(1)[0]["z"])
    for name, emulated in (("here", []), ("there", [EMULATOR, "-cpu", "max"])):
        run = (
            "import sys, numpy as np, onnxruntime as ort\n"
            "for bits in ('seven', 'eight'):\n"
            "    session = ort.InferenceSession(f'{bits}.onnx', providers=['CPUExecutionProvider'])\n"
            "    np.save(f'{bits}-{sys.argv[1]}.npy', session.run(None, {'z': np.load('z.npy')})[0])\n"
        )
        subprocess.run([*emulated, sys.executable, "-c", run, name], cwd=tmp_path, check=True, timeout=300)  # type: ignore[list-item]

    def off(bits: str) -> float:
        here, there = (np.load(tmp_path / f"{bits}-{where}.npy") for where in ("here", "there"))
        return float(np.abs(here - there).max() / np.abs(here).max())

    assert off("eight") > 0.05
    assert off("seven") < 0.02


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("fpu avx2 avx512f avx512_vnni", " AVX-512 VNNI"),
        ("fpu avx2 avx_vnni", " AVX2 VNNI"),
        ("fpu avx2 avx512f", " AVX-512"),
        ("fpu avx2", " AVX2"),
        ("fpu", ""),
    ],
)
def test_the_instruction_set_has_a_name(tmp_path: Path, flags: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    assert instruction_set(tmp_path / "cpuinfo").partition(" ")[1:] == ("" if not name else " ", name[1:])
    assert " " not in instruction_set(tmp_path / "none")
