"""Files as other programs write them anew, and what people bring that is something else: the verdict, or one line."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from latentserve.service.encoding.document import ARROW, CSV, NPY, PARQUET, PNG, WAV, ZIP
from latentserve.service.errors import LatentserveError
from latentserve.service.opened import OpenedBundle
from latentserve.service.verifying.reading import UnreadableError, read_file
from tests.service.verifying.files import LIMITS, found, served

Opened = dict[str, OpenedBundle]


def saved(content: bytes, form: str, mode: str | None = None, **options: Any) -> bytes:
    """A picture, with its XMP packet."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        out = io.BytesIO()
        packet = picture.info["xmp"]
        kept = {"tiffinfo": {700: packet}} if form == "TIFF" else {"xmp": packet}
        (picture if mode is None else picture.convert(mode)).save(out, form, **kept, **options)
    return out.getvalue()


def deep(content: bytes, low: int = 0) -> bytes:
    """A grey picture as a PNG file of 16 bits."""
    with Image.open(io.BytesIO(content)) as picture:
        values = np.asarray(picture.convert("L")).astype(np.uint16) * 256 + low
        out = io.BytesIO()
        Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "options", "verdict"),
    [
        ("TIFF", {}, "exact"),
        ("TIFF", {"compression": "tiff_lzw"}, "exact"),
        ("AVIF", {"quality": 90}, "alike"),
        ("JPEG", {"quality": 90}, "alike"),
        ("WEBP", {"quality": 90}, "alike"),
        ("WEBP", {"lossless": True}, "exact"),
    ],
)
def test_pictures(form: str, options: dict[str, Any], verdict: str, opened: Opened):
    content, _ = served(opened["grey"], PNG, n=4, seed=7)
    assert found(saved(content, form, "RGB", **options), opened["grey"]).verdict == verdict


def test_pictures_without_room_for_a_mark(opened: Opened):
    """What the mark said is told beside them."""
    bundle = opened["grey"]
    content, _ = served(bundle, PNG, n=1, seed=7)
    told = read_file(content, LIMITS).told
    mark = json.dumps(told)
    with Image.open(io.BytesIO(content)) as picture:
        out = io.BytesIO()
        picture.convert("RGB").save(out, "BMP")
        assert found(out.getvalue(), bundle, mark).verdict == "exact"
        palette = io.BytesIO()
        picture.convert("P").save(palette, "PNG")
        assert found(palette.getvalue(), bundle, mark).verdict in ("exact", "alike")
        cmyk = io.BytesIO()
        picture.convert("CMYK").save(cmyk, "JPEG", quality=95)
        assert found(cmyk.getvalue(), bundle, mark).verdict == "alike"
    for low in (0, 3):  # finer values than are compared
        assert found(deep(content, low), bundle, mark).verdict == "alike"


def rewritten(change: Callable[[pd.DataFrame], bytes | str], content: bytes) -> bytes:
    made = change(pd.read_csv(io.BytesIO(content)))
    return made.encode() if isinstance(made, str) else made


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        (lambda content: b"\xef\xbb\xbf" + content, ["exact"]),
        (lambda content: content.replace(b"\r\n", b"\n"), ["exact"]),
        (lambda content: b'"' + content.replace(b"\r\n", b'"\r\n"').replace(b",", b'","')[:-1], ["exact"]),
        (lambda content: content.replace(b",", b";"), ["exact"]),
        (lambda content: content.replace(b",", b"\t"), ["exact"]),
        (lambda content: rewritten(lambda table: table.to_csv(), content), ["alike"]),
        (lambda content: rewritten(lambda table: table.to_csv(index=False), content), ["exact", "alike"]),
        (lambda content: rewritten(lambda table: table[table.columns[::-1]].to_csv(index=False), content), ["alike"]),
        (lambda content: pl.read_csv(content).write_csv().encode(), ["exact", "alike"]),
        (lambda content: rewritten(lambda table: table[::-1].to_csv(index=False), content), ["no"]),
    ],
)  # fmt: skip
def test_a_table_as_text(change: Callable[[bytes], bytes], verdicts: list[str], opened: Opened):
    content, header = served(opened["table"], CSV, n=20, seed=7)
    verified = found(change(content), opened["table"], header)
    assert verified.verdict in verdicts, verified


