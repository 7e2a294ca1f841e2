"""Arrays as strangers save them: by which names, in which layout, with which values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentserve.training.data import load, summary
from latentserve.training.errors import DataError

RNG = np.random.default_rng(0)
LABELS = np.arange(6) % 2


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("arrays", "held_out"),
    [
        ({"x_train": noise(6, 8, 8), "y_train": LABELS, "x_test": noise(2, 8, 8), "y_test": LABELS[:2]}, 2),
        ({"X_train": noise(6, 8, 8), "Y_train": LABELS, "X_valid": noise(3, 8, 8), "Y_valid": LABELS[:3]}, 3),
        ({"trainX": noise(6, 8, 8), "trainY": LABELS, "testX": noise(1, 8, 8), "testY": LABELS[:1]}, 1),
        (
            {f"{of}_{what}": noise(n, 8, 8) if what == "images" else LABELS[:n, None]
             for of, n in (("train", 6), ("val", 2), ("test", 3)) for what in ("images", "labels")},
            3,
        ),
        ({"X": noise(6, 8, 8), "y": LABELS}, 0),
        ({"imgs": noise(6, 8, 8), "target": LABELS.astype(np.float32)}, 0),
        ({"images": noise(6, 8, 8), "labels": np.eye(2)[LABELS]}, 0),
        ({"images": noise(6, 8, 8), "labels": np.array(["0", "1"])[LABELS]}, 0),
        ({"images": noise(6, 8, 8), "labels": np.array([b"0", b"1"])[LABELS]}, 0),
        ({"arr_0": noise(6, 8, 8), "arr_1": LABELS}, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("apart", [False, True])
def test_arrays_are_known_by_their_names(
    tmp_path: Path, arrays: dict[str, np.ndarray], held_out: int, apart: bool
) -> None:
    """In an archive, or as files of a folder."""
    path = tmp_path / "all.npz"
    if apart and "arr_0" in arrays:
        pytest.skip("files have names")
    if apart:
        path = tmp_path
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
    else:
        np.savez(path, **arrays)  # type: ignore[arg-type]
    dataset = load("files", path)
    assert (dataset.kind, dataset.description.shape) == ("image", [1, 8, 8])
    assert (dataset.label_names, dataset.labels.tolist()) == (["0", "1"], LABELS.tolist())
    if held_out:
        part = load("files", path, "test")
        assert (len(part), part.label_names) == (held_out, ["0", "1"])
        assert part.labels.tolist() == LABELS[:held_out].tolist()
    else:
        with pytest.raises(DataError, match="no array of held-out samples"):
            load("files", path, "test")


PIXELS = noise(6, 9, 8, 3)


@pytest.mark.parametrize(
    "samples",
    [
        PIXELS,
        PIXELS.transpose(0, 3, 1, 2),
        PIXELS.astype(np.int64),
        PIXELS.astype(np.float32),
        PIXELS.transpose(0, 3, 1, 2).astype(np.float64),
        PIXELS / np.float32(255),
        PIXELS.transpose(0, 3, 1, 2) / np.float32(255),
        PIXELS / np.float32(127.5) - 1,
    ],
)
def test_a_picture_is_the_same_however_it_is_stored(tmp_path: Path, samples: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", samples)
    dataset = load("files", tmp_path / "a.npy")
    assert (dataset.kind, dataset.description.shape) == ("image", [3, 9, 8])
    expected = PIXELS.transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(dataset.take(slice(None)), expected, atol=1e-6)


FLAT = noise(6, 28 * 28)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (FLAT, "784 bytes each are taken as 28x28 pixels"),
        (FLAT.reshape(6, 28, 28), ""),
        (FLAT.reshape(6, 28, 28) / 255, r"[N, 28, 28] are taken as grey pictures"),
        (FLAT.reshape(6, 28, 28).astype(float), "are taken as grey pictures"),
    ],
)
def test_grey_pictures(tmp_path: Path, samples: np.ndarray, told: str) -> None:
    np.save(tmp_path / "a.npy", samples)
    dataset = load("files", tmp_path / "a.npy")
    assert told in "\n".join(summary(dataset))
    np.testing.assert_allclose(dataset.take(slice(None)).reshape(6, -1), FLAT / 127.5 - 1, atol=1e-6)


def test_what_has_two_values_is_black_and_white(tmp_path: Path) -> None:
    mask = noise(6, 16, 16) > 127
    for name, samples in (("bools", mask), ("bytes", mask.astype(np.uint8)), ("floats", mask.astype(float))):
        np.save(tmp_path / f"{name}.npy", samples)
        dataset = load("files", tmp_path / f"{name}.npy")
        assert "values are 0 and 1 alone: 1 is white" in dataset.notes
        np.testing.assert_array_equal(dataset.take(slice(None))[:, 0], np.where(mask, 1, -1))


@pytest.mark.parametrize(
    ("samples", "kind", "told"),
    [
        (RNG.integers(0, 17, (6, 8, 8)).astype(float), "array", "are no pictures, whose values are in"),
        (RNG.integers(0, 65536, (6, 8, 8), np.uint16), "array", "are no pictures, whose values are in"),
        (RNG.normal(0, 99, (6, 8, 8, 1)), "array", "are no pictures, whose values are in"),
        (RNG.integers(0, 17, (6, 8, 8)).astype(np.uint8), "image", "the brightest value is 16, and 255 is white"),
        (RNG.normal(size=(6, 2, 24)), "array", ""),
    ],
)
def test_values_that_no_picture_has_are_told(tmp_path: Path, samples: np.ndarray, kind: str, told: str) -> None:
    np.save(tmp_path / "a.npy", samples)
    dataset = load("files", tmp_path / "a.npy")
    assert dataset.kind == kind
    assert told in "\n".join(dataset.notes)


WALKS = np.cumsum(RNG.normal(size=(40, 3, 24)), axis=2) + np.array([0, 20, 400])[:, None]  # [N, channels, steps]


@pytest.mark.parametrize(
    ("samples", "expected", "told"),
    [
        (WALKS, WALKS, ""),
        (WALKS.transpose(0, 2, 1), WALKS, "[N, 24, 3] are taken as series of 3 channels and 24 steps, channels first"),
        (WALKS[:, :1].transpose(0, 2, 1), WALKS[:, :1], "[N, 24, 1] are taken as series of 1 channels"),
        (WALKS[:, :, :2], WALKS[:, :, :2], ""),
        (WALKS * (np.arange(24) < 20 - np.arange(40)[:, None, None] % 4), None, "40 of 40 begin or end in zeros"),
        (RNG.normal(size=(40, 24, 3)), None, "are taken as series of 3 channels"),
        # Of ten channels that say the same, and of as many steps, neither tells.
        (np.repeat(WALKS[:, :1, :12], 10, axis=1).transpose(0, 2, 1), None, "if they are of 12 steps and 10 channels"),
        (np.cumsum(RNG.normal(size=(300, 2)), axis=0), None, "each row is close to the one before, as in one series"),
    ],
)
def test_series_have_their_channels_first(
    tmp_path: Path, samples: np.ndarray, expected: np.ndarray | None, told: str
) -> None:
    np.save(tmp_path / "a.npy", samples)
    dataset = load("files", tmp_path / "a.npy")
    assert told in "\n".join(dataset.notes)
    assert bool(dataset.notes) == bool(told)
    if expected is not None:
        np.testing.assert_array_equal(dataset.samples, expected)


@pytest.mark.parametrize(
    ("labels", "names"),
    [(RNG.integers(0, 2, (6, 3)), ["labels_0", "labels_1", "labels_2"]), (RNG.random(6), ["labels"])],
)
def test_labels_that_are_no_classes_are_numbers_to_ask_for(tmp_path: Path, labels: Any, names: list[str]) -> None:
    labels[:2] = [[0, 0, 1], [1, 1, 0]] if labels.ndim == 2 else [0.5, 0.25]
    np.savez(tmp_path / "a.npz", images=noise(6, 8, 8), labels=labels, extra=noise(2))
    dataset = load("files", tmp_path / "a.npz")
    assert (dataset.label_names, dataset.condition_names) == ([], names)
    assert dataset.notes[:2] == ("`images` holds the samples, `labels` their labels", "left out: extra")
