"""Labels that make no difference are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.endings import DIM, ending
from latentserve.service.bundle import Inputs
from latentserve.service.packing.aliases import label_aliases, same_from, told
from latentserve.service.packing.foreign import PackOptions, pack_foreign


@given(kinds=st.lists(st.integers(0, 12), min_size=2, max_size=40), batch=st.integers(1, 9))
def test_groups_are_those_that_agree(kinds: list[int], batch: int) -> None:
    rng = np.random.default_rng(0)
    weights, added = rng.normal(size=(DIM, 30)), rng.normal(size=(13, 30))

    def generate(inputs: Inputs) -> np.ndarray:
        assert inputs.label is not None
        assert len(inputs.z) <= batch
        return (inputs.z @ weights + added[np.array(kinds)[inputs.label]]).astype(np.float32)

    rows = Inputs(rng.normal(size=(4, DIM)).astype(np.float32), np.zeros(4, np.int64))
    groups = [np.flatnonzero(np.array(kinds) == kind).tolist() for kind in set(kinds)]
    assert label_aliases(generate, rows, len(kinds), batch) == sorted(group for group in groups if group[1:])


@pytest.mark.parametrize("count", [0, 1, 10, 999])
def test_from_where_on_all_are_the_same(count: int) -> None:
    assert same_from(lambda label: np.array([min(label, count), 3.0]), 65_536) == count
    assert same_from(lambda label: np.array([label, 3.0]), 65_536) is None


def test_they_are_named() -> None:
    names = [f"n{index}" for index in range(20)]
    assert told([list(range(10, 20))], names)[0].startswith("labels n10 to n19 give the same samples")
    assert told([[0, 2, 3]], names)[0].startswith("labels n0, n2 and n3 give the same samples")
    assert told([list(range(20))], names) == ["all 20 labels give the same samples: the label makes no difference"]
    assert told([], names) == []
    assert len(told([[0, 1]] * 30, names)) == 9


def test_they_are_in_the_card(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    added = np.array([0, 0.5, 1, 1, 1.0])
    onnx.save(ending([1, 4, 4], "Tanh", labels=added), tmp_path / "model.onnx")
    pack_foreign(tmp_path / "model.onnx", tmp_path / "b", "x", PackOptions(labels=list("abcde")), reference_samples=64)
    assert "labels c to e give the same samples" in caplog.text
    assert "- labels c to e give the same samples" in (tmp_path / "b" / "MODEL_CARD.md").read_text()
