"""A file that somebody brings -> its mark, and its content.

Nothing is believed of what a file says of itself, and nothing is unpickled: sizes are bounded before anything is
inflated, and while it is.
"""

from __future__ import annotations

import csv
import io
import math
import re
import struct
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.credentials.signature import Asset
from latentserve.service.encoding.archive import MANIFEST
from latentserve.service.encoding.codecs import AUDIO_IS_THERE, EXTRA
from latentserve.service.encoding.document import (
    ARROW,
    CSV,
    FLAC,
    GIF,
    JSON,
    MP3,
    NDJSON,
    NPY,
    NPZ,
    OGG,
    PARQUET,
    PNG,
    WAV,
    WEBP,
    ZIP,
)  # fmt: skip
from latentserve.service.encoding.provenance import DIGITAL_SOURCE_TYPE, MARK_NAMESPACE
from latentserve.service.errors import LatentserveError, TooLargeError
from latentserve.service.verifying.content import Content, coding_of
from latentserve.service.verifying.mark import MARK_BYTES

JPEG, BMP, TIFF, AVIF = "image/jpeg", "image/bmp", "image/tiff", "image/avif"

_NUMBERS = re.compile(r"[0-9]{1,16}", re.ASCII)
_PACKET = re.compile(rb"<(x:xmpmeta|rdf:RDF)\b.*?</\1>", re.DOTALL)  # the outer element may be left out
_COMMENT_BYTES = 1 << 16
_PCM, _FLOAT, _EXTENSIBLE, _EXTENSIBLE_AT = 1, 3, 0xFFFE, 24  # how a WAV file says that its samples are written
_STORED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # a flag of a ZIP member
_HEAD = 1 << 16  # of a text, that says how it is written
_PIECE = 1 << 18  # of bytes, or of frames, that are read at a time
_NPY_HEADER = 4096
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_DEEP_MODES = ("I;16", "I;16B", "I;16L")
_DEPTH_AT, _DEEP = 24, 16  # where a PNG file says how many bits its values have
_FRAME_BYTES = 4096  # that a frame is counted as, at the least


class UnreadableError(LatentserveError):
    """The file is none of a kind that is read, or is damaged."""

    status = 422
    slug = "unreadable-file"
    title = "The file cannot be read"


class Limits(NamedTuple):
    """Of what is read: bytes of content, inflated; and rows."""

    content_bytes: int
    rows: int


class Brought(NamedTuple):
    """A file that was read.

    Attributes:
        media: what it is.
        told: its mark, None: it has none.
        dtype: of the numbers in it.
        address: it has columns of each row's address.
        assets: the files that may be signed: itself, or those in it.
    """

    media: str
    told: dict[str, Any] | None
    content: Content
    dtype: str = "float32"
    address: bool = False
    assets: Sequence[Asset] = ()


def media_type(content: bytes) -> str:
    """What a file is, by how it begins. Raises UnreadableError."""
    if not content:
        raise UnreadableError("it is empty")
    for what, is_one in _OTHERS:
        if is_one(content):
            raise UnreadableError(f"it is {what}")
    for media, is_one in _KINDS:
        if is_one(content):
            return media
    known = (
        "PNG, WebP, GIF, JPEG, AVIF, TIFF, BMP, WAV, FLAC, Ogg, MP3, npy, npz, ZIP, Arrow, Parquet, JSON, NDJSON, CSV"
    )
    raise UnreadableError(f"it is none of what is read: {known}")


def _brand(head: bytes) -> bytes:
    """Of a file of boxes (ISO/IEC 14496-12): AVIF, HEIC, videos."""
    return head[8:12] if head[4:8] == b"ftyp" else b""


_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")  # brands, the first or one of those that it is like
_TAGS = (b"<!doctype", b"<html", b"<svg", b"<?xml")
# What people bring that is something else, and what to do about it.
_OTHERS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("a PDF document: bring the pictures in it as files", lambda head: head.startswith(b"%PDF")),
    (
        "an HEIC picture, which is not read: save it as JPEG or PNG",
        lambda head: any(of in head[8:40] for of in _HEIC if _brand(head)),
    ),
    ("a video, which is not read", lambda head: _brand(head) not in (b"", b"avif", b"avis", b"mif1", b"msf1")),
    (
        "an Office document: save its table as CSV",
        lambda head: head.startswith(b"PK\x03\x04") and head[30:49] == b"[Content_Types].xml",
    ),
    ("text in UTF-16: save it as UTF-8", lambda head: head[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in head[2:6]),
    (
        "text with tags (HTML, SVG, XML), which is not read",
        lambda head: head[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_TAGS),
    ),
)


