"""Signals of latents that clients send: uniform under the prior, and only under it; the same latent is seen once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from latentserve.service.bundle import Latent, LatentPart
from latentserve.service.sampling.latents import draw_latents
from latentserve.service.watching import inputs
from latentserve.service.watching.inputs import (
    INPUT_MEAN,
    INPUT_NORM,
    INPUTS,
    Repeats,
    implausible,
    input_signals,
)

ROWS = 20_000
LEAST_P = 1e-4  # of a test that must pass, with a fixed seed
PRIORS = ("normal", "uniform")


def drawn(latent: Latent, rows: int = ROWS, truncation: float = 1.0) -> NDArray[np.float32]:
    """So many, or as many as make two million numbers."""
    return draw_latents(latent, 7, 0, min(rows, 2_000_000 // latent.dim), truncation)


def p_values(z: NDArray[np.float32], latent: Latent) -> dict[str, float]:
    """Of Kolmogorov and Smirnov's test for uniformity, by signal."""
    return {name: float(stats.kstest(u, "uniform").pvalue) for name, u in input_signals(z, latent).items()}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("dim", [1, 2, 8, 100, 512])
def test_uniform_under_the_prior(prior: str, dim: int) -> None:
    latent = Latent(dim=dim, prior=prior)  # type: ignore[arg-type]
    z = drawn(latent)
    found = input_signals(z, latent)
    assert tuple(found) == INPUTS
    assert min(p_values(z, latent).values()) > LEAST_P
    assert not implausible(found[INPUT_NORM]).any()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("dim", [1, 8, 512])
def test_wide_and_truncated_latents_move_the_norm(prior: str, dim: int) -> None:
    latent = Latent(dim=dim, prior=prior)  # type: ignore[arg-type]
    wide, narrow = np.float32(1.1) * drawn(latent), drawn(latent, truncation=0.7)
    assert p_values(wide, latent)[INPUT_NORM] < 1e-9
    assert p_values(narrow, latent)[INPUT_NORM] < 1e-9
    assert input_signals(wide, latent)[INPUT_NORM].mean() > 0.5 > input_signals(narrow, latent)[INPUT_NORM].mean()


def test_a_shift_moves_the_mean() -> None:
    latent = Latent(dim=64)
    found = p_values(drawn(latent) + np.float32(0.05), latent)
    assert found[INPUT_MEAN] < 1e-9


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("dim", [1, 8, 512])
def test_extreme_latents_are_nobodys_draw(prior: str, dim: int) -> None:
    latent = Latent(dim=dim, prior=prior)  # type: ignore[arg-type]
    extreme = np.array([1e30, -1e30, np.finfo(np.float32).max, 50.0], np.float32)
    found = input_signals(np.repeat(extreme[:, None], dim, axis=1), latent)
    for values in found.values():
        assert ((values >= 0) & (values <= 1)).all()
    assert implausible(found[INPUT_NORM]).all()


@pytest.mark.parametrize("dim", [8, 512])
def test_zeros_are_nobodys_draw(dim: int) -> None:
    found = input_signals(np.zeros((3, dim), np.float32), Latent(dim=dim))
    assert implausible(found[INPUT_NORM]).all()
    assert np.array_equal(found[INPUT_MEAN], np.full(3, 0.5))


def test_a_repeated_latent_is_there_once() -> None:
    seen = Repeats()
    z = drawn(Latent(dim=8), 100)
    assert seen.first(z, None).all()
    assert not seen.first(z, None).any()
    assert np.array_equal(seen.first(np.concatenate([z[:1], z[:1] + 1, z[:1] + 1]), None), [False, True, False])


def test_labels_tell_latents_apart() -> None:
    seen = Repeats()
    z = np.zeros((10, 8), np.float32)
    assert seen.first(z, np.arange(10)).all()
    assert not seen.first(z, np.arange(10)).any()
    assert np.array_equal(seen.first(z[:2], np.array([10, 10])), [True, False])


