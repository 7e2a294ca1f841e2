"""Whether samples keep to what was asked for, in words and numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentserve.training.data import Dataset, load
from latentserve.training.errors import DataError
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.evaluate import Evaluation, evaluate
from latentserve.training.evaluation.findings import assess
from latentserve.training.evaluation.progress import Progress
from latentserve.training.evaluation.reals import Reals, load_reals
from latentserve.training.evaluation.subject import Subject, open_subject
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop, prepare
from tests.training.evaluation.test_command import called

COUNT = 400


@pytest.fixture(scope="module")
def asked_run(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "run"
    config = tiny.model_copy(update={"data": "blobs", "images": 640})
    prepare(folder, config)
    loop.train(config, load("blobs", None), folder)
    return folder


@pytest.fixture(scope="module")
def train() -> Dataset:
    return load("blobs", None)


@pytest.fixture(scope="module")
def baseline(train: Dataset) -> Baseline:
    """Half of what is trained on, so that the rest can play a generator."""
    return Baseline(
        Reals(train.subset(np.arange(4_000)), load("blobs", None, "test"), ("train", "test"), "", ()), COUNT
    )


def played(subject: Subject, baseline: Baseline, shown: Dataset, how: str) -> Evaluation:
    """A generator that makes of each request the real sample that is nearest to what it asks for, or some other one."""

    class Recorded(Subject):
        def draw(self, count: int, seed: int, labels: Any = None, conditions: Any = None, **_: Any) -> Any:
            made_for = shown.conditions_of(slice(None))
            assert made_for is not None
            wanted = conditions.copy()
            if how == "shuffled":
                wanted = np.random.default_rng(0).permutation(wanted)
            if how == "x of no account":
                wanted[:, 0] = np.random.default_rng(0).permutation(wanted[:, 0])
            away = ((wanted[:, None] - made_for) / made_for.std(axis=0)) ** 2
            return shown.take(away.sum(axis=2).argmin(axis=1)), labels

    return evaluate(Recorded(**vars(subject)), baseline)


@pytest.fixture(scope="module")
def subject(asked_run: Path) -> Subject:
    return open_subject(asked_run)


class Recorded(Progress):
    """What it is told: stages, how much there is of each, and how much was done."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[tuple[str, int | None, str]] = []
        self.done: list[int] = []

    def begin(self, stage: str, total: int | None = None, unit: str = "") -> None:
        self.stages.append((stage, total, unit))
        self.done.append(0)

    def add(self, done: int) -> None:
        self.done[-1] += done


def test_how_far_it_is_is_told_of_every_stage_that_takes_long(subject: Subject, train: Dataset) -> None:
    told = Recorded()
    some = train.subset(np.arange(200))
    small = Baseline(Reals(some, load("blobs", None, "test"), ("train", "test"), "", ()), 60, progress=told)
    evaluate(subject, small, progress=told)
    assert [done for done, (_, total, _) in zip(told.done, told.stages, strict=True) if total is not None] == [
        total for _, total, _ in told.stages if total is not None
    ]
    assert {unit for _, total, unit in told.stages if total is not None} == {"samples", "statistics"}
    assert [stage for stage, total, _ in told.stages if total is None] == ["reading conditions off samples of run"]


def test_one_that_keeps_to_them(subject: Subject, baseline: Baseline, train: Dataset) -> None:
    found = played(subject, baseline, train.subset(np.arange(4_000, 8_000)), "kept")
    assert "condition_missed" not in [finding.name for finding in assess(found).findings]
    assert found.conditions is not None
    for row, (low, high) in zip(found.conditions, ((4, 12), (1.5, 4)), strict=True):
        assert row.unit == "px"
        assert row.range == pytest.approx((low, high), abs=0.1)
        assert row.error == pytest.approx(row.real_error, abs=0.1)
        assert row.real_error < 0.3
        assert (row.correlation or 0) > 0.95
        assert row.off < 0.6
    (statistic,) = (each for each in found.statistics if each.name == "conditions")
    assert statistic.value == pytest.approx(np.mean([row.error for row in found.conditions]))
    assert statistic.floor == pytest.approx(np.mean([row.real_error for row in found.conditions]))
    low, high = statistic.interval or (0, 0)
    assert 0 < low < statistic.value < high


@pytest.mark.parametrize(
    ("how", "missed"), [pytest.param("shuffled", ["x", "radius"], marks=pytest.mark.full), ("x of no account", ["x"])]
)
def test_ones_that_do_not(how: str, missed: list[str], subject: Subject, baseline: Baseline, train: Dataset) -> None:
    found = played(subject, baseline, train.subset(np.arange(4_000, 8_000)), how)
    verdict = assess(found)
    told = {finding.name: finding for finding in verdict.findings}["condition_missed"]
    assert (told.severity, told.conditions, told.classes) == ("serious", missed, None)
    assert told.to_json()["conditions"] == missed
    names = "Conditions x and radius are" if len(missed) > 1 else "Condition x is"
    assert f"{names} not kept to: of " in verdict.sentence
    assert " px off what was asked for in the median; of held-out real ones 0." in verdict.sentence


def test_from_the_command_to_the_page(asked_run: Path, tmp_path: Path) -> None:
    called(asked_run, "--samples", 200, "--out", tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in told["conditions"]] == ["x", "radius"]
    assert {"value", "floor", "interval"} <= told["statistics"]["conditions"].keys()
    assert told["warnings"] == []
    missed = [finding for finding in told["verdict"]["findings"] if finding["name"] == "condition_missed"]
    assert [finding["severity"] for finding in missed] == ["serious"]  # it has hardly been trained
    page = (tmp_path / "report.html").read_text()
    for words in ("Along what is asked for", "Condition by condition", "Conditions missed", "not kept to"):
        assert words in page
    assert page.split("Along what is asked for")[1].split("Nearest training")[0].count("data:image/png") == 12


def test_values_beyond_those_that_were_learnt_are_asked_for_at_the_end(
    subject: Subject, baseline: Baseline, train: Dataset
) -> None:
    narrow = [condition.model_copy(update={"range": (5.0, 6.0)}) for condition in subject.conditions or []]
    seen: list[np.ndarray] = []

    class Watched(Subject):
        def draw(self, count: int, seed: int, labels: Any = None, conditions: Any = None, **_: Any) -> Any:
            seen.append(conditions)
            return super().draw(count, seed, labels, conditions)

    evaluate(Watched(**{**vars(subject), "conditions": narrow[::-1]}), baseline)
    assert (seen[0].min(), seen[0].max()) == (5, 6)


def test_data_that_were_made_for_something_else(subject: Subject, tmp_path: Path) -> None:
    some = load("blobs", None).subset(np.arange(60))
    np.save(tmp_path / "some.npy", some.samples)
    bundle = replace(subject, config=None, origin="bundle")
    (tmp_path / "conditions.csv").write_text("x,y\n" + "\n".join(f"{at},{at}" for at in range(60)))
    with pytest.raises(DataError, match=r"its conditions are x, y; those of .* are x, radius"):
        load_reals(bundle, tmp_path)
    (tmp_path / "conditions.csv").write_text("radius,x\n" + "\n".join(f"{at},{at}" for at in range(60)))
    assert load_reals(bundle, tmp_path).held.condition_names == ["radius", "x"]
    (tmp_path / "conditions.csv").unlink()
    reals = load_reals(bundle, tmp_path)
    assert any("These data have no conditions" in warning for warning in reals.warnings)
    plain = replace(bundle, conditions=None)
    assert load_reals(plain, Path("blobs")).train.conditions is None
