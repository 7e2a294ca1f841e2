"""Own files are exact in every format; tampered ones never; foreign ones are never ours."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from latentserve.service.encoding.document import CSV, GIF, JSON, NDJSON, NPY, PNG, WAV, WEBP, ZIP
from latentserve.service.errors import LatentserveError, TooLargeError
from latentserve.service.opened import OpenedBundle
from latentserve.service.verifying.reading import Limits, UnreadableError, read_file
from tests.service.verifying.files import LIMITS, formats, found, served

Opened = dict[str, OpenedBundle]
KINDS = ["grey", "sound", "colour", "table", "array"]
LOSSLESS_PICTURES = (PNG, WEBP, ZIP, JSON)


def asked(random: np.random.Generator, name: str) -> dict[str, Any]:
    """Rows of any seed, as somebody may ask for them."""
    n = int(random.integers(1, 6))
    given: dict[str, Any] = {"n": n, "seed": int(random.integers(1 << 53)), "offset": int(random.integers(1 << 20))}
    if random.random() < 0.5:
        given["truncation"] = float(random.uniform(0.3, 1))
    if name in ("grey", "sound"):
        label = random.integers(3)
        if label == 0:
            given["label"] = "photon"
        elif label == 1:
            given["labels"] = random.integers(3, size=n).tolist()
        if random.random() < 0.5:
            given["condition"] = {"energy": float(random.uniform(1, 100))}
    return given


def header_of(header: str | None, given: dict[str, Any]) -> str | None:
    """With the lists that answers of few rows tell in headers of their own."""
    if header is None or "labels" not in given or given["n"] == 1:
        return header
    return json.dumps(json.loads(header) | {"labels": given["labels"]})


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


def rewritten(content: bytes, change: Callable[[np.ndarray[Any, Any]], None]) -> bytes:
    """A PNG with other pixels and the same mark, as an editor writes it."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        pixels, packet = np.array(picture), picture.info["xmp"]
    change(pixels)
    out = io.BytesIO()
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    Image.fromarray(pixels).save(out, "PNG")
    body = out.getvalue()
    chunk = len(text).to_bytes(4) + b"iTXt" + text + zlib.crc32(b"iTXt" + text).to_bytes(4)
    return body[:33] + chunk + body[33:]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cases", [12, pytest.param(1000, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", ["grey", "colour"])
def test_pictures_that_were_tampered_with_are_never_exact(name: str, cases: int, opened: Opened):
    """From one level of one pixel to a square of a tenth."""
    random, bundle = np.random.default_rng(2), opened[name]
    for case in range(cases):
        content, _ = served(bundle, PNG, **asked(random, name))

        def change(pixels: np.ndarray[Any, Any], case: int = case) -> None:
            y, x = random.integers(pixels.shape[0]), random.integers(pixels.shape[1])
            if case % 2:
                side = max(1, round(0.32 * min(pixels.shape[:2])))
                pixels[y : y + side, x : x + side] ^= random.integers(1, 256, dtype=np.uint8)
            else:
                pixels[y, x] ^= 1

        assert found(rewritten(content, lambda pixels: None), bundle).verdict == "exact"
        assert found(rewritten(content, change), bundle).verdict != "exact"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cases", [5, pytest.param(1000, marks=pytest.mark.full)])
def test_other_files_that_were_tampered_with_are_never_exact(cases: int, opened: Opened):
    random = np.random.default_rng(3)
    for _ in range(cases):
        given = asked(random, "sound")
        content, _ = served(opened["sound"], WAV, **given)
        values = bytearray(content)
        values[-1 - int(random.integers(400))] ^= 1
        assert found(bytes(values), opened["sound"]).verdict != "exact"
        given = asked(random, "array")
        content, header = served(opened["array"], NPY, **given)
        values = bytearray(content)
        values[-1 - int(random.integers(20))] ^= 1
        assert found(bytes(values), opened["array"], header).verdict != "exact"
        given = asked(random, "table")
        content, header = served(opened["table"], CSV, **given)
        lines = content.decode().splitlines()
        fields = lines[1].split(",")
        fields[0] = str(int(fields[0] or 0) + 1)
        lines[1] = ",".join(fields)
        assert found("\r\n".join([*lines, ""]).encode(), opened["table"], header).verdict != "exact"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cases", [12, pytest.param(1000, marks=pytest.mark.full)])
def test_foreign_files_are_never_ours(cases: int, opened: Opened):
    """Noise, smooth pictures, and other rows of ours, with a mark that names a row that they are not."""
    random, bundle = np.random.default_rng(4), opened["colour"]
    for case in range(cases):
        given = {**asked(random, "colour"), "n": 1}
        content, _ = served(bundle, PNG, **given)
        other = bundle.sample(1, seed=given["seed"], offset=given["offset"] + 1)[0]

        def replaced(pixels: np.ndarray[Any, Any], case: int = case, other: Any = other) -> None:
            if case % 3 == 0:
                pixels[:] = random.integers(0, 256, pixels.shape)
            elif case % 3 == 1:
                pixels[:] = np.linspace(0, random.integers(1, 256), pixels.shape[1])[None, :, None]
            else:
                pixels[:] = np.moveaxis((other + 1) * 127.5, 0, -1).round()

        forged = found(rewritten(content, replaced), bundle)
        assert (forged.verdict, forged.rests_on) == ("no", []), forged
        assert forged.distance is not None
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
