"""Pictures, arrays and sounds from files: what they become, and what is refused in one line."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from latentserve.training.data import dataset as dataset_module
from latentserve.training.data import load
from latentserve.training.errors import DataError

RNG = np.random.default_rng(0)


def picture(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def refused(words: str, path: Path, **options: Any) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load("files", path, **options)
    assert "\n" not in str(caught.value)


class TestPictures:
    def test_class_folders_are_labels_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        grey = {label: noise(6, 4) for label in ("10", "9", "2")}
        for label, pixels in grey.items():
            picture(tmp_path / label / "deep" / "a.png", pixels)
        picture(tmp_path / "9" / "b.png", noise(6, 4))
        dataset = load("files", tmp_path)
        assert dataset.label_names == ["2", "9", "10"]
        assert dataset.labels.tolist() == [0, 1, 1, 2]
        assert dataset.samples.dtype == np.uint8
        assert dataset.description.shape == [1, 6, 4]
        np.testing.assert_array_equal(dataset.samples[0, 0], grey["2"])
        np.testing.assert_allclose(dataset.take(slice(3, 4))[0, 0], grey["10"] / 127.5 - 1, atol=1e-6)

    def test_one_colour_picture_makes_all_of_three_channels(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png", noise(4, 4))
        colour = noise(4, 4, 3)
        picture(tmp_path / "b.png", colour)
        (tmp_path / "notes.txt").write_text("no picture")
        dataset = load("files", tmp_path)
        assert dataset.label_names == []
        assert dataset.description.label_counts == []
        assert dataset.description.shape == [3, 4, 4]
        np.testing.assert_array_equal(dataset.samples[1], np.moveaxis(colour, -1, 0))

    def test_the_first_picture_of_another_size_is_named_and_size_brings_all_to_one(self, tmp_path: Path) -> None:
        for name, shape in (("a", (4, 4)), ("b", (4, 4)), ("c", (8, 6)), ("d", (2, 2))):
            picture(tmp_path / f"{name}.png", noise(*shape))
        refused("c.png: is 6x8 pixels, a.png is 4x4; `size` in the configuration", tmp_path)
        assert load("files", tmp_path, size=4).samples.shape == (4, 1, 4, 4)

    def test_a_picture_taken_on_its_side_is_turned(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture(tmp_path / "a.png", noise(4, 8))
        picture(tmp_path / "b.png", noise(8, 4), exif=exif)
        assert load("files", tmp_path).description.shape == [1, 4, 8]

    def test_train_and_test_are_the_two_parts(self, tmp_path: Path) -> None:
        for split, count in (("train", 3), ("test", 2)):
            for row in range(count):
                picture(tmp_path / split / "cat" / f"{row}.png", noise(4, 4))
        assert len(load("files", tmp_path)) == 3
        assert len(load("files", tmp_path, "test")) == 2
        assert load("files", tmp_path).label_names == []  # one class says nothing

    def test_the_content_is_what_the_digest_is_of(self, tmp_path: Path) -> None:
        pixels = noise(5, 4, 4)
        for row, one in enumerate(pixels):
            picture(tmp_path / "pngs" / f"{row}.png", one)
        np.save(tmp_path / "same.npy", pixels)
        np.save(tmp_path / "other.npy", 255 - pixels)
        digests = [load("files", tmp_path / name).description.sha256 for name in ("pngs", "same.npy", "other.npy")]
        assert digests[0] == digests[1] != digests[2]

    def test_many_lie_in_a_mapped_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pixels = noise(5, 4, 4)
        for row, one in enumerate(pixels):
            picture(tmp_path / f"{row}.png", one)
        plain = load("files", tmp_path)
        monkeypatch.setattr(dataset_module, "IN_MEMORY", 10)
        monkeypatch.setattr(dataset_module, "CHUNK", 7)
        mapped = load("files", tmp_path)
        assert isinstance(mapped.samples, np.memmap)
        assert mapped.description == plain.description
        assert mapped.subset(np.array([3, 1])).take(slice(None)).tolist() == plain.take(np.array([3, 1])).tolist()

    def test_a_folder_that_is_no_data_set_is_one_line(self, tmp_path: Path) -> None:
        refused("absent: no such file or folder", tmp_path / "absent")
        refused("no pictures, recordings, tables or arrays in it", tmp_path)
        good = picture(tmp_path / "one" / "a.png", noise(4, 4))
        refused("one sample", tmp_path / "one")
        picture(tmp_path / "two" / "b.png", noise(4, 4))
        loose = picture(tmp_path / "loose.png", noise(4, 4))
        refused("loose.png: lies beside class folders such as one", tmp_path)
        loose.unlink()
        (tmp_path / "two" / "b.png").write_bytes(good.read_bytes()[:60])
        refused("b.png: ", tmp_path)
        (tmp_path / "two" / "b.png").write_bytes(b"text")
        refused("b.png: not a picture", tmp_path)
        picture(tmp_path / "two" / "b.png", noise(4, 4).astype(np.uint16))
        refused("b.png: more than 8 bits a channel", tmp_path)
        refused("no folder test or val", tmp_path, split="test")
        refused("`label`: means nothing to a folder", tmp_path, label="class")

    @pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
    def test_a_folder_that_may_not_be_read_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "closed").mkdir(mode=0)
        refused("closed: cannot be read: Permission denied", tmp_path)


class TestArrays:
    @pytest.mark.parametrize(
        ("samples", "kind", "shape"),
        [
            (noise(3, 5, 6), "image", [1, 5, 6]),
            (noise(3, 5, 6, 3), "image", [3, 5, 6]),
            (noise(3, 5, 6, 4), "image", [3, 5, 6]),
            (noise(3, 3, 5, 6), "image", [3, 5, 6]),
            (RNG.random((3, 1, 5, 6)), "image", [1, 5, 6]),
            (RNG.normal(size=(3, 2)) * 100, "array", [2]),
            (RNG.normal(size=(3, 2, 500)), "array", [2, 500]),
            (RNG.integers(-5, 5, (3, 7)), "array", [7]),
        ],
    )
    def test_what_an_array_holds_is_seen_from_its_shape_and_type(
        self, tmp_path: Path, samples: np.ndarray, kind: str, shape: list[int]
    ) -> None:
        np.save(tmp_path / "a.npy", samples)
        dataset = load("files", tmp_path / "a.npy")
        assert (dataset.kind, dataset.description.shape) == (kind, shape)
        taken = dataset.take(slice(None))
        assert taken.dtype == np.float32
        if kind == "image":
            assert -1 <= taken.min() < -0.9
            assert 0.9 < taken.max() <= 1
        else:
            np.testing.assert_array_equal(taken, samples.astype(np.float32))
            axes = (0, *range(2, samples.ndim))
            np.testing.assert_allclose(dataset.description.mean or [], taken.mean(axis=axes, dtype=float), rtol=1e-5)
            np.testing.assert_allclose(dataset.description.std or [], taken.std(axis=axes, dtype=float), rtol=1e-5)

    def test_an_npy_file_is_mapped(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", noise(10, 8, 8))
        samples = load("files", tmp_path / "a.npy").samples
        while not isinstance(samples, np.memmap):
            samples = samples.base
        assert samples.mode == "r"

    def test_an_archive_has_labels_and_a_held_out_part(self, tmp_path: Path) -> None:
        x, y = noise(4, 8, 8), np.array([5, 3, 5, 9])
        np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
        train, test = load("files", tmp_path / "a.npz"), load("files", tmp_path / "a.npz", "test")
        assert (train.label_names, train.labels.tolist()) == (["3", "5", "9"], [1, 0, 1, 2])
        assert (test.label_names, test.labels.tolist()) == (["3", "5", "9"], [1, 0])
        np.savez(tmp_path / "b.npz", samples=x, labels=np.array([0, 1, 1, 0]), label_names=np.array(["cat", "dog"]))
        assert load("files", tmp_path / "b.npz").label_names == ["cat", "dog"]

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"x": np.array([[1, np.nan], [1, 2]])}, "`x`: sample 0 holds values that are no finite float32"),
            ({"x": np.array([[1, 2], [1e300, 2]])}, "`x`: sample 1 holds"),
            ({"x": np.zeros((1, 2))}, "one sample"),
            ({"x": np.zeros(3)}, r"`x`: shape \[3\] of float64"),
            ({"x": np.zeros((0, 2))}, r"`x`: shape \[0, 2\]"),
            ({"x": np.array([["a", "b"]])}, "numbers .N, .... are needed"),
            ({"x": np.full((3, 1, 4, 4), 9.0)}, "values from 9 to 9; pictures are in"),
            ({"z": np.zeros((3, 2)), "w": np.zeros(3)}, "no array of samples in it; there are z, w: name one"),
            ({"arr_0": noise(3, 8, 8), "arr_1": noise(3), "arr_2": noise(2, 8, 8)}, "which of arr_0, arr_1, arr_2 are"),
            ({"x": noise(8, 9, 3)}, r"shape \[8, 9, 3\] is one picture; samples come first"),
            ({"x": noise(8, 8, 3, 20), "y": np.zeros(20)}, r"has the samples last; bring them first by numpy.moveaxis"),
            ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "2 labels for 3 samples"),
            ({"x": np.zeros((3, 2)), "y": np.zeros((3, 2, 2))}, "labels of shape"),
            ({"x": np.zeros((2, 2)), "y": np.array([0, 2]), "classes": np.array(["a", "b"])}, "label 2; `label_names`"),
            ({"x": np.array([{}, {}])}, "`x` cannot be read"),
        ],
    )
    def test_an_archive_that_cannot_be_learned_is_one_line(
        self, tmp_path: Path, arrays: dict[str, np.ndarray], words: str
    ) -> None:
        np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
        refused(words, tmp_path / "a.npz")

    def test_transparent_pixels_are_laid_on_white(self, tmp_path: Path) -> None:
        pixels = noise(5, 6, 4, 4)
        pixels[..., 3] = 255
        np.save(tmp_path / "opaque.npy", pixels)
        opaque = load("files", tmp_path / "opaque.npy")
        np.testing.assert_array_equal(opaque.samples, pixels[..., :3].transpose(0, 3, 1, 2))
        assert opaque.notes == ("left out: the fourth channel, which is opaque everywhere",)
        pixels[2, :, :, 3] = 0
        pixels[3, :, :, 3] = 51
        np.save(tmp_path / "through.npy", pixels)
        laid = load("files", tmp_path / "through.npy")
        assert laid.notes == ("2 are transparent and were laid on white",)
        assert (laid.samples[2] == 255).all()
        fifth = 0.2 * pixels[3, :, :, :3].transpose(2, 0, 1) + 0.8 * 255
        np.testing.assert_array_equal(laid.samples[3], np.rint(fifth))
        np.save(tmp_path / "floats.npy", pixels.transpose(0, 3, 1, 2) / np.float32(255))
        floats = load("files", tmp_path / "floats.npy")
        np.testing.assert_allclose(floats.take(slice(0, 5)), laid.take(slice(0, 5)), atol=0.005)
        np.save(tmp_path / "signed.npy", pixels.transpose(0, 3, 1, 2) / np.float32(127.5) - 1)
        refused("four channels with values below 0", tmp_path / "signed.npy")

    def test_a_label_of_the_held_out_part_alone_is_named(self, tmp_path: Path) -> None:
        x = noise(3, 4, 4)
        np.savez(tmp_path / "a.npz", x_train=x, y_train=[0, 1, 1], x_test=x, y_test=[0, 1, 7])
        refused("label 7 is in the held-out part alone", tmp_path / "a.npz", split="test")

    def test_files_that_are_something_else_are_named(self, tmp_path: Path) -> None:
        for suffix in (".npy", ".npz"):
            (tmp_path / f"a{suffix}").write_bytes(b"something else")
            refused(f"a{suffix}: cannot be read", tmp_path / f"a{suffix}")
        np.save(tmp_path / "swapped.npy", noise(3, 4, 4))
        np.savez(tmp_path / "swapped.npz", x=noise(3, 4, 4))
        (tmp_path / "swapped.npy").rename(tmp_path / "array.npz")
        (tmp_path / "swapped.npz").rename(tmp_path / "archive.npy")
        refused("cannot be read as .npz: it is the other one", tmp_path / "array.npz")
        refused("cannot be read as .npy: it is the other one", tmp_path / "archive.npy")
        (tmp_path / "a.bin").write_bytes(b"")
        refused("a.bin: the suffix must be one of .npy", tmp_path / "a.bin")
        np.save(tmp_path / "b.npy", noise(3, 4, 4))
        refused("`size`: means nothing to a .npy file", tmp_path / "b.npy", size=4)


class TestSounds:
    @pytest.mark.parametrize(
        ("frames", "scaled"),
        [
            (np.array([0, 128, 255], np.uint8), [-1, 0, 127 / 128]),
            (np.array([-32768, 0, 32767], np.int16), [-1, 0, 32767 / 32768]),
            (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
            (np.array([-1, 0, 0.25], np.float32), [-1, 0, 0.25]),
        ],
    )
    def test_every_type_becomes_minus_one_to_one(self, tmp_path: Path, frames: np.ndarray, scaled: list[float]) -> None:
        for name in "ab":
            wavfile.write(tmp_path / f"{name}.wav", 8000, frames)
        dataset = load("files", tmp_path)
        assert (dataset.kind, dataset.sample_rate, dataset.description.shape) == ("audio", 8000, [1, 3])
        np.testing.assert_allclose(dataset.take(slice(None)), [[scaled]] * 2, atol=1e-7)

    def test_channels_come_before_frames_and_classes_are_folders(self, tmp_path: Path) -> None:
        stereo = RNG.integers(-99, 99, (50, 2), dtype=np.int16)
        for label in ("bark", "meow"):
            (tmp_path / label).mkdir()
            wavfile.write(tmp_path / label / "a.wav", 16000, stereo)
        dataset = load("files", tmp_path)
        assert dataset.label_names == ["bark", "meow"]
        np.testing.assert_array_equal(dataset.samples[1], stereo.T)

    def test_size_cuts_what_is_longer(self, tmp_path: Path) -> None:
        frames = np.arange(25, dtype=np.int16)
        wavfile.write(tmp_path / "long.wav", 8000, frames)
        dataset = load("files", tmp_path / "long.wav", size=10)
        np.testing.assert_array_equal(dataset.samples[:, 0], frames[:20].reshape(2, 10))
        refused("long.wav: 25 frames; `size` asks for 30", tmp_path, size=30)

    @pytest.mark.parametrize(
        ("rate", "frames", "words"),
        [
            (8000, np.zeros(5, np.int16), "b.wav: 5 frames; a.wav has 9; `size` in the configuration"),
            (4000, np.zeros(9, np.int16), "b.wav: 18 frames; a.wav has 9"),
            (8000, np.full(9, 1.5, np.float32), "b.wav: floats up to 1.5, too loud; a generator makes -1 to 1"),
            (8000, np.full(9, 3e4, np.float32), "b.wav: floats up to 30000, whole numbers that were written as floats"),
            (8000, np.zeros(0, np.int16), "b.wav: no sound in it"),
        ],
    )
    def test_the_first_that_differs_is_named(self, tmp_path: Path, rate: int, frames: np.ndarray, words: str) -> None:
        wavfile.write(tmp_path / "a.wav", 8000, np.zeros(9, np.int16))
        wavfile.write(tmp_path / "b.wav", rate, frames)
        refused(words, tmp_path)

    def test_other_formats_rates_and_channels_are_brought_to_one(self, tmp_path: Path) -> None:
        soundfile = pytest.importorskip("soundfile", reason="needs latentserve[audio]")
        time = np.arange(8000) / 8000
        tone = 0.5 * np.sin(2 * np.pi * 440 * time)
        soundfile.write(tmp_path / "a.flac", tone, 8000, subtype="PCM_24")
        soundfile.write(tmp_path / "b.wav", np.stack([tone, 0.5 * tone], axis=1), 8000)
        fine = np.arange(16_000) / 16_000
        soundfile.write(tmp_path / "c.flac", 0.5 * np.sin(2 * np.pi * 440 * fine), 16_000)
        soundfile.write(tmp_path / "d.mp3", tone, 8000)
        (tmp_path / "cover.jpg").write_bytes(b"")
        dataset = load("files", tmp_path, size=4000)
        assert dataset.sample_rate == 8000
        assert dataset.samples.shape == (8, 1, 4000)
        said = "\n".join(dataset.notes)
        for words in (
            "8,000 Hz of 3, 16,000 Hz of 1",
            "1 of several channels were mixed",
            "cut into 8 windows",
            "left out: 1 .jpg",
        ):
            assert words in said
        of_flac, of_resampled = (np.concatenate(dataset.take(slice(at, at + 2))[:, 0]) for at in (0, 4))
        np.testing.assert_allclose(of_flac, tone, atol=1e-6)
        np.testing.assert_allclose(of_resampled[100:-100], tone[100:-100], atol=1e-3)
        np.testing.assert_allclose(np.concatenate(dataset.take(slice(2, 4))[:, 0]), 0.75 * tone, atol=1e-4)

    def test_broken_ones_are_named(self, tmp_path: Path) -> None:
        wavfile.write(tmp_path / "a.wav", 8000, np.array([0, np.nan], np.float32))
        wavfile.write(tmp_path / "b.wav", 8000, np.zeros(2, np.float32))
        refused("a.wav: frame 1 is not finite", tmp_path)
        (tmp_path / "a.wav").write_bytes(b"RIFF....")
        refused("a.wav: cannot be read as WAV", tmp_path)


def test_a_data_set_of_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    refused("hf:ylecun/mnist: the package `datasets` is not installed", Path("hf:ylecun/mnist"))
