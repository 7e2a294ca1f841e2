import argparse
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

from benchmarks.machine import describe_machine
from benchmarks.quality import privacy, tabular_report, tabular_utility
from benchmarks.quality import tabular_protocol as protocol
from benchmarks.runner import Results
from latentserve.training.recipe import load_config


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> protocol.Problem:
    """Six hundred people with columns of each kind, of whom two hundred are tested on."""
    monkeypatch.setattr(protocol, "TEST_ROWS", 200)
    rng = np.random.default_rng(0)
    lines = ["age,education,work,gain,class"]
    for _ in range(600):
        age, school = rng.integers(17, 90), protocol.EDUCATION[rng.integers(16)]
        rich = age + rng.normal(0, 5) > 60
        lines.append(
            f"{age},{school},{rng.choice(['a', 'b', 'c'])},{rng.integers(0, 5000)},{'>50K' if rich else '<=50K'}"
        )
    path = tmp_path / "adult.csv"
    path.write_text("\n".join(lines) + "\n")
    return protocol.adult(path)


def test_rows_are_split_in_numpys_order_of_seed_0(problem: protocol.Problem, tmp_path: Path) -> None:
    ages = np.array([[float(line.split(",")[0])] for line in (tmp_path / "adult.csv").read_text().splitlines()[1:]])
    np.random.RandomState(0).shuffle(ages)
    split = np.concatenate([problem.train.samples[:, 0], problem.test.samples[:, 0]])
    assert np.array_equal(split, ages[:, 0])
    assert len(problem.test) == 200


def test_features_are_those_of_the_protocol(problem: protocol.Problem) -> None:
    values = tabular_utility.real(problem, 0)
    made = protocol.features(values, problem)
    low, high = (
        bound(np.concatenate([problem.train.samples, problem.test.samples])[:, 0]) for bound in (np.min, np.max)
    )
    np.testing.assert_allclose(made[:, 0], (problem.train.samples[:, 0] - low) / (high - low) * 5, rtol=1e-6)
    names = (problem.train.columns or [])[1].categories or []
    assert [protocol.EDUCATION[int(place)] for place in made[:9, 1]] == [
        names[int(place)] for place in problem.train.samples[:9, 1]
    ]
    assert np.array_equal(made[:, 2:5].argmax(axis=1), problem.train.samples[:, 2])
    np.testing.assert_allclose(made[:, 5], np.log(np.maximum(problem.train.samples[:, 3], 0.01)), rtol=1e-6)
    assert made.shape[1] == 6  # the label is none


def test_what_is_learnt_from_real_rows_is_not_from_rows_of_chance(problem: protocol.Problem) -> None:
    scores = {row: protocol.utility(made(problem, 0), problem, 0) for row, made in tabular_utility.BESIDE.items()}
    assert scores["real"]["mean"] > 0.8 > scores["uniform"]["mean"]
    assert scores["real"]["mean"] > scores["independent"]["mean"] + 0.2
    one = tabular_utility.real(problem, 0)
    one[:, -1] = 0
    assert protocol.utility(one, problem, 0)["mean"] == 0


SHORT = ("images=512", "batch=128", "tick=256", "snapshot=512", "width=16", "latent=96")


def test_a_recipe_is_trained_sampled_and_reported(problem: protocol.Problem, tmp_path: Path) -> None:
    values, took = tabular_utility.trained(problem, load_config("adult", SHORT), tmp_path / "run")
    assert values.shape == (400, 5)
    assert took["images"] == 512
    assert set(np.unique(values[:, -1])) == {0, 1}
    again = tabular_utility.sampled(problem, load_config("adult", SHORT), tmp_path / "run", 400)
    assert np.array_equal(values, problem.values(*again))
    scores = {"MLP": 0.6, "mean": 0.6}
    runs = [{"problem": "adult", "row": row, "seed": 0, "scores": scores} for row in ("real", "uniform")]
    runs.append({"problem": "adult", "row": "recipe", "seed": 0, "scores": scores, **took})
    text = "\n".join(tabular_report.report({"runs": runs}))
    assert "| recipe `adult`, 1 seeds | 0.600" in text
    assert "only shares of real rows can be compared" in text


def test_what_its_rows_give_away_is_reported(
    problem: protocol.Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "SAMPLES", (100, 1_000))
    monkeypatch.setattr(privacy, "load_config", lambda recipe, changed=(): load_config(recipe, (*SHORT, *changed)))
    results = Results(privacy, tmp_path / "privacy", {"machine": describe_machine()})
    given = argparse.Namespace(adult=tmp_path / "adult.csv", runs=tmp_path / "runs", seeds=[0], short=False)
    privacy.measure(given, results)
    privacy.measure(given, results)  # nothing is left to do
    assert len(results["runs"]) == 4
    page = (tmp_path / "privacy.md").read_text()
    assert "| recipe `adult`, 1 seeds | 100 | " in page
    assert "| by heart, 1 seeds | 1,000 | " in page
    assert "| aim |  |  | at least 0.96 |" in page
    of = {(run["row"], run["samples"], run["seed"]): run["membership"]["value"] for run in results["runs"]}
    assert of["by heart", 1_000, 0] > 0.9 > of["recipe", 1_000, 0]


def test_pixels_are_black_or_white(mnist_folder: Path) -> None:
    problem = protocol.mnist28(mnist_folder)
    images = problem.test.take(slice(0, 5))
    values = problem.values(images, problem.test.labels[:5])
    assert values.shape == (5, 785)
    assert np.array_equal(values[:, :-1].reshape(5, 28, 28) == 1, problem.test.samples[:5, 0] > 128)
    assert protocol.features(values, problem).shape == (5, 784)


def test_a_share_is_not_rounded_onto_its_aim_and_the_page_says_how_many_rows_were_seen() -> None:
    runs = [
        {"problem": "mnist28", "row": row, "seed": 0, "scores": {"MLP": score, "mean": score}}
        for row, score in (("real", 0.918), ("recipe", 0.8901))
    ]
    text = "\n".join(tabular_report.report({"runs": runs}))
    assert "| 0.890 ± nan | 0.9696 |" in text
    assert "a classifier sees 50,000" in text
    assert "These test images were looked at before" in text
    assert "tested on the last 10,000 training rows" in "\n".join(
        tabular_report.report({"runs": runs, "choosing": True})
    )


def test_what_is_chosen_by_is_trained_on_by_nobody(problem: protocol.Problem) -> None:
    choosing = protocol.held_out(problem)
    assert (len(choosing.train), len(choosing.test)) == (200, 200)
    together = np.concatenate([choosing.train.samples, choosing.test.samples])
    assert np.array_equal(together, problem.train.samples)