@given(cuts=st.lists(st.integers(0, 60), max_size=6), repeats=st.lists(st.integers(0, 7), min_size=60, max_size=60))
def test_pieces_of_any_size_are_seen_alike(cuts: list[int], repeats: list[int]) -> None:
    z = drawn(Latent(dim=3), 8)[repeats]
    labels = np.array(repeats) % 2
    whole, pieces = Repeats(), Repeats()
    bounds = [0, *sorted(cuts), 60]
    found = [pieces.first(z[a:b], labels[a:b]) for a, b in pairwise(bounds)]
    assert np.array_equal(np.concatenate(found), whole.first(z, labels))


def test_the_window_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_WINDOW", 1000)
    seen = Repeats()
    z = drawn(Latent(dim=4), 5000)
    assert seen.first(z, None).all()
    assert len(seen._seen) == len(seen._order) == 1000
    assert not seen.first(z[-1000:], None).any()
    assert seen.first(z[:1], None).all()  # forgotten


def test_a_million_repeats_of_one_latent_take_one_place() -> None:
    seen = Repeats()
    z = np.broadcast_to(drawn(Latent(dim=8), 1), (100_000, 8))
    assert sum(int(seen.first(z, None).sum()) for _ in range(10)) == 1
    assert len(seen._seen) == len(seen._order) == 1


PARTS = {
    "shifted": [LatentPart(name="z", shape=[64], shift=1000, scale=0.5)],
    "unit": [LatentPart(name="z", shape=[64], prior="uniform", shift=0.5, scale=0.5)],
    "unit, far away": [LatentPart(name="z", shape=[96], prior="uniform", shift=1000.5, scale=0.5)],
    "truncated": [LatentPart(name="z", shape=[8, 8], truncation=0.7)],
    "truncated, far away": [LatentPart(name="z", shape=[96], truncation=0.7, shift=1000)],
    "truncated uniform": [LatentPart(name="z", shape=[16], prior="uniform", truncation=0.5)],
    "several": [
        LatentPart(name="z", shape=[4]),
        LatentPart(name="phase", shape=[], prior="uniform", shift=0.5, scale=0.5),
        LatentPart(name="style", shape=[2, 3], truncation=0.7, scale=2),
        LatentPart(name="noise", shape=[1, 20], shift=3, scale=0.1, noise=True),
        LatentPart(name="dropout", shape=[5], prior="uniform", shift=0.5, scale=0.5, noise=True),
    ],
}


def of_parts(name: str) -> Latent:
    parts = PARTS[name]
    return Latent(dim=sum(part.width for part in parts), prior=parts[0].prior, parts=parts)


@pytest.mark.parametrize("name", PARTS)
def test_each_part_is_judged_by_its_own_prior(name: str) -> None:
    latent = of_parts(name)
    z = drawn(latent)
    for sent in (z, z[:, : latent.width]):
        assert min(p_values(sent, latent).values()) > LEAST_P
        assert not implausible(input_signals(sent, latent)[INPUT_NORM]).any()


@pytest.mark.parametrize("column", [0, 3, 4, 5, 10, 11, 30, 31, 35])
def test_of_several_parts_one_that_is_drawn_otherwise_is_found(column: int) -> None:
    """A client that takes every number for a standard normal one, in any one column, is told from the prior: but in the
    four that are."""
    latent = of_parts("several")
    z = drawn(latent)
    z[:, column] = np.random.default_rng(column).normal(size=ROWS)
    least = min(p_values(z, latent).values())
    assert least > LEAST_P if column < 4 else least < 1e-6


def test_beyond_a_part_s_support_is_nobodys_draw() -> None:
    latent = of_parts("several")
    z = drawn(latent, 2)
    z[0, 4], z[1, 5] = 1.5, 30
    assert implausible(input_signals(z, latent)[INPUT_NORM]).all()


def test_conditions_that_were_asked_for_tell_latents_apart() -> None:
    seen = Repeats()
    z, labels = np.zeros((4, 8), np.float32), np.zeros(4, np.int64)
    asked = np.array([[1, np.nan], [2, np.nan], [1, 1], [1, np.nan]], np.float32)
    assert seen.first(z, labels, asked).tolist() == [True, True, True, False]