def columns_of(content: bytes) -> pd.DataFrame:
    return pq.read_table(io.BytesIO(content)).to_pandas()


def parquet(table: pd.DataFrame, **options: Any) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, **options)
    return out.getvalue()


def by_polars(content: bytes, form: str) -> bytes:
    out = io.BytesIO()
    table = pl.read_parquet(io.BytesIO(content))
    table.write_parquet(out) if form == "parquet" else table.write_ipc(out, compression="uncompressed")
    return out.getvalue()


def feather(content: bytes, compression: str) -> bytes:
    out = io.BytesIO()
    pyarrow.feather.write_feather(pq.read_table(io.BytesIO(content)), out, compression=compression)
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        (lambda content: parquet(columns_of(content)), ["exact", "alike"]),
        (lambda content: parquet(columns_of(content).set_index("age").reset_index()), ["exact", "alike"]),
        (lambda content: parquet(columns_of(content).astype({"job": "category"})), ["exact", "alike"]),
        (lambda content: parquet(columns_of(content)[["job", "rate", "pay", "age"]]), ["alike"]),
        (lambda content: by_polars(content, "parquet"), ["exact", "alike"]),
        (lambda content: feather(content, "uncompressed"), ["exact"]),
    ],
)
def test_a_table_as_columns(change: Callable[[bytes], bytes], verdicts: list[str], opened: Opened):
    content, header = served(opened["table"], PARQUET, n=20, seed=7)
    mark = header or json.dumps(read_file(content, LIMITS).told)
    verified = found(change(content), opened["table"], mark)
    assert verified.verdict in verdicts, verified


def test_compressed_arrow_is_one_line(opened: Opened):
    content, _ = served(opened["table"], PARQUET, n=20, seed=7)
    with pytest.raises(LatentserveError, match="compressed"):
        read_file(feather(content, "lz4"), LIMITS)
    with pytest.raises(LatentserveError, match="save it as Parquet"):
        read_file(by_polars(content, "arrow"), LIMITS)
    assert served(opened["table"], ARROW, n=2, seed=7)[0][:4] == b"\xff\xff\xff\xff"


def test_numbers(opened: Opened):
    content, header = served(opened["array"], NPY, n=3, seed=7)
    values = np.load(io.BytesIO(content))

    def npy(array: Any, **options: Any) -> bytes:
        out = io.BytesIO()
        np.save(out, array, **options)
        return out.getvalue()

    assert found(npy(values), opened["array"], header).verdict == "exact"
    assert found(npy(np.asfortranarray(values)), opened["array"], header).verdict == "exact"
    assert found(npy(values.astype(np.float64)), opened["array"], header).verdict == "alike"
    assert found(npy(values.astype(np.float16)), opened["array"], header).verdict == "alike"
    with pytest.raises(UnreadableError):
        read_file(npy(np.array([{}])), LIMITS)


def wav(values: np.ndarray[Any, Any], kind: int, bits: int, rate: int = 8000) -> bytes:
    data, step = values.tobytes(), bits // 8 * 2
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, 2, rate, rate * step, step, bits)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_sounds(opened: Opened):
    bundle = opened["sound"]
    content, _ = served(bundle, WAV, n=2, seed=7)
    told = read_file(content, LIMITS)
    mark = json.dumps(told.told)
    (samples,) = told.content.arrays
    finer = np.frombuffer(b"".join(b"\1" + one.tobytes() for one in samples.reshape(-1)), np.uint8)
    assert found(wav(samples, 1, 16), bundle, mark).verdict == "exact"
    for one in (
        wav(finer, 1, 24),
        wav(samples.astype("<i4") << 16, 1, 32),
        wav((samples / 32768).astype("<f4"), 3, 32),
        wav(((samples >> 8) + 128).astype("u1"), 1, 8),
    ):
        assert found(one, bundle, mark).verdict == "alike"
    resampled = found(wav(samples[::2], 1, 16, 4000), bundle, mark)
    assert resampled.verdict == "no"
    with pytest.raises(UnreadableError, match="no PCM"):
        read_file(wav(samples, 6, 16), LIMITS)


