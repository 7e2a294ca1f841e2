"""Data sets of the package `datasets`, from folders that it reads as it reads those of the hub."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentserve.training.data import load
from latentserve.training.errors import DataError

pytest.importorskip("datasets", reason="needs the package datasets")


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_pictures_have_their_classes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6), np.uint8)
    for label, of_label in zip(("cat", "dog"), pixels, strict=True):
        (tmp_path / "pets" / "train" / label).mkdir(parents=True)
        for row, one in enumerate(of_label):
            Image.fromarray(one).save(tmp_path / "pets" / "train" / label / f"{row}.png")
    name = Path(f"hf:{tmp_path / 'pets'}")
    dataset = load("files", name)
    assert (dataset.name, dataset.label_names, dataset.labels.tolist()) == ("pets", ["cat", "dog"], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(dataset.samples[:, 0], pixels.reshape(6, 6, 6))
    assert dataset.description.sha256 == load("files", tmp_path / "pets" / "train").description.sha256
    assert load("files", name, size=3).description.shape == [1, 3, 3]
    with pytest.raises(DataError, match="no part test or validation; there are train"):
        load("files", name, "test")
    with pytest.raises(DataError, match="column `species` is none of classes"):
        load("files", name, label="species")


def test_a_table_is_the_table_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "train.csv").write_text("age,work\n39,a\n38,b\n40.5,a\n")
    dataset = load("files", Path(f"hf:{tmp_path / 'people'}"), label="work")
    assert dataset.description.columns == load("files", tmp_path / "people" / "train.csv").description.columns
    np.testing.assert_array_equal(dataset.samples, [[39, 0], [38, 1], [40.5, 0]])
    assert dataset.label_names == ["a", "b"]


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"hf:.*absent: cannot be loaded: ") as caught:
        load("files", Path(f"hf:{tmp_path / 'absent'}"))
    assert "\n" not in str(caught.value)
