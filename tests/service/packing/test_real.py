"""Real samples: pictures and arrays become what the generator would have given; what is not is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.errors import BundleError
from latentserve.service.packing.real import KEPT, keep_real, read_real

GREY = SampleSpec(kind="image", shape=[1, 6, 4], value_range=(-1, 1), channels="L")
COLOUR = SampleSpec(kind="image", shape=[3, 6, 4], value_range=(0, 1), channels="RGB")
ARRAY = SampleSpec(kind="array", shape=[5])


def pictures(folder: Path, n: int = 40, size: tuple[int, int] = (4, 6)) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(n):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")
    return folder


def test_pictures_are_in_the_samples_range(tmp_path: Path) -> None:
    samples, count = read_real(pictures(tmp_path / "p"), COLOUR)
    assert (samples.shape, samples.dtype, count) == ((40, 3, 6, 4), np.float32, 40)
    first = np.asarray(Image.open(tmp_path / "p" / "000.png"))
    np.testing.assert_allclose(samples[0], np.moveaxis(first, -1, 0) / 255, atol=1e-6)
    grey, _ = read_real(tmp_path / "p", GREY)
    assert grey.shape == (40, 1, 6, 4)
    assert -1 <= grey.min() < -0.5 < 0.5 < grey.max() <= 1


def test_pictures_of_another_size_are_resized(tmp_path: Path) -> None:
    samples, _ = read_real(pictures(tmp_path / "p", size=(16, 12)), COLOUR)
    assert samples.shape == (40, 3, 6, 4)


def test_many_are_a_random_choice(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.arange(5000 * 5, dtype=np.float64).reshape(5000, 5))
    samples, count = read_real(tmp_path / "many.npy", ARRAY)
    assert (samples.shape, samples.dtype, count) == ((KEPT, 5), np.float32, 5000)
    assert len(np.unique(samples[:, 0])) == KEPT
    assert samples[:, 0].mean() == pytest.approx(12_500, rel=0.1)


def broken_picture(folder: Path) -> Path:
    (pictures(folder / "p") / "007.png").write_bytes(b"nonsense")
    return folder / "p"


def array(values: np.ndarray) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        np.save(folder / "real.npy", values)
        return folder / "real.npy"

    return save


def nonsense(folder: Path) -> Path:
    (folder / "real.npy").write_bytes(b"nonsense")
    return folder / "real.npy"


BAD: dict[str, tuple[Callable[[Path], Path], SampleSpec, str]] = {
    "not there": (lambda folder: folder / "nothing", GREY, "no such file or folder"),
    "an empty folder": (lambda folder: pictures(folder / "p", 0), GREY, "holds 0 real samples"),
    "a few": (lambda folder: pictures(folder / "p", 5), GREY, "holds 5 real samples; 32 are the least"),
    "a picture that is none": (broken_picture, GREY, "007.png: not a picture"),
    "pictures of vectors": (lambda folder: pictures(folder / "p"), ARRAY, "samples that are array"),
    "no array": (nonsense, ARRAY, "not an .npy file"),
    "objects": (array(np.array([None] * 50)), ARRAY, "not an .npy file"),
    "text": (array(np.full((50, 5), "a")), ARRAY, "numbers of shape [n, 5]"),
    "another shape": (array(np.zeros((50, 4))), ARRAY, "real samples of shape [50, 4]"),
    "one number": (array(np.array(1.0)), ARRAY, "numbers of shape [n, 5]"),
    "not finite": (array(np.full((50, 5), np.nan)), ARRAY, "not finite"),
    "bytes for a range of 2": (array(np.full((50, 1, 6, 4), 200.0)), GREY, "samples are in [-1, 1]"),
}


@pytest.mark.parametrize(("make", "spec", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_one_line(tmp_path: Path, make: Callable[[Path], Path], spec: SampleSpec, words: str) -> None:
    path = make(tmp_path)
    with pytest.raises(BundleError) as told:
        read_real(path, spec)
    assert str(told.value).startswith(str(path))
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_several_arrays_are_not_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", a=np.zeros((50, 5)))
    with pytest.raises(BundleError, match="several arrays"):
        read_real(tmp_path / "real.npz", ARRAY)


def test_bytes_are_numbers() -> None:
    spec = SampleSpec(kind="image", shape=[1, 2, 2], value_range=(0, 255), channels="L")
    samples, _ = keep_real(np.full((40, 1, 2, 2), 255, np.uint8), spec, "real")
    assert samples.dtype == np.float32
    assert samples.max() == 255
