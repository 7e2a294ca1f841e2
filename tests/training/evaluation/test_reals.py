from pathlib import Path

import numpy as np
import pytest

from latentserve.training.errors import DataError
from latentserve.training.evaluation.reals import load_reals
from latentserve.training.evaluation.subject import open_subject


def test_a_run_knows_its_data(run: Path) -> None:
    reals = load_reals(open_subject(run), None)
    assert reals.splits == ("train", "test")
    assert reals.unseen
    assert reals.warnings == ()
    assert (len(reals.train), len(reals.held)) == (898, 899)


def test_other_data_than_it_was_trained_on_are_told(run_bundle: Path, tmp_path: Path, digits) -> None:
    np.savez(tmp_path / "some.npz", x=digits.samples[:500], y=digits.labels[:500])
    reals = load_reals(open_subject(run_bundle), tmp_path / "some.npz")
    assert "not the data" in reals.warnings[0]
    assert "no held-out part" in reals.warnings[1]
    assert not reals.unseen
    assert (len(reals.train), len(reals.held)) == (250, 250)
    seen = {sample.tobytes() for sample in reals.train.samples}
    assert sum(sample.tobytes() in seen for sample in reals.held.samples) == 0


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": np.zeros((50, 1, 9, 9), np.float32)}, "image of shape [1, 9, 9]; "),
        ({"x": np.zeros((50, 5), np.float32)}, "array of shape [5]; "),
        ({"x": np.random.default_rng(0).random((30, 1, 8, 8), np.float32)}, "at least 20 of each part are needed"),
        (
            {"x": np.random.default_rng(0).random((60, 1, 8, 8), np.float32), "y": np.arange(60) % 3},
            "its labels are 0, 1, 2; those of",
        ),
    ],
    ids=["size", "kind", "few", "labels"],
)
def test_data_that_look_otherwise_are_refused(run_bundle: Path, tmp_path: Path, arrays, complaint: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError) as error:
        load_reals(open_subject(run_bundle), tmp_path / "data.npz")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bundle_needs_data(run_bundle: Path) -> None:
    with pytest.raises(DataError, match="--data: is needed"):
        load_reals(open_subject(run_bundle), None)
