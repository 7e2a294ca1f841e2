from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentserve.training.data import Dataset, load
from latentserve.training.data.holding_out import rows, split_off
from latentserve.training.errors import DataError, NoHeldOutError


def made(count: int, labels: int = 1, own: int = 0) -> object:
    """A `load` of so many samples, and `own` held-out ones."""
    samples = np.arange(count, dtype=np.uint8 if count < 256 else np.int32).reshape(count, 1, 1, 1)
    names = [str(label) for label in range(labels)] if labels > 1 else []
    whole = Dataset("any", samples, np.arange(count) % labels, names, notes=("read",))

    def read(split: str) -> Dataset:
        if split == "test" and not own:
            raise NoHeldOutError("no folder test or val in it")
        return whole if split == "train" else whole.subset(np.arange(own))

    return read


def test_some_are_held_out_and_told_of_and_each_is_somewhere() -> None:
    train, held = (split_off(made(300), split, 0.1) for split in ("train", "test"))
    assert (len(train), len(held)) == (236, 64)
    assert sorted([*train.samples.flatten(), *held.samples.flatten()]) == list(range(300))
    assert train.notes[0] == "read"
    assert train.notes[1].startswith("of 300 samples 64 are held out by chance")
    again = split_off(made(300), "test", 0.1)
    assert np.array_equal(again.samples, held.samples)
    assert len(split_off(made(2_000), "test", 0.1)) == 200


@pytest.mark.parametrize("labels", [3, 7, 30, 300])
def test_of_each_label_as_many_as_of_the_others_and_none_is_lost(labels: int) -> None:
    train, held = (split_off(made(300, labels), split, 0.1) for split in ("train", "test"))
    assert train.label_names == held.label_names
    if labels < 300:
        counts = np.bincount(train.labels, minlength=labels)
        assert counts.max() - counts.min() <= 1 + (300 % labels > 0)


def test_a_class_of_one_sample_is_learnt() -> None:
    labels = np.array([1] + [0] * 299)
    assert 0 not in rows(labels, 0.2)


def test_whatever_has_a_held_out_part_or_is_small_stays_as_it_is() -> None:
    assert [len(split_off(made(300, own=20), split, 0.1)) for split in ("train", "test")] == [300, 20]
    assert len(split_off(made(200), "train", 0.1)) == 200
    with pytest.raises(DataError, match="no folder test"):
        split_off(made(200), "test", 0.1)


def test_of_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for row in range(260):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{row:03d}.png")
    train, held = (load("files", tmp_path, split, hold_out=0.1) for split in ("train", "test"))
    assert (len(train), len(held)) == (196, 64)
    whole = load("files", tmp_path)
    assert len(whole) == 260
    known = {sample.tobytes() for sample in whole.samples}
    assert known == {sample.tobytes() for part in (train, held) for sample in part.samples}