_KINDS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    (PNG, lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    (WEBP, lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    (GIF, lambda head: head[:6] in (b"GIF87a", b"GIF89a")),
    (JPEG, lambda head: head.startswith(b"\xff\xd8\xff")),
    (AVIF, lambda head: _brand(head) in (b"avif", b"avis", b"mif1", b"msf1")),
    (TIFF, lambda head: head[:4] in (b"II*\0", b"MM\0*")),
    (BMP, lambda head: head[:2] == b"BM" and head[6:10] == bytes(4)),
    (WAV, lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE"),
    (FLAC, lambda head: head[_id3_bytes(head) :].startswith(b"fLaC")),
    (OGG, lambda head: head.startswith(b"OggS")),
    (ARROW, lambda head: head.startswith((b"\xff\xff\xff\xff", b"ARROW1\0\0"))),
    (MP3, lambda head: head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")),
    (NPY, lambda head: head.startswith(b"\x93NUMPY")),
    (NPZ, lambda head: head.startswith(b"PK\x03\x04") and head[30:41] == b"samples.npy" and b"about.json" not in head),
    (ZIP, lambda head: head.startswith(b"PK\x03\x04")),
    (PARQUET, lambda head: head.startswith(b"PAR1")),
    (JSON, lambda head: head.lstrip()[:1] == b"{" and not _is_lines(head)),
    (NDJSON, lambda head: head.lstrip()[:1] == b"{"),
    (CSV, lambda head: b"\n" in head and b"\0" not in head[:4096]),
)  # fmt: skip


def _id3_bytes(content: bytes) -> int:
    """Of a tag before the sound: C2PA puts manifests there, in FLAC files too (ID3 tag version 2.4.0, section 3.1)."""
    if not content.startswith(b"ID3") or len(content) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))


def _is_lines(content: bytes) -> bool:
    line, _, rest = content.partition(b"\n")
    return bool(rest.strip()) and line.rstrip().endswith(b"}")


def read_file(content: bytes, limits: Limits) -> Brought:
    """Raises UnreadableError; TooLargeError: it is inflated to more than `limits`."""
    media = media_type(content)
    try:
        return _READERS[media](content, media, limits)
    except LatentserveError:
        raise
    except (MemoryError, Image.DecompressionBombError):
        raise TooLargeError("the file is inflated to more than memory holds") from None
    except Exception as error:  # of a dozen libraries, each with errors of its own
        raise UnreadableError(f"it cannot be read as {media} ({type(error).__name__})") from None


def _require(size: float, limits: Limits) -> None:
    if size > limits.content_bytes:
        raise TooLargeError(f"the file is inflated to {size:.0f} bytes; at most {limits.content_bytes} are read")


def _require_rows(rows: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise TooLargeError(f"the file has {rows} rows; at most {limits.rows} are made again")


def _picture(content: bytes, media: str, limits: Limits) -> Brought:
    with Image.open(io.BytesIO(content), formats=(media.removeprefix("image/").upper(),)) as picture:
        packet = content[: 4 * MARK_BYTES] if media == GIF else picture.info.get("xmp")  # which Pillow does not read
        arrays, size = [], 0.0
        for frame in range(getattr(picture, "n_frames", 1)):
            picture.seek(frame)
            size += max(_FRAME_BYTES, picture.width * picture.height * 4)
            _require(size, limits)  # before a pixel is inflated
            arrays.append(_pixels(picture))
        picture.load()  # what stands behind the pixels
        coding = coding_of(picture) if media == JPEG else None
        deep = picture.mode in _DEEP_MODES or (media == PNG and content[_DEPTH_AT] == _DEEP)
        told = _of_packet(packet or picture.info.get("xmp")) or _of_texts(getattr(picture, "text", {}))
    held = Content(arrays, pictures=True, coding=coding, rounded=deep)
    return Brought(media, told, held, assets=(Asset(media, content),))


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Of the frame, [H, W, 4]. Raises UnreadableError."""
    if picture.mode in _DEEP_MODES:
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode not in _MODES:
        raise UnreadableError(f"its pixels are of the kind {picture.mode}; grey, RGB, RGBA and CMYK are read")
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    return np.asarray(picture.convert("RGBA"))


def _of_packet(packet: object) -> dict[str, Any] | None:
    """The mark of an XMP packet, as it was written or as another tool wrote it anew."""
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or len(packet) > 4 * MARK_BYTES or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return None
    if (found := _PACKET.search(packet)) is None:
        return None
    try:
        tree = ElementTree.fromstring(found[0])  # noqa: S314, no entities, and a bounded length
    except ElementTree.ParseError:
        return None
    name = f"{{{MARK_NAMESPACE}}}Mark"
    for element in tree.iter():
        text = element.get(name) or (element.text if element.tag == name else None)
        if text:
            return _of_json(text)
    return None


def _of_json(text: str | bytes) -> dict[str, Any] | None:
    if len(text) > MARK_BYTES:
        return None
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) else None


def _of_texts(texts: Mapping[str, object]) -> dict[str, Any] | None:
    """The mark of a PNG file's texts, which some tools keep where they drop XMP."""
    seed, row = str(texts.get("Seed", "")), str(texts.get("Row", ""))
    if texts.get("Software") != "latentserve" or not (_NUMBERS.fullmatch(seed) and _NUMBERS.fullmatch(row)):
        return None
    told: dict[str, Any] = {"model": str(texts.get("Model")), "version": str(texts.get("Version"))}
    told |= {"seed": int(seed), "offset": int(row)}
    return told | ({"label": str(texts["Label"])} if "Label" in texts else {})


def _wav(content: bytes, media: str, limits: Limits) -> Brought:
    """PCM of 8 to 32 bits, or numbers; what is not of 16 bits is rounded."""
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if at + 8 + size > len(content):
            raise UnreadableError(f"its chunk {name!r} says {size} bytes, and fewer follow")
        chunks.setdefault(name, content[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    form = chunks[b"fmt "]
    kind, channels, _, _, frame, bits = struct.unpack_from("<HHIIHH", form)
    if kind == _EXTENSIBLE:
        kind = struct.unpack_from("<H", form, _EXTENSIBLE_AT)[0]
    if frame != channels * bits // 8 or not channels:
        raise UnreadableError("it does not say how its samples lie")
    values = _samples(chunks[b"data"], kind, bits).reshape(-1, channels)
    held = Content([values], rounded=(kind, bits) != (_PCM, 16))
    return Brought(media, _of_packet(chunks.get(b"_PMX")), held, assets=(Asset(media, content),))


def _samples(data: bytes, kind: int, bits: int) -> NDArray[np.int16]:
    """Raises UnreadableError."""
    if (kind, bits) == (_PCM, 8):
        return (np.frombuffer(data, "u1").astype(np.int16) - 128) << 8
    if kind == _PCM and bits in (16, 24, 32):
        step = bits // 8
        places = np.frombuffer(data, "u1").reshape(-1, step)[:, -2:]  # the higher bytes
        return np.ascontiguousarray(places).view("<i2")[:, 0]
    if kind == _FLOAT and bits in (32, 64):
        numbers = np.frombuffer(data, f"<f{bits // 8}").astype(np.float64)
        if not np.isfinite(numbers).all():
            raise UnreadableError("its samples are not all numbers")
        return np.clip(np.rint(numbers * 32768), -32768, 32767).astype(np.int16)
    raise UnreadableError("its samples are no PCM of 8 to 32 bits, nor numbers")


def _sound(content: bytes, media: str, limits: Limits) -> Brought:
    if not AUDIO_IS_THERE:
        raise UnreadableError(f"{media} needs {EXTRA}")
    import soundfile

    found = _PACKET.search(content[: 4 * MARK_BYTES]) if media == MP3 else None
    told = None if found is None else _of_packet(found[0])
    pieces, size = [], 0
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        if media != MP3:
            _, _, mark = (file.comment or "").partition(f"{DIGITAL_SOURCE_TYPE}, ")
            told = _of_json(mark)
        while len(piece := file.read(_PIECE, dtype="int16", always_2d=True)):
            size += piece.nbytes
            _require(size, limits)
            pieces.append(piece)
        deep = file.subtype in ("PCM_24", "PCM_32")
    assets = () if media == OGG else (Asset(media, content),)  # which holds no manifest
    return Brought(media, told, Content([np.concatenate(pieces)], rounded=deep), assets=assets)


def _npy(content: bytes, media: str, limits: Limits) -> Brought:
    values = _array(content)
    return Brought(media, None, Content([values]), values.dtype.name)


def _array(content: bytes) -> NDArray[Any]:
    """Of an `.npy` file, of the numbers that follow its header, and no more."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(stream, max_header_size=_NPY_HEADER)
    rest = memoryview(content)[stream.tell() :]
    if dtype.kind not in "fiu" or math.prod(shape) * dtype.itemsize != len(rest):
        raise UnreadableError(f"its {len(rest)} bytes are no {dtype} of the shape {shape}")
    values: NDArray[Any] = np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran_order else "C")
    return values


def _members(archive: zipfile.ZipFile, limits: Limits) -> Iterator[tuple[str, bytes]]:
    infos = archive.infolist()
    _require_rows(len(infos) - 3, limits)
    _require(sum(info.file_size for info in infos), limits)
    for info in infos:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _STORED:
            raise UnreadableError(f"its member {info.filename[:100]!r} is encrypted, or compressed by another method")
        with archive.open(info) as file:  # gives no more than the size that was stated, and compares the sum
            yield info.filename, file.read()


def _npz(content: bytes, media: str, limits: Limits) -> Brought:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = {name.removesuffix(".npy"): _array(member) for name, member in _members(archive, limits)}
        told = _of_json(archive.comment)
    samples = arrays["samples"]
    if told is not None:
        told |= _lists(told, arrays.get("rows"), arrays.get("labels"), arrays.get("conditions"))
    return Brought(media, told, Content([samples]), samples.dtype.name)


def _lists(told: Mapping[str, Any], rows: Any, labels: Any, conditions: Any) -> dict[str, Any]:
    """What arrays say of each row. Conditions have no names here: they are told by their places."""
    found: dict[str, Any] = {}
    if rows is not None and not _follow(rows.tolist(), told.get("offset")):
        found["rows"] = rows.tolist()
    if labels is not None and "label" not in told:
        found["labels"] = labels.tolist()
    if conditions is not None and "condition" not in told:
        found["conditions"] = conditions.tolist()
    return found


def _follow(rows: list[int], offset: object) -> bool:
    return not rows or (rows[0] == offset and rows == list(range(rows[0], rows[0] + len(rows))))


def _zip(content: bytes, media: str, limits: Limits) -> Brought:
    """Pictures or sounds, a table or numbers; what is known of each row by its line."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = dict(_members(archive, limits))
    if "about.json" not in members and "metadata.jsonl" not in members:
        raise UnreadableError("it is an archive, and none of an answer: unpack it, and bring its files")
    told = _of_json(members.get("about.json", b""))
    lines = [orjson.loads(line) for line in members.get("metadata.jsonl", b"").splitlines()]
    _require_rows(len(lines), limits)
    if told is not None:
        told = told | _of_lines(lines, told.get("offset"))
    for name, kind, read in (("samples.csv", CSV, _csv), ("samples.npy", NPY, _npy)):
        if name in members:
            manifest = members.get(MANIFEST)
            assets = () if manifest is None else (Asset(kind, members[name], manifest),)
            return read(members[name], media, limits)._replace(told=told, assets=assets)
    files = [members[line["file_name"]] for line in lines]
    inner: list[Brought] = []
    size = 0
    for file in files:
        kind = media_type(file)
        if kind not in (PNG, WAV):
            raise UnreadableError(f"it holds {kind} beside {PNG} and {WAV}")
        inner.append(_READERS[kind](file, kind, limits))
        size += sum(array.nbytes for array in inner[-1].content.arrays)
        _require(size, limits)
    pictures = all(one.content.pictures for one in inner)
    held = Content([array for one in inner for array in one.content.arrays], pictures=pictures)
    return Brought(media, told, held, assets=[asset for one in inner for asset in one.assets])


def _of_lines(lines: list[dict[str, Any]], offset: object) -> dict[str, Any]:
    """What lines say of each row."""
    found: dict[str, Any] = {}
    rows = [line["row"] for line in lines]
    if not _follow(rows, offset):
        found["rows"] = rows
    for name in ("label", "condition"):
        if lines and all(name in line for line in lines):
            found |= {f"{name}s": [line[name] for line in lines], name: None}
    return found


def _json(content: bytes, media: str, limits: Limits) -> Brought:
    """As `POST /v1/samples` answers."""
    body = orjson.loads(content)
    if "sample" in body:
        return _ndjson(content, NDJSON, limits)
    samples = body.pop("samples")
    told = {name: value for name, value in body.items() if name not in ("columns", "media_type", "scores")}
    mark = told if "model" in told else None
    _require_rows(len(samples), limits)
    if body.get("media_type") == PNG:
        return _pictures(media, mark, samples, limits)
    if "columns" in body:
        return Brought(media, mark, Content(values=samples))
    return Brought(media, mark, Content([np.array(samples, np.float64)]))


def _pictures(media: str, told: dict[str, Any] | None, texts: list[str], limits: Limits) -> Brought:
    arrays: list[Any] = []
    size = 0
    for text in texts:
        arrays += _picture(b64decode(text, validate=True), PNG, limits).content.arrays
        size += arrays[-1].nbytes
        _require(size, limits)
    return Brought(media, told, Content(arrays, pictures=True))


def _ndjson(content: bytes, media: str, limits: Limits) -> Brought:
    """Lines tell their seed and row; of which model is told beside them."""
    lines = content.splitlines()
    _require_rows(len(lines), limits)
    objects = [orjson.loads(line) for line in lines]
    samples = [line["sample"] for line in objects]
    told: dict[str, Any] = {"n": len(objects), "offset": objects[0]["row"]}
    if "seed" in objects[0]:
        told["seed"] = objects[0]["seed"]
    told |= _of_lines(objects, told["offset"])
    if isinstance(samples[0], str):
        return _pictures(media, told, samples, limits)
    if isinstance(samples[0], dict):
        return Brought(media, told, Content(values=[[*sample.values()] for sample in samples]))
    return Brought(media, told, Content([np.array(samples, np.float64)]))


def _csv(content: bytes, media: str, limits: Limits) -> Brought:
    text = content.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    names = next(reader)
    rows = []
    for row in reader:
        rows.append(row)
        _require_rows(len(rows), limits)
    told: dict[str, Any] | None = None
    if rows and "$row" in names and "$seed" in names:
        numbers = [int(row[names.index("$row")]) for row in rows]
        told = {"n": len(rows), "offset": numbers[0], "seed": int(rows[0][names.index("$seed")])}
        told |= {} if _follow(numbers, numbers[0]) else {"rows": numbers}
        if "$label" in names:
            told["labels"] = [row[names.index("$label")] for row in rows]
        prefix = "$condition."
        places = {name.removeprefix(prefix): at for at, name in enumerate(names) if name.startswith(prefix)}
        if places:
            told["conditions"] = [{name: float(row[at]) for name, at in places.items()} for row in rows]
    return Brought(media, told, Content(values=[names, *rows]), address="$row" in names)


def _delimiter(text: str) -> str:
    """A comma, but where lines have none, and as many semicolons or tabs as each other."""
    first, second, *_ = [*text[:_HEAD].split("\n", 2), ""]
    others = [] if "," in first else [one for one in ";\t" if 0 < first.count(one) == second.count(one)]
    return others[0] if others else ","


def _columns(content: bytes, media: str, limits: Limits) -> Brought:
    if find_spec("pyarrow") is None:
        raise UnreadableError(f'{media} needs the extra "tables" (pip install "latentserve[tables]")')
    from latentserve.service.verifying.columns import read_columns  # its package is an extra

    told, names, columns = read_columns(content, media == PARQUET, limits.rows, limits.content_bytes)
    address = "$row" in names
    if names[0] == "sample" and isinstance(columns[0], np.ndarray):
        return Brought(media, told, Content([columns[0]]), columns[0].dtype.name, address)
    rows = [[*row] for row in zip(*columns, strict=True)]
    return Brought(media, told, Content(values=[names, *rows]), address=address)


_READERS: Mapping[str, Callable[[bytes, str, Limits], Brought]] = {
    PNG: _picture, WEBP: _picture, GIF: _picture, JPEG: _picture, AVIF: _picture, TIFF: _picture, BMP: _picture,
    WAV: _wav, FLAC: _sound, OGG: _sound, MP3: _sound,
    NPY: _npy, NPZ: _npz, ZIP: _zip, JSON: _json, NDJSON: _ndjson, CSV: _csv, ARROW: _columns, PARQUET: _columns,
}  # fmt: skip
