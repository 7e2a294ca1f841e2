"""What conditions do by themselves is taken off samples, whatever its size; the rest stays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Latent
from latentserve.service.sampling.latents import draw_conditions
from latentserve.service.watching.given import ROWS, GivenConditions

CONDITIONS = [
    Condition(name="energy", range=(1, 300), prior="log-uniform"),
    Condition(name="angle", range=(-1, 1), prior="normal"),
]


def made(rows: int, seed: int = 0, cells: int = 20) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Showers whose sum is the energy, and their conditions."""
    condition = draw_conditions(Latent(dim=4), CONDITIONS, seed, 0, rows)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, cells)) * 0.5 + condition[:, 1:] * np.linspace(-1, 1, cells)
    shape = np.exp(logits)
    return shape / shape.sum(axis=1, keepdims=True) * condition[:, :1], condition


@pytest.mark.parametrize("common", [True, False], ids=["on one scale", "each on its own"])
def test_values_are_of_one_size_whatever_was_asked_for(common: bool) -> None:
    given = GivenConditions.fit(*made(ROWS), CONDITIONS, common=common)
    assert given is not None
    values, condition = made(20_000, seed=1)
    found = given.standardised(values, condition, CONDITIONS)
    for column in range(2):
        for part in np.array_split(np.argsort(condition[:, column]), 5):
            assert abs(found[part].mean()) < 0.1
            assert found[part].std() == pytest.approx(1, abs=0.2)


def test_conditions_that_are_not_known_are_taken_in_the_mean() -> None:
    given = GivenConditions.fit(*made(ROWS), CONDITIONS, common=True)
    assert given is not None
    values, _ = made(100, seed=1)
    found = given.standardised(values, None, CONDITIONS)
    np.testing.assert_allclose(np.diff(found, axis=0) * np.exp(given.deviation[0]), np.diff(values, axis=0))


def test_too_few_rows_teach_nothing_and_what_is_damaged_is_refused() -> None:
    values, condition = made(60)
    assert GivenConditions.fit(values, condition, CONDITIONS, common=True) is None
    given = GivenConditions.fit(*made(ROWS), CONDITIONS, common=False)
    assert given is not None
    assert given.fits(20, 2)
    assert not given.fits(20, 3)
    arrays = given.to_arrays()
    again = GivenConditions.from_arrays(arrays)
    assert again is not None
    assert np.array_equal(again.mean, given.mean)
    assert GivenConditions.from_arrays({}) is None
    for name, value in (("mean", np.ones((3, 5))), ("deviation", np.ones((3, 7))), ("least", np.zeros(20))):
        with pytest.raises(ValueError, match="expectations of"):
            GivenConditions.from_arrays({**arrays, f"given_{name}": value})


def test_a_value_that_never_changes_stays_where_it_is() -> None:
    values, condition = made(ROWS)
    values[:, 3] = 5.0
    given = GivenConditions.fit(values, condition, CONDITIONS, common=False)
    assert given is not None
    assert np.abs(given.standardised(values, condition, CONDITIONS)[:, 3]).max() < 1e-3
