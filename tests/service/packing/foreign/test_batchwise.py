"""Operators that look at all rows of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from latentserve.service.packing.foreign.batchwise import batchwise
from tests.service.packing.foreign.graphs import FLOAT, dense

ONES = {name: np.ones(16, np.float32) for name in ("scale", "shift", "mean", "variance")}
NORM = "z scale shift mean variance"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (("BatchNormalization", NORM, "m", {}), None),
        (("BatchNormalization", NORM, "m means variances", {"training_mode": 1}), "in eval mode"),
        (("ReduceMean", "z", "m", {"axes": [1], "keepdims": 1}), None),
        (("ReduceMean", "z", "m", {"axes": [0], "keepdims": 1}), "axis 0"),
        (("ReduceMean", "z", "m", {"keepdims": 1}), "all axes"),
        (("DynamicQuantizeLinear", "z", "m step zero", {}), "statically"),
    ],
)
def test_what_is_said_of_them(node: tuple[str, str, str, dict[str, object]], words: str | None) -> None:
    said = batchwise(dense([node], {"z": (FLOAT, ["n", 16])}, ONES))
    assert said is None if words is None else words in (said or "")
