from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load
from latentserve.training.errors import DataError
from tests.digits import idx

SIDE = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Digits that say in their first pixel which they are."""
    for prefix, count in (("train", 40), ("t10k", 20)):
        images = np.zeros((count, SIDE, SIDE), np.uint8)
        images[:, 0, 0] = np.arange(count)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return tmp_path


def which(images: np.ndarray) -> np.ndarray:
    """Rows [N, 3] of the digits in images' channels."""
    return np.rint((images[:, :, 0, 0] + 1) * 127.5).astype(int)


def test_every_triple_of_digits_is_there_about_equally_often(folder: Path) -> None:
    dataset = load("stacked-mnist", folder)
    assert (len(dataset), dataset.kind, dataset.label_names) == (128_000, "image", [])
    assert dataset.description.shape == [3, SIDE, SIDE]
    images = dataset.take(slice(None))
    assert (images.dtype, images.min()) == (np.float32, -1)
    counts = np.bincount(which(images) % 10 @ [100, 10, 1], minlength=1000)
    assert 70 < counts.min() <= counts.max() < 190  # 128 +- five standard deviations


def test_triples_are_the_same_each_time_and_held_out_ones_are_of_held_out_digits(folder: Path) -> None:
    dataset, again = load("stacked-mnist", folder), load("stacked-mnist", folder)
    assert dataset.description.sha256 == again.description.sha256
    rows = np.array([5, 127_999, 5])
    np.testing.assert_array_equal(dataset.take(rows), again.take(slice(None))[rows])
    np.testing.assert_array_equal(which(dataset.take(slice(0, 2))), [[34, 25, 20], [10, 12, 1]])  # what numpy draws
    test = load("stacked-mnist", folder, "test")
    assert len(test) == 26_000
    assert which(test.take(slice(None))).max() == 19


def test_digits_are_held_once(folder: Path) -> None:
    samples = load("stacked-mnist", folder).samples
    assert samples.digits.nbytes == 40 * SIDE * SIDE  # type: ignore[attr-defined]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data: `stacked-mnist` needs a folder of IDX files"):
        load("stacked-mnist", None)
    with pytest.raises(DataError, match="absent: no such folder"):
        load("stacked-mnist", tmp_path / "absent")
    with pytest.raises(DataError, match="`size`: means nothing to stacked-mnist"):
        load("stacked-mnist", tmp_path, size=8)
