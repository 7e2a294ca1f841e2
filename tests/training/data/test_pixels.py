"""Tables whose rows are pictures."""

from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load, summary
from latentserve.training.errors import DataError
from latentserve.training.fitting import fit

RNG = np.random.default_rng(0)
SIDE, ROWS = 16, 12
PIXELS = RNG.integers(0, 256, (ROWS, SIDE * SIDE))
LABELS = np.arange(ROWS) % 3


def written(path: Path, header: list[str] | None, columns: np.ndarray) -> Path:
    rows = [",".join(map(str, row)) for row in columns.tolist()]
    path.write_text("\n".join([*([",".join(header)] if header else []), *rows]))
    return path


NAMES = [f"pixel{at}" for at in range(SIDE * SIDE)]
TABLES = {
    "digit-recognizer": (["label", *NAMES], np.c_[LABELS, PIXELS]),
    "rows-and-columns": (["label", *(f"{y}x{x}" for y in range(SIDE) for x in range(SIDE))], np.c_[LABELS, PIXELS]),
    "label-last": ([*NAMES, "class"], np.c_[PIXELS, LABELS]),
    "numbers": (["label", *(str(at) for at in range(SIDE * SIDE))], np.c_[LABELS, PIXELS]),
    "no-names": (None, np.c_[LABELS, PIXELS]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_column_for_each_pixel(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "train.csv", *TABLES[kind])
    dataset = load("files", path)
    assert (dataset.kind, dataset.description.shape) == ("image", [1, SIDE, SIDE])
    np.testing.assert_array_equal(dataset.samples.reshape(ROWS, -1), PIXELS)
    assert (dataset.label_names, dataset.labels.tolist()) == (["0", "1", "2"], LABELS.tolist())
    assert f"256 columns are pixels of pictures, {SIDE}x{SIDE}, grey" in dataset.notes
    chosen = fit(path, gpu=False)
    assert (chosen.recipe, chosen.overrides) == ("pictures-32", ("size=null",))
    with pytest.raises(DataError, match=r"`size`: means nothing to pictures of 16x16 pixels .*--set size=null"):
        load("files", path, size=32)


def test_a_table_of_each_split(tmp_path: Path) -> None:
    header, columns = TABLES["digit-recognizer"]
    written(tmp_path / "mnist_train.csv", header, columns)
    written(tmp_path / "mnist_test.csv", header, columns[:6])
    assert [len(load("files", tmp_path, split)) for split in ("train", "test")] == [ROWS, 6]


@pytest.mark.parametrize("folder", [False, True])
def test_a_text_of_all_pixels(tmp_path: Path, folder: bool) -> None:
    usage = ["Training"] * 8 + ["PublicTest"] * 4
    rows = [f"{label},{' '.join(map(str, row))},{use}" for label, row, use in zip(LABELS, PIXELS, usage, strict=True)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    path = tmp_path if folder else tmp_path / "fer2013.csv"
    dataset, part = load("files", path), load("files", path, "test")
    np.testing.assert_array_equal(np.concatenate([dataset.samples, part.samples]).reshape(ROWS, -1), PIXELS)
    assert (dataset.label_names, part.labels.tolist()) == (["0", "1", "2"], LABELS[8:].tolist())
    assert "`Usage` says the splits" in "\n".join(summary(dataset, part))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["label", *NAMES[:200]], np.c_[LABELS, PIXELS[:, :200]]),
        (["label", *NAMES], np.c_[LABELS, PIXELS // 16]),
        (["label", *NAMES], np.c_[LABELS, PIXELS - 9]),
    ],
)
def test_other_numbers_are_a_table(tmp_path: Path, header: list[str], columns: np.ndarray) -> None:
    """Of no square, without a bright one, or below 0."""
    assert load("files", written(tmp_path / "train.csv", header, columns)).kind == "table"
