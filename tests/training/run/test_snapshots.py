"""Networks that a run keeps, and what can be done with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from latentserve.training.data import Dataset
from latentserve.training.errors import RunError
from latentserve.training.evaluation.subject import open_subject
from latentserve.training.export import export_run
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, prepare, pretrained, snapshots
from latentserve.training.run.loop import construct, train
from latentserve.training.supervising import Changes
from tests.training.conftest import stop_after
from tests.training.run.test_loop import assert_equal, folder


@pytest.fixture(scope="module")
def run(tiny: Config, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snapshots after 224, 416, 608, 800 and 1,024 images, as many as there are lines; all are kept."""
    path = tmp_path_factory.mktemp("runs") / "run"
    config = prepare(path, tiny.model_copy(update={"keep": 9, "snapshot": 200}))
    train(config, digits, path, stop_after(9))  # in the middle of a tick: no snapshot of its own
    train(config, digits, path)
    return path


def images(run: Path) -> list[int]:
    return [one.images for one in snapshots.kept(run)]


def test_each_holds_the_networks_and_their_line(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert images(run) == [224, 416, 608, 800, 1024]
    assert [one.line for one in snapshots.kept(run)] == lines
    last, state = load_file(snapshots.kept(run)[-1].path), load_file(run / CHECKPOINT)
    assert {name.partition(".")[0] for name in last} == {"average", "critic"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in last.items())


def test_the_last_ones_stay_and_the_best_of_all(run: Path, tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    """And what is kept changes no weight."""
    few = folder(tmp_path, "few")
    train(tiny.model_copy(update={"keep": 1, "snapshot": 200}), digits, few)
    assert_equal(few, run)
    best = snapshots.best(run)
    assert images(few) == sorted({best.images, 1024})
    assert best.value == min(one.line["frechet"] for one in snapshots.kept(run))
    assert best.sentence == f"{best.images:,} images: frechet {best.value:.4g}, the least of 5"


def test_another_statistic_may_say_what_is_best(run: Path) -> None:
    values = {one.images: one.line["effective_rank"] for one in snapshots.kept(run)}
    assert snapshots.chosen(run, "best", "most:effective_rank").images == max(values, key=lambda at: values[at])
    assert snapshots.chosen(run, "best", "least:effective_rank").images == min(values, key=lambda at: values[at])
    assert snapshots.chosen(run, "best", "frechet") == snapshots.chosen(run, "best", None)


def test_any_is_exported_evaluated_and_begun_from(run: Path, digits: Dataset, tmp_path: Path) -> None:
    manifest = export_run(run, tmp_path / "bundle", reference_samples=600, at=600)
    assert manifest.lineage.images_seen == 608
    assert manifest.lineage.evaluation is not None
    assert manifest.lineage.evaluation["images"] == 608
    earlier, bundle, now = open_subject(run, 600), open_subject(tmp_path / "bundle"), open_subject(run)
    made = [subject.draw(8, seed=3)[0] for subject in (earlier, bundle, now)]
    assert made[0] == pytest.approx(made[1], abs=1e-5)
    assert np.abs(made[0] - made[2]).max() > 1e-3
    assert (earlier.title, earlier.at, now.title) == (f"{run} after 608 images", 608, str(run))
    assert open_subject(run, "best").at == snapshots.best(run).images
    config = prepare(tmp_path / "other", now.config)
    path = snapshots.kept(run)[0].path
    state = construct(config, digits.description, torch.device("cpu"))
    pretrained.read([path], config, digits.description).fill(state)
    assert torch.equal(state.tensors()["critic.score.weight"], load_file(path)["critic.score.weight"])


def test_what_was_not_kept_is_said_in_one_line(run: Path, finished: Path, tmp_path: Path) -> None:
    for path, at, by, words in (
        (run, 300, None, "no networks were kept after 300 images: there are those after 224, 416, 608, 800, 1,024"),
        (finished, 400, None, "no networks were kept after 400 images: there are those after 1,024"),
        (finished, "best", None, "keeps no snapshots to choose from: train with --keep N"),
        (run, "best", "fid", "no snapshot has a `fid`: there are actions, beta2, critic_"),
        (run, "best", "worst:frechet", "--by worst:frechet: expected NAME, least:NAME or most:NAME"),
        (run, 400, "frechet", "--by frechet: says what is the best, and goes with --at best"),
        (tmp_path, "best", None, "not a run with a checkpoint"),
    ):
        with pytest.raises(RunError) as refused:
            snapshots.chosen(path, at, by)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)
    assert snapshots.chosen(finished, 1000, None).images == 1024  # the step that had seen them all


def test_networks_that_a_run_went_back_to_are_not_what_its_last_line_tells_of(
    tiny: Config, digits: Dataset, run: Path, tmp_path: Path
) -> None:
    state = construct(tiny, digits.description, torch.device("cpu"))
    state.images_seen, state.changes = 2_000, Changes(stopped=True)
    went_back = Path(shutil.copytree(run, tmp_path / "run"))
    snapshots.save(went_back, state, digits.description, {}, keep=2)
    assert images(went_back) == sorted({800 + 224, 2000, snapshots.best(run).images})
    assert snapshots.best(went_back).images == snapshots.best(run).images


def test_a_snapshot_is_no_checkpoint(run: Path, tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.copy(snapshots.kept(run)[0].path, copy / CHECKPOINT)
    with pytest.raises(RunError, match="its `generator` does not fit"):
        train(tiny, digits, copy)
