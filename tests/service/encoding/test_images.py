"""Pictures: rounding, contact sheets, files that other programs read, and the mark that they are synthetic."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from latentserve.service.encoding.images import contact_sheet, png, to_uint8, webp
from latentserve.service.encoding.provenance import Provenance

MADE_BY = Provenance("toy", "0123456789ab", 7, 3)


def encode(image: np.ndarray[Any, Any], provenance: Provenance, form: str = "png") -> bytes:
    return b"".join(png(image, provenance)) if form == "png" else webp(np.moveaxis(image, 0, -1), provenance)


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-3.0, 0.5)])
def test_every_grey_level_comes_back(value_range: tuple[float, float]) -> None:
    low, high = value_range
    levels = np.arange(256)
    values = (low + levels / 255 * (high - low)).astype(np.float32)
    assert to_uint8(values, value_range).tolist() == levels.tolist()
    # Less than half a level off it is still the same one.
    assert to_uint8(values + np.float32(0.4 * (high - low) / 255), value_range).tolist() == levels.tolist()


def test_what_is_outside_is_clipped_and_what_is_no_number_is_black() -> None:
    values = np.array([-1.5, -1, 1, 1.5, 1e30, -1e30, np.nan, np.inf, -np.inf, np.float32(3e38)], np.float32)
    assert to_uint8(values, (-1, 1)).tolist() == [0, 0, 255, 255, 255, 0, 0, 255, 0, 255]


@given(values=hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
def test_any_values(values: np.ndarray[Any, Any]) -> None:
    pixels = to_uint8(values, (-1, 1))
    assert pixels.dtype == np.uint8
    order = np.argsort(values[~np.isnan(values)])
    assert (np.diff(pixels[~np.isnan(values)][order].astype(int)) >= 0).all()


@given(n=st.integers(1, 30), channels=st.sampled_from([1, 3, 4]), height=st.integers(1, 5), width=st.integers(1, 5))
def test_a_contact_sheet_holds_every_image_in_reading_order(n: int, channels: int, height: int, width: int) -> None:
    pictures = np.random.default_rng(0).integers(1, 256, (n, channels, height, width)).astype(np.uint8)
    sheet = contact_sheet(pictures)
    columns = next(c for c in range(1, 31) if c * c >= n)
    rows = -(-n // columns)
    assert sheet.shape == (channels, rows * (height + 2) - 2, columns * (width + 2) - 2)
    for index, image in enumerate(pictures):
        top, left = index // columns * (height + 2), index % columns * (width + 2)
        assert np.array_equal(sheet[:, top : top + height, left : left + width], image)
    # All else is black: the sheet holds nothing but the images.
    assert int(sheet.astype(np.int64).sum()) == int(pictures.astype(np.int64).sum())


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_other_programs_read_it(form: Any, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 5, 7)).astype(np.uint8)
    pixels[3:] = 255 if form == "webp" else pixels[3:]  # WebP may forget the colour of what cannot be seen
    image = Image.open(io.BytesIO(encode(pixels, MADE_BY, form)))
    assert image.format == form.upper()
    shown = np.asarray(image.convert(mode)).reshape(5, 7, channels)
    assert np.array_equal(np.moveaxis(shown, -1, 0), pixels)


@pytest.mark.parametrize("form", ["png", "webp"])
def test_it_says_that_it_is_synthetic(form: Any) -> None:
    """As IPTC's property in XMP, where picture tools look for it."""
    image = Image.open(io.BytesIO(encode(np.zeros((1, 4, 4), np.uint8), MADE_BY, form)))
    image.load()
    packet = image.info["xmp"].decode()
    tree = ElementTree.fromstring(packet[packet.index("<x:xmpmeta") : packet.rindex("<?xpacket")])  # noqa: S314
    (description,) = tree.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    iptc, adobe = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}", "{http://ns.adobe.com/xap/1.0/}"
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert description.get(f"{iptc}DigitalSourceType") == source
    assert description.get(f"{adobe}CreatorTool") == "latentserve toy 0123456789ab"


def test_a_png_says_which_generator_seed_and_row() -> None:
    image = Image.open(io.BytesIO(encode(np.zeros((1, 4, 4), np.uint8), MADE_BY)))
    assert {key: image.text[key] for key in ("Software", "Model", "Version", "Seed", "Row")} == {  # type: ignore[attr-defined]
        "Software": "latentserve",
        "Model": "toy",
        "Version": "0123456789ab",
        "Seed": "7",
        "Row": "3",
    }
    unseeded = Image.open(io.BytesIO(encode(np.zeros((1, 4, 4), np.uint8), Provenance("toy", "v", None, 0))))
    assert "Seed" not in unseeded.text  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["png", "webp"])
def test_equal_images_have_equal_bytes(form: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16)).astype(np.uint8)
    assert encode(pixels, MADE_BY, form) == encode(pixels.copy(), MADE_BY, form)
