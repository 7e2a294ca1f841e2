"""Own files are exact in every format; tampered ones never; foreign ones are never ours."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from latentserve.service.encoding.document import CSV, GIF, NDJSON, NPY, PNG
from latentserve.service.errors import LatentserveError, TooLargeError
from latentserve.service.opened import OpenedBundle
from latentserve.service.verifying.reading import Limits, UnreadableError, read_file
from tests.service.verifying.files import KINDS, LIMITS, asked, formats, found, header_of, served
from tests.service.verifying.tampering import foreign, tampered

Opened = dict[str, OpenedBundle]


CASES = [4, pytest.param(1000, marks=pytest.mark.full)]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("name", KINDS)
def test_own_files_are_exact_in_every_format(name: str, cases: int, opened: Opened):
    random, bundle = np.random.default_rng(1), opened[name]
    media = formats(bundle.manifest.sample)
    assert len(media) >= 5
    for case in range(max(cases, len(media))):
        given = asked(random, name)
        content, header = served(bundle, media[case % len(media)], **given)
        verified = found(content, bundle, header_of(header, given))
        assert (verified.verdict, verified.rests_on, verified.distance) == ("exact", ["mark"], 0), (given, verified)
        assert (verified.model, verified.seed, verified.row) == (name, given["seed"], given["offset"])


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cases", [1, pytest.param(1000, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", KINDS)
def test_tampered_files_are_never_exact(name: str, cases: int, opened: Opened):
    """In every format, from one level of one pixel, or the last digit of one number, to a square of a tenth."""
    random, bundle = np.random.default_rng(2), opened[name]
    for media in formats(bundle.manifest.sample)[:: 1 if cases > 1 else 3]:  # all of them in the long form
        for _ in range(cases):
            given = asked(random, name)
            content, header = served(bundle, media, **given)
            changed = tampered(media, content, random)
            verified = found(changed, bundle, header_of(header, given))
            assert verified.verdict != "exact", (media, given)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cases", [1, pytest.param(1000, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", KINDS)
def test_foreign_files_are_never_ours(name: str, cases: int, opened: Opened):
    """In every format: noise, slopes, and other rows of ours, with a mark that names rows that they are not."""
    random, bundle = np.random.default_rng(4), opened[name]
    for media in formats(bundle.manifest.sample)[:: 1 if cases > 1 else 3]:  # all of them in the long form
        for _ in range(cases):
            content, header = foreign(bundle, media, random, **asked(random, name))
            verified = found(content, bundle, header)
            assert (verified.verdict, verified.rests_on) == ("no", []), (media, verified)
    unmarked = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(unmarked, "PNG")
    assert found(unmarked.getvalue(), bundle).verdict == "no"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda picture: picture.resize((29, 29), Image.Resampling.BICUBIC), "alike"),
        (lambda picture: picture.crop((1, 2, 33, 33)), "alike"),
        (lambda picture: picture.filter(ImageFilter.GaussianBlur(0.3)), "alike"),
        (lambda picture: picture.convert("RGBA"), "exact"),
        (lambda picture: picture.rotate(90), "no"),
    ],
)
def test_a_picture_that_was_worked_on(change: Any, verdict: str, opened: Opened):
    """Of four rows, 34 pixels wide."""
    content, _ = served(opened["colour"], PNG, n=4, seed=7)
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        out = io.BytesIO()
        change(picture).save(out, "WEBP", lossless=True, xmp=picture.info["xmp"])
    assert found(out.getvalue(), opened["colour"]).verdict == verdict


def test_a_picture_goes_to_webp_and_back_and_is_exact(opened: Opened):
    content, _ = served(opened["grey"], PNG, n=5, seed=7, label="photon")
    for form in ("WEBP", "PNG"):
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            packet = picture.info["xmp"]
            out = io.BytesIO()
            picture.save(out, form, lossless=True)
        content = out.getvalue()
        if form == "WEBP":
            with Image.open(io.BytesIO(content)) as picture:
                again = io.BytesIO()
                picture.save(again, form, lossless=True, xmp=packet)
            content = again.getvalue()
            assert found(content, opened["grey"]).verdict == "exact"
    with Image.open(io.BytesIO(served(opened["grey"], PNG, n=1, seed=7)[0])) as picture:
        picture.load()
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=90, xmp=picture.info["xmp"])
    assert found(jpeg.getvalue(), opened["grey"]).verdict == "alike"


def test_a_png_that_lost_its_packet_has_its_texts(opened: Opened):
    content, _ = served(opened["colour"], PNG, n=1, seed=7, offset=3)
    start = content.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    assert found(content[:start] + content[end:], opened["colour"]).verdict == "exact"


def test_a_mark_of_another_model_is_told(opened: Opened):
    content, _ = served(opened["colour"], PNG, n=1, seed=7)
    verified = found(content, opened["grey"])
    assert (verified.verdict, verified.model) == ("no", "colour")
    assert "which is not here; grey" in verified.why


@pytest.mark.parametrize(
    "mark",
    [
        {"label": "muon"},
        {"seed": 8},
        {"offset": 1},
        {"version": "0123456789ab"},
        {"n": 1 << 40},
        {"n": 0},
        {"offset": 1 << 53},
        {"labels": ["photon"] * 3},
        {"rows": [1, 2, 3]},
        {"rows": {"a": 1}},
        {"truncation": 7},
        {"seed": None},
        {"untold": 5},
        {"untold": ["labels"]},
        {"conditions": [[1.0, 2.0], 5]},
        {"condition": {"energy": "x"}},
        {"derived": {}},
        {"derived": {"interpolation": {"cls": 1}}},
        {"derived": {"interpolation": {"ends": [{"seed": 1}, {"seed": 2}], "frames": 1 << 52}}},
        {"derived": {"variation": {"seed": "x"}, "frame": 1 << 80}},
    ],
)
def test_a_forged_mark_is_no(mark: dict[str, Any], opened: Opened):
    content, header = served(opened["grey"], NPY, n=1, seed=7)
    assert header is not None
    told = json.loads(header) | mark
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("samples.npy", content)
        archive.comment = json.dumps(told).encode()
    assert found(packed.getvalue(), opened["grey"]).verdict == "no"


def bomb(name: str) -> bytes:
    if name == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("samples.npy", b"\x93NUMPY" + bytes(1 << 27))
        return packed.getvalue()
    if name == "png":
        head = (30_000).to_bytes(4) * 2 + b"\x08\0\0\0\0"
        chunk = len(head).to_bytes(4) + b"IHDR" + head + zlib.crc32(b"IHDR" + head).to_bytes(4)
        data = zlib.compress(bytes(1 << 20))
        return b"\x89PNG\r\n\x1a\n" + chunk + len(data).to_bytes(4) + b"IDAT" + data
    if name == "gif":
        frames = [Image.new("L", (2000, 2000), index) for index in range(20)]
        out = io.BytesIO()
        frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
        return out.getvalue()
    return b'{"sample": 1, "row": 0}\n' * 5000


@pytest.mark.parametrize("name", ["zip", "png", "gif", "lines"])
def test_a_bomb_is_refused(name: str):
    with pytest.raises(TooLargeError):
        read_file(bomb(name), LIMITS)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_cut_off_is_unreadable_or_not_exact(name: str, opened: Opened):
    random, bundle = np.random.default_rng(5), opened[name]
    for media in formats(bundle.manifest.sample):
        if media in (CSV, NDJSON, GIF) or media.startswith("audio/"):
            continue  # which are whole wherever a line, a frame, ends
        content, header = served(bundle, media, n=2, seed=7)
        for _ in range(5):
            try:
                verified = found(content[: int(random.integers(1, len(content) - 12))], bundle, header)
            except LatentserveError:
                continue
            assert verified.verdict != "exact"


def test_what_is_no_file_of_ours_is_unreadable():
    for content in (b"", b"\0" * 100, b"hello", b"RIFF\0\0\0\0WAVEfmt ", b"\xff\xff\xff\xff\xff\xff\xff\xff"):
        with pytest.raises(UnreadableError):
            read_file(content, Limits(1 << 20, 10))
