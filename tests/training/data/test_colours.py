"""Colours of profiles other than sRGB's."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from latentserve.training.data import load, summary

# Of Display P3: each primary's XYZ under D50, and from it to sRGB, in linear light.
PRIMARIES = {"r": (0.51512, 0.2412, -0.00105), "g": (0.29198, 0.69225, 0.04189), "b": (0.1571, 0.06657, 0.78407)}
TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
GAMMA = 2.2
RNG = np.random.default_rng(0)


def display_p3() -> bytes:
    """A profile of primaries and a gamma, as ICC.1 lays it out."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = (0.9642, 1.0, 0.8249)
    tags = {f"{name}XYZ": xyz(values) for name, values in PRIMARIES.items()} | {"wtpt": xyz(white)}
    tags |= {f"{name}TRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(GAMMA * 256)) for name in PRIMARIES}
    tags |= {"desc": b"desc\0\0\0\0" + struct.pack(">I", 11) + b"Display P3\0" + bytes(78), "cprt": b"text\0\0\0\0-\0"}
    table, body = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name.encode() + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + xyz(white)[8:]
    return head + bytes(128 - len(head)) + table + body


def saved(path: Path, pixels: np.ndarray, profile: bytes, mode: str = "RGB") -> None:
    Image.fromarray(pixels, mode).save(path, icc_profile=profile)


@pytest.fixture
def pixels() -> np.ndarray:
    return RNG.integers(60, 190, (8, 8, 3), np.uint8)


def test_a_wide_gamut_is_brought_to_srgb(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in "ab":
        saved(tmp_path / f"{name}.png", pixels, display_p3())
    dataset = load("files", tmp_path)
    linear = np.clip((pixels / 255) ** GAMMA @ TO_SRGB.T, 0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(expected - pixels).max() > 10
    np.testing.assert_allclose(dataset.samples[0].transpose(1, 2, 0), expected, atol=2.5)
    assert "brought to sRGB: 2 of Display P3" in dataset.notes


def test_srgb_and_what_cannot_be_read_stay_as_they_are(tmp_path: Path, pixels: np.ndarray) -> None:
    profiles = (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"no profile")
    for name, profile in zip("ab", profiles, strict=True):
        saved(tmp_path / f"{name}.png", pixels, profile)
    dataset = load("files", tmp_path)
    np.testing.assert_array_equal(dataset.samples, np.stack([pixels.transpose(2, 0, 1)] * 2))
    assert "1 have colour profiles that cannot be read, and are taken as sRGB" in "\n".join(summary(dataset))


def test_what_is_transparent_stays_so(tmp_path: Path, pixels: np.ndarray) -> None:
    clear = np.dstack([pixels, np.zeros((8, 8), np.uint8)])
    for name in "ab":
        saved(tmp_path / f"{name}.png", clear, display_p3(), "RGBA")
    assert (load("files", tmp_path).samples == 255).all()


def test_a_guess_at_print_is_told(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"{name}.jpg")
    dataset = load("files", tmp_path)
    assert "2 are of CMYK without a profile; their colours are a guess" in dataset.notes
    assert (np.abs(dataset.samples[0, :, 0, 0].astype(int) - (255, 0, 0)) < 8).all()
