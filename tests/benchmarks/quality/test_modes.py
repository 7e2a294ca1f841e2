import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

from benchmarks.quality import modes, modes_report
from latentserve.training.data.synthetic import MIXTURES
from latentserve.training.recipe import load_config


@pytest.mark.parametrize("data", ["ring", "grid"])
def test_a_perfect_sampler_has_the_figures_that_follow_from_the_normal_distribution(data: str) -> None:
    mixture = MIXTURES[data]
    drawn = mixture.draw(250_000, seed=5)
    found = modes.score(drawn, mixture)
    assert found["modes"] == len(mixture.means)
    inside = 1 - math.exp(-9 / 2)  # of a disc of radius 3 under the standard normal in the plane
    assert found["high_quality"] == pytest.approx(inside, abs=8e-4)
    assert found["spread"] == pytest.approx(math.sqrt((2 - 11 * math.exp(-9 / 2)) / inside), abs=0.004)
    assert found["spread"] == pytest.approx(1.378, abs=0.004)
    # Of n draws among m Gaussians the expectation of the divergence is about (m - 1) / 2n.
    floors = [modes.score(mixture.draw(2_500, seed), mixture)["kl"] for seed in range(100)]
    assert np.mean(floors) == pytest.approx((len(mixture.means) - 1) / 5_000, rel=0.2)


def test_what_is_missed_shows_in_the_figure_it_is_missed_in() -> None:
    ring = MIXTURES["ring"]
    three = np.repeat(ring.means[:3], [500, 250, 250], axis=0)
    found = modes.score(np.concatenate([three, np.zeros((1_000, 2))]), ring)
    assert (found["modes"], found["high_quality"], found["spread"]) == (3, 0.5, 0.0)
    assert found["kl"] == pytest.approx(0.5 * math.log(4) + 0.5 * math.log(2))
    aside = ring.means + np.array([0.02, 0])
    assert modes.score(aside, ring)["spread"] == pytest.approx(2)
    assert math.isnan(modes.score(np.zeros((10, 2)), ring)["kl"])


def test_runs_are_scored_and_reported_with_their_aims() -> None:
    config = load_config("ring", ("images=512", "tick=256", "width=8"))
    runs = [*modes.trained("ring", "recipe", config, [0, 1])]
    assert [run["seed"] for run in runs] == [0, 1]
    assert {run["steps"] for run in runs} == {4}
    recipes = {"ring, recipe": config.model_dump(mode="json")}
    text = "\n".join(modes_report.report({"runs": runs, "perfect": modes.perfect("ring"), "recipes": recipes}))
    assert "| recipe `ring` | 2 |" in text
    assert "Missed: " in text
    assert "goes from 0.5 to 0.014, the scale of the Gaussians, whose standard deviation is 0.01" in text
    assert modes_report.missed("ring", modes.perfect("ring")) == []


def test_the_plain_gan_takes_the_recipes_budget() -> None:
    for data in ("ring", "grid"):
        plain, recipe = load_config(data, modes.PLAIN), load_config(data)
        assert (plain.images, plain.batch, plain.data) == (recipe.images, recipe.batch, recipe.data)
        assert recipe.images <= 60_000 * recipe.batch