def test_sounds_by_a_library(opened: Opened):
    soundfile = pytest.importorskip("soundfile", reason="needs latentserve[audio]")
    bundle = opened["sound"]
    content, _ = served(bundle, WAV, n=2, seed=7)
    told = read_file(content, LIMITS)
    (samples,) = told.content.arrays
    mark = json.dumps(told.told)
    for form, subtype, verdict in (
        ("FLAC", "PCM_16", "exact"),
        ("FLAC", "PCM_24", "alike"),
        ("WAV", "PCM_24", "alike"),
        ("WAVEX", "PCM_16", "exact"),
        ("WAV", "FLOAT", "alike"),
    ):
        out = io.BytesIO()
        soundfile.write(out, samples / 32768 if subtype == "FLOAT" else samples, 8000, subtype, format=form)
        assert found(out.getvalue(), bundle, mark).verdict == verdict, (form, subtype)


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video"),
        (b"<!DOCTYPE html>\n<html></html>\n", "HTML"),
        (b'<?xml version="1.0"?>\n<svg/>\n', "SVG"),
        (archive(**{"[Content_Types].xml": b"<Types/>"}), "Office"),
        (archive(**{"one.png": b"1", "two.png": b"2"}), "unpack it"),
        (b"BM\0\0\0\0\0\0\0\0", "image/bmp"),
        (b"II*\0\xff\xff\xff\xff", "image/tiff"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "image/avif"),
        (b"ARROW1\0\0\0\0\0\0", "[Aa]rrow"),
        ("col\tcol\n1\t2\n".encode("utf-16"), "UTF-16"),
        (b"hello", "none of what is read"),
    ],
)
def test_what_is_something_else_is_told_in_a_line(content: bytes, said: str):
    with pytest.raises(LatentserveError, match=said) as error:
        read_file(content, LIMITS)
    assert "\n" not in str(error.value)


def test_an_answer_zipped_once_more(opened: Opened):
    content, _ = served(opened["grey"], ZIP, n=2, seed=7)
    assert found(content, opened["grey"]).verdict == "exact"
    with pytest.raises(UnreadableError, match="unpack it"):
        read_file(archive(**{"answer.zip": content}), LIMITS)
    unpacked = zipfile.ZipFile(io.BytesIO(content))
    members = {name: unpacked.read(name) for name in unpacked.namelist()}
    assert found(archive(**members), opened["grey"]).verdict == "exact"


def test_frames_without_end_are_too_many():
    frames = [Image.new("L", (1, 1), index % 256) for index in range(300)]
    out = io.BytesIO()
    frames[0].save(out, "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(LatentserveError):
        read_file(out.getvalue(), LIMITS._replace(content_bytes=1 << 20))


def test_values_are_compared_as_programs_write_them(opened: Opened):
    """A number as another program writes it is no other number; another number is."""
    content, header = served(opened["table"], CSV, n=4, seed=7)
    lines = content.decode().splitlines()
    age, rest = lines[1].split(",", 1)
    lines[1] = f"{age}.0,{rest}"
    verified = found("\r\n".join(lines).encode() + b"\r\n", opened["table"], header)
    assert (verified.verdict, verified.distance) == ("alike", 0)
    table = pa.table({"age": pa.array([1.0]), "job": ["clerk"]})
    out = io.BytesIO()
    pq.write_table(table, out)
    assert found(out.getvalue(), opened["table"], header).verdict == "no"
