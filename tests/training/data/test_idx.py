import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from latentserve.training.data import load
from latentserve.training.data.idx import read
from latentserve.training.errors import DataError
from latentserve.training.fitting import fit
from tests.digits import idx

LABELS = (np.arange(12) % 10).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = np.resize(np.arange(256, dtype=np.uint8), (12, 8, 8))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    return tmp_path


@given(
    array=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)),
    zipped=st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, zipped: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / ("file.gz" if zipped else "file")
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    got = read(path)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, array)


@given(
    array=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, max_side=5)),
    zipped=st.booleans(),
    data=st.data(),
)
def test_a_truncated_file_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, zipped: bool, data: st.DataObject
) -> None:
    content = gzip.compress(idx(array)) if zipped else idx(array)
    kept = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.mktemp("idx") / ("file.gz" if zipped else "file")
    path.write_bytes(content[:kept])
    with pytest.raises(DataError, match="file") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@given(content=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert read(path).nbytes <= len(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file"),
        (b"PK\x03\x04", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "IDX type 0x0d"),
        (b"\0\0\x08\x03\0\0\0\x01", "truncated IDX header"),
        (b"\0\0\x08\x00", "truncated IDX header"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: 0 values"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "too long: 3 values, 2 promised"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "file")


def test_images_are_scaled_and_labelled(folder: Path) -> None:
    dataset = load("mnist", folder)
    images = dataset.take(slice(None))
    assert images.shape == (12, 1, 8, 8)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images.ravel()[:256], np.linspace(-1, 1, 256), atol=1e-6)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.labels.dtype == np.int64
    assert dataset.description.label_counts == [2, 2] + [1] * 8


def test_a_digit_that_is_never_seen_is_named_and_files_have_the_labels_they_have(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx((np.arange(12) % 2 * 7).astype(np.uint8))))
    with pytest.raises(DataError, match="label 1 is never seen"):
        load("mnist", folder)
    dataset = load("files", folder)
    assert dataset.label_names == ["0", "7"]
    assert dataset.labels.tolist() == [0, 1] * 6
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 8, 8), np.uint8)))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([7, 3], np.uint8)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: label 3; expected a label of the training part"):
        load("files", folder, "test")


def test_the_digest_is_of_the_content(folder: Path) -> None:
    before = load("mnist", folder).description.sha256
    assert load("mnist", folder).description.sha256 == before
    content = bytearray((folder / "train-images-idx3-ubyte").read_bytes())
    content[-1] ^= 1
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    assert load("mnist", folder).description.sha256 != before


@pytest.mark.parametrize(
    ("file", "array", "words"),
    [
        ("train-labels-idx1-ubyte", np.arange(4, dtype=np.uint8), "4 labels for the 12 images"),
        ("train-labels-idx1-ubyte", np.full(12, 10, np.uint8), "label 10; expected 0 to 9"),
        ("train-labels-idx1-ubyte", np.zeros((5, 1), np.uint8), "2 dimensions; labels have 1"),
        ("train-images-idx3-ubyte", np.zeros((5, 64), np.uint8), "2 dimensions; images have 3"),
        ("train-images-idx3-ubyte", np.zeros((12, 0, 8), np.uint8), "no images"),
    ],
)
def test_files_that_disagree_are_named(folder: Path, file: str, array: np.ndarray, words: str) -> None:
    (folder / file).write_bytes(idx(array))
    with pytest.raises(DataError, match=words):
        load("mnist", folder)


def test_a_missing_empty_or_superfluous_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no such folder"):
        load("mnist", tmp_path / "absent")
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte or train-images-idx3-ubyte\.gz in it"):
        load("mnist", tmp_path)
    with pytest.raises(DataError, match="--data: `mnist` needs a folder"):
        load("mnist", None)
    with pytest.raises(DataError, match="--data: `digits` ships with scikit-learn"):
        load("digits", tmp_path)


def test_mnist_itself(mnist_folder: Path) -> None:
    train = load("mnist", mnist_folder)
    assert train.samples.shape == (60_000, 1, 28, 28)
    assert train.description.label_counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert load("mnist", mnist_folder, "test").samples.shape == (10_000, 1, 28, 28)


@pytest.mark.parametrize(
    "pattern",
    [
        "MNIST/raw/{}-{}-idx{}-ubyte",
        "{}-{}.idx{}-ubyte",
        "{}-{}-idx{}-ubyte.gz",
        "archive/{}-{}-idx{}-ubyte/{}-{}-idx{}-ubyte",
        "gzip/emnist-letters-{}-{}-idx{}-ubyte",
    ],
)
def test_files_like_mnists_are_found(tmp_path: Path, pattern: str) -> None:
    """However deep, and with what people put before and between; EMNIST's pictures are turned."""
    turned = "emnist" in pattern
    pixels = {"train": np.arange(48, dtype=np.uint8).reshape(4, 3, 4), "test": np.ones((2, 3, 4), np.uint8)}
    for split, images in pixels.items():
        called = split if turned or split == "train" else "t10k"
        for what, values in (("images", images), ("labels", np.arange(len(images), dtype=np.uint8) % 2)):
            said = (called, what, values.ndim)
            path = tmp_path / pattern.format(*said, *said)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(idx(values)) if path.suffix == ".gz" else idx(values))
    dataset, part = (load("files", tmp_path, split) for split in ("train", "test"))
    expected = pixels["train"].transpose(0, 2, 1) if turned else pixels["train"]
    np.testing.assert_array_equal(dataset.samples[:, 0], expected)
    assert (dataset.label_names, len(part)) == (["0", "1"], 2)
    images = next(file for file in tmp_path.rglob("*train*images*") if file.is_file())
    if "archive" not in pattern:  # whose labels lie elsewhere
        assert len(load("files", images)) == 4
    assert fit(tmp_path, gpu=False).recipe == "mnist"


def test_several_data_sets_of_idx_files_are_named(tmp_path: Path) -> None:
    for name in ("letters", "digits"):
        (tmp_path / f"emnist-{name}-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="emnist-digits, emnist-letters: name the file of images that is meant"):
        load("files", tmp_path)
