"""A range is filled by values, not merely kept to; where that leaves a doubt it is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.value_ranges import cases, judged
from latentserve.service.packing.value_range import clipped_share, judge_range

CASES = {case.name: case for case in cases()}
SHORT = (
    "tanh, dark", "sigmoid, an early VAE", "no last tanh: [-1, 1], normal", "no last tanh: decibels",
    "no last tanh: normalised like ImageNet, with tails", "tanh, two of 200 labels fill it", "[28, 28]", "uint8",
    "uint8 of 0 and 1", "bool", "bfloat16", "sound in int16",
)  # fmt: skip


@pytest.mark.parametrize("name", SHORT)
def test_generators_that_nobody_describes(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    assert judged(CASES[name], tmp_path_factory.mktemp("case"))["verdict"] == "right"


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_none_is_judged_wrongly_without_a_word(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    assert judged(CASES[name], tmp_path_factory.mktemp("case"))["verdict"] != "silent"


def pictures(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (64, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("nominal", [(0, 1), (-1, 1), (0, 255)], ids=str)
def test_a_usual_range_that_is_filled_and_kept_to_goes_without_saying(nominal: tuple[float, float]) -> None:
    assert judge_range(pictures(*nominal)) == (nominal, None)


@given(low=st.floats(-300, 300), span=st.floats(1e-3, 600))
def test_a_range_is_used_whatever_it_is_and_said_unless_it_is_reached(low: float, span: float) -> None:
    samples = pictures(low, low + span)
    (black, white), remark = judge_range(samples)
    assert black < white
    used = (min(white, samples.max()) - max(black, samples.min())) / (white - black)
    assert used > 0.19
    if remark is None:
        assert (black, white) in ((0, 1), (-1, 1), (0, 255))
        assert clipped_share(samples, (black, white)) == 0
        assert used > 0.85
    else:
        assert "--value-range" in remark


def test_nothing_but_one_value_is_a_guess() -> None:
    (black, white), remark = judge_range(np.full((8, 1, 4, 4), 0.25, np.float32))
    assert black < white
    assert remark is not None


def test_tails_do_not_take_the_contrast() -> None:
    samples = pictures(-20, 20)
    samples[0, 0, 0, 0] = 1e6
    (black, white), remark = judge_range(samples)
    assert (black, white) == pytest.approx((-20, 20), abs=1)
    assert remark is not None


def test_what_the_graph_shows_is_believed_beyond_the_samples() -> None:
    dark = pictures(-1, -0.9)
    assert judge_range(dark, (-1, 1)).value_range == (-1, 1)
    assert "[-1, 1], of which samples use" in (judge_range(dark, (-1, 1)).remark or "")
    assert judge_range(pictures(-1, 1), (-1, 1)).remark is None
    assert judge_range(pictures(0.5, 0.501), (0, 1)).value_range == pytest.approx((0.5, 0.501), abs=1e-3)
