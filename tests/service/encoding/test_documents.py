"""Documents: any slices of the rows give the same bytes; pictures that no format holds are refused before a row."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.encoding.compressed import Coding, Compressed
from latentserve.service.encoding.document import (
    ARROW,
    CSV,
    FLAC,
    JSON,
    MP3,
    NDJSON,
    NPY,
    OGG,
    PARQUET,
    PNG,
    WEBP,
    ZIP,
    Document,
)
from latentserve.service.encoding.documents import make_document
from latentserve.service.encoding.images import contact_sheet, layout
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import InvalidError, TooLargeError

PROVENANCE = Provenance("digits", "1", 0, 0)
MADE_BY = Provenance("digits", "1", 7, 5, 0.5, None, ["one", "zwei 2"], ["energy", "angle"], 10)
SPECS = {
    "image": SampleSpec(kind="image", shape=[3, 3, 5], channels="RGB", value_range=(-1, 1)),
    "array": SampleSpec(kind="array", shape=[130, 150], value_range=(-1, 1)),  # more than one piece
    "audio": SampleSpec(kind="audio", shape=[2, 50], sample_rate=8000),
    "table": SampleSpec(
        kind="table", shape=[2], columns=[Column(name="a"), Column(name="b", type="string", categories=["x", "y"])]
    ),
}


def picture(height: int, width: int) -> SampleSpec:
    return SampleSpec(kind="image", shape=[1, height, width], channels="L", value_range=(-1, 1))


def written(document: Document, samples: np.ndarray[Any, Any], cuts: list[int]) -> bytes:
    """All of a document, of slices that end at these rows."""
    labels = np.arange(len(samples)) % 2
    conditions = np.linspace(0, 1, 2 * len(samples), dtype=np.float32).reshape(-1, 2)
    edges = sorted({0, *cuts, len(samples)})
    content = [document.opening()]
    for start, stop in pairwise(edges):
        content += document.rows(Rows(samples[start:stop], labels[start:stop], conditions[start:stop]))
    return b"".join([*content, *document.closing()])


@pytest.mark.parametrize(
    ("media", "kind"),
    [
        *((media, kind) for media in (JSON, NDJSON, NPY, ZIP) for kind in SPECS),
        (CSV, "table"),
        (PNG, "image"),
        (WEBP, "image"),
        (ZIP, "audio"),
        *((media, kind) for media in (ARROW, PARQUET) for kind in ("table", "image")),
    ],
)
@given(n=st.integers(1, 12), cuts=st.lists(st.integers(1, 11)))
def test_slices_of_rows_are_the_whole(media: str, kind: str, n: int, cuts: list[int]) -> None:
    if media in (ARROW, PARQUET):
        pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    spec = SPECS[kind]
    samples = np.random.default_rng(0).uniform(-1, 1, (n, *spec.shape)).astype(np.float32)

    def document() -> Document:
        return make_document(media, n, spec, MADE_BY, address=True)

    whole = written(document(), samples, [])
    assert written(document(), samples, [cut for cut in cuts if cut < n]) == whole
    assert len(whole) <= document().size


@pytest.mark.parametrize(("media", "kind"), [
    (ARROW, "table"), (ARROW, "image"), (PARQUET, "table"), (PARQUET, "image"), (CSV, "table"), (PNG, "image"),
    (ZIP, "table"), (ZIP, "image"), ("gzip", "table"), ("zstd", "table"),
    (MP3, "audio"), (OGG, "audio"), (FLAC, "audio"),
])  # fmt: skip
def test_slices_of_many_rows_are_the_whole(media: str, kind: str) -> None:
    """Caches, and readers of parts, take what was made at two times for the same."""
    pytest.importorskip("pyarrow" if media in (ARROW, PARQUET) else "soundfile" if kind == "audio" else "numpy")
    spec, n = SPECS[kind], 300 if kind == "audio" else 60_000 if kind == "table" else 3_000
    samples = np.random.default_rng(0).uniform(-1, 1, (n, *spec.shape)).astype(np.float32)

    def document() -> Document:
        if media in ("gzip", "zstd"):
            return Compressed(make_document(CSV, n, spec, MADE_BY, address=True), cast("Coding", media))
        return make_document(media, n, spec, MADE_BY, address=True)

    whole = written(document(), samples, [])
    for cuts in (range(7, n, 256), range(256, n, 256), [n // 3]):
        assert written(document(), samples, list(cuts)) == whole


@given(
    n=st.integers(1, 30),
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    cuts=st.lists(st.integers(1, 29)),
)
def test_a_sheet_in_slices_is_the_contact_sheet(
    n: int, channels: int, height: int, width: int, cuts: list[int]
) -> None:
    spec = SampleSpec(
        kind="image",
        shape=[channels, height, width],
        channels={1: "L", 3: "RGB", 4: "RGBA"}[channels],
        value_range=(0, 255),
    )
    pictures = np.random.default_rng(0).integers(0, 256, (n, *spec.shape)).astype(np.uint8)
    content = written(make_document(PNG, n, spec, PROVENANCE), pictures, [cut for cut in cuts if cut < n])
    shown = np.asarray(Image.open(io.BytesIO(content)))
    sheet = contact_sheet(pictures)
    assert np.array_equal(shown.reshape(*sheet.shape[1:], channels), np.moveaxis(sheet, 0, -1))


def test_rows_of_a_picture_that_are_many_bands() -> None:
    """Filters look at the row above, which may be of the band before."""
    spec = picture(700, 900)
    samples = (np.add.outer(np.arange(700), np.arange(900)) % 256).astype(np.uint8)[None, None]
    content = written(make_document(PNG, 1, spec, PROVENANCE), samples, [])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), samples[0, 0])


@given(n=st.integers(1, 300), height=st.integers(1, 60), width=st.integers(1, 60), side=st.integers(60, 600))
def test_a_sheet_takes_the_columns_that_fit(n: int, height: int, width: int, side: int) -> None:
    """Where there are such."""
    sheet = layout(n, height, width, side=side)
    assert sheet.rows * sheet.columns >= n
    fits = max(sheet.height, sheet.width) <= side
    most = ((side + 2) // (height + 2)) * ((side + 2) // (width + 2))
    assert fits == (n <= most)
    square = layout(n, height, width)
    if max(square.height, square.width) <= side:
        assert sheet == square


@pytest.mark.parametrize("spec", [picture(1, 8190), picture(8190, 1)])
def test_the_columns_of_a_sheet_are_chosen_so_that_webp_holds_it(spec: SampleSpec) -> None:
    document = make_document(WEBP, 7, spec, PROVENANCE)
    samples = np.zeros((7, *spec.shape), np.uint8)
    assert written(document, samples, [3])[8:12] == b"WEBP"


@pytest.mark.parametrize(("media", "side"), [(WEBP, 16_384), (PNG, 1 << 31)])
def test_a_picture_that_no_file_of_the_format_holds(media: str, side: int) -> None:
    for spec in (picture(1, side), picture(side, 1)):
        with pytest.raises(InvalidError, match=rf"^Accept: .*{media} holds {side - 1} either way") as caught:
            make_document(media, 1, spec, PROVENANCE)
        assert caught.value.field == "Accept"


def test_a_large_webp_picture_is_written_apart_and_with_little_pains() -> None:
    """It holds what that takes of memory."""
    samples = np.random.default_rng(0).integers(0, 256, (4, 1, 150, 150)).astype(np.uint8)
    document = make_document(WEBP, 4, picture(150, 150), PROVENANCE)
    assert document.in_one_go
    assert document.held == 302 * 302 * 32
    shown = np.asarray(Image.open(io.BytesIO(written(document, samples, [1]))))
    assert np.array_equal(shown[..., 0], contact_sheet(samples)[0])
    assert not make_document(WEBP, 1, picture(150, 150), PROVENANCE).in_one_go


def test_a_sheet_that_no_webp_file_holds() -> None:
    with pytest.raises(InvalidError, match=r"n: 5 images of 8190 x 8190 pixels: .* 16383"):
        make_document(WEBP, 5, picture(8190, 8190), PROVENANCE)


@pytest.mark.parametrize(("media", "part"), [(PNG, 1), (WEBP, 4)])
def test_a_sheet_of_more_pixels_than_are_drawn(media: str, part: int) -> None:
    spec = picture(8, 8)
    make_document(media, 4, spec, PROVENANCE, max_pixels=part * 18 * 18)
    with pytest.raises(TooLargeError, match="n: 4 images make a picture of 18 x 18 pixels, 324; at most 323"):
        make_document(media, 4, spec, PROVENANCE, max_pixels=part * (18 * 18 - 1))
    make_document(media, 1, spec, PROVENANCE, max_pixels=1)  # a sample is as large as it is
