"""Generators of a stated size, packed by processes that are watched."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks.packing import memory
from latentserve.service.bundle import read_bundle
from latentserve.service.bundle.files import DATA


@pytest.mark.parametrize("external", [False, True])
def test_a_generator_of_a_size(tmp_path: Path, external: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ONE_FILE", 0 if external else 1 << 30)
    size = memory.write_generator(tmp_path / "generator.onnx", 256, 4_000_000)
    assert 3_900_000 < size <= 4_000_000
    assert memory.write_generator(tmp_path / "least.onnx", 1024, 0) < 1_000_000
    onnx.checker.check_model(tmp_path / "generator.onnx")
    assert (tmp_path / "generator.onnx.data").exists() == external


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_more_than_protobuf_takes(tmp_path: Path) -> None:
    """Packed within the bound, and read again."""
    size = memory.write_generator(tmp_path / "generator.onnx", 256, 2_100_000_000)
    words = (tmp_path / "generator.onnx", "--name", "large", "--out", tmp_path / "bundle", "--reference-samples", 50)
    packed = memory._watched("pack", *words)
    called = memory._watched("call", tmp_path / "bundle", 16)
    assert packed - called <= memory.BOUND + memory.FACTOR * size
    assert DATA in read_bundle(tmp_path / "bundle").manifest.sha256
