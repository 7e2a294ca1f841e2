"""Files as they are served, with something in them changed, by the least that there is up to a tenth, and their marks
as they were; and files of something else with our marks."""

from __future__ import annotations

import io
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

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
)
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle
from latentserve.service.verifying.reading import Limits, read_file
from tests.service.verifying.files import header_of, provenance_of, written

Random = np.random.Generator

_GIF_BLOCK, _GIF_END = b"\x21\xff\x0bXMP DataXMP", bytes([1, *range(255, -1, -1), 0])


def tampered(media: str, content: bytes, random: Random) -> bytes:
    """Another content than it had, as it is read."""
    limits = Limits(1 << 30, 1 << 20)
    was = read_file(content, limits).content
    while True:  # a level of one pixel may be lost among the colours of a GIF file, or in MP3
        made = _CHANGES[media](content, random)
        if not read_file(made, limits).content.equals(was):
            return made


def foreign(bundle: OpenedBundle, media: str, random: Random, **asked: Any) -> tuple[bytes, str | None]:
    """A file of other rows, of noise, or of nothing but slopes, that says that it is of the rows asked for; and what a
    header would tell of it."""
    request = bundle.request(**asked)
    spec = bundle.manifest.sample
    kind = int(random.integers(3))
    parts = list(bundle.parts(request._replace(seed=(request.seed + 1 + int(random.integers(1 << 40))) % (1 << 53))))
    samples = np.concatenate([part.samples for part in parts])
    if kind:
        low, high = spec.value_range or (samples.min(), samples.max())
        made = random.uniform(low, high, samples.shape)
        if kind == 2:
            made = np.broadcast_to(np.linspace(low, random.uniform(low, high), samples.shape[-1]), samples.shape)
        samples = np.where(np.isfinite(samples), made, samples).astype(np.float32)
    labels, conditions = (
        None if getattr(parts[0], name) is None else np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels", "conditions")
    )
    content, header = written(
        bundle, media, request, provenance_of(bundle, request), [Rows(samples, labels, conditions)]
    )
    return content, header_of(header, asked)


def _pixels(pixels: NDArray[Any], random: Random) -> NDArray[Any]:
    """With one level of one pixel changed, or a square of a tenth."""
    changed = pixels.copy()
    y, x = random.integers(pixels.shape[0]), random.integers(pixels.shape[1])
    if random.random() < 0.5:
        changed[y, x] ^= 1
    else:
        side = max(1, round(0.32 * min(pixels.shape[:2])))
        changed[y : y + side, x : x + side] ^= random.integers(1, 256, dtype=np.uint8)
    return changed


def png_with(content: bytes, change: Callable[[NDArray[Any]], NDArray[Any]]) -> bytes:
    """Other pixels and the same mark, as an editor writes them."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        pixels, packet = np.array(picture), picture.info["xmp"]
    out = io.BytesIO()
    Image.fromarray(change(pixels)).save(out, "PNG")
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    chunk = len(text).to_bytes(4) + b"iTXt" + text + zlib.crc32(b"iTXt" + text).to_bytes(4)
    return out.getvalue()[:33] + chunk + out.getvalue()[33:]


def _png(content: bytes, random: Random) -> bytes:
    return png_with(content, lambda pixels: _pixels(pixels, random))


def _webp(content: bytes, random: Random) -> bytes:
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        pixels, packet = np.array(picture), picture.info["xmp"]
    out = io.BytesIO()
    Image.fromarray(_pixels(pixels, random)).save(out, "WEBP", lossless=True, xmp=packet)
    return out.getvalue()


def _gif(content: bytes, random: Random) -> bytes:
    frames = []
    with Image.open(io.BytesIO(content)) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            frames.append(np.array(picture.convert("RGB")))
    changed = int(random.integers(len(frames)))
    frames[changed] = _pixels(frames[changed], random)
    first, *others = map(Image.fromarray, frames)
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others, duration=100, loop=0, optimize=False)
    written = out.getvalue()
    start = 13 + (3 << (written[10] & 7) + 1 if written[10] & 0x80 else 0)
    block = content[content.index(_GIF_BLOCK) : content.index(_GIF_END) + len(_GIF_END)]
    return written[:start] + block + written[start:]


def _bytes(content: bytes, size: int, random: Random) -> bytes:
    """Of the last so many, the lowest bit of one, or of a tenth of them."""
    values = bytearray(content)
    start = len(values) - size
    at = start + int(random.integers(size))
    for place in [at] if random.random() < 0.5 else range(at, min(len(values), at + size // 10 + 1)):
        values[place] ^= 1
    return bytes(values)


def _wav(content: bytes, random: Random) -> bytes:
    at = content.index(b"data")
    return _bytes(content, int.from_bytes(content[at + 4 : at + 8], "little"), random)


def _sound(media: str, container: str, coding: str) -> Callable[[bytes, Random], bytes]:
    def change(content: bytes, random: Random) -> bytes:
        import soundfile

        with soundfile.SoundFile(io.BytesIO(content)) as file:
            values, rate = file.read(dtype="int16", always_2d=True), file.samplerate
            said = {name: getattr(file, name) for name in ("software", "comment", "copyright") if getattr(file, name)}
        at, many = int(random.integers(len(values))), len(values) // 10 + 1
        if media == FLAC:
            values[at : at + (1 if random.random() < 0.5 else many)] ^= 1
        else:  # less is lost
            values[at : at + many] ^= 512
        out = io.BytesIO()
        with soundfile.SoundFile(out, "w", rate, values.shape[1], coding, format=container) as file:
            if media != MP3:
                for name, told in said.items():
                    setattr(file, name, told)
            file.write(values if media == FLAC else values / 32768)
        if media != MP3:
            return out.getvalue()
        size = sum(byte << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
        return content[: 10 + size] + out.getvalue()

    return change


def _npy(content: bytes, random: Random) -> bytes:
    """The lowest bit of a number: its first byte is the last of its digits."""
    size = np.load(io.BytesIO(content)).nbytes
    values = bytearray(content)
    values[len(values) - size + 4 * int(random.integers(size // 4))] ^= 1
    return bytes(values)


def _archive(content: bytes, random: Random) -> bytes:
    """One of the files in it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members, comment = {name: archive.read(name) for name in archive.namelist()}, archive.comment
    files = [name for name in members if name.endswith((".png", ".wav", ".csv"))] or ["samples.npy"]
    name = files[int(random.integers(len(files)))]
    change = {"png": _png, "wav": _wav, "csv": _csv, "npy": _npy}[name.rsplit(".", 1)[1]]
    members[name] = change(members[name], random)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()


def _csv(content: bytes, random: Random) -> bytes:
    lines = content.decode().split("\r\n")
    line = 1 + int(random.integers(len(lines) - 2))
    fields = lines[line].split(",")
    fields[0] = str(int(fields[0] or 0) + 1)
    lines[line] = ",".join(fields)
    return "\r\n".join(lines).encode()


def _value(value: Any, random: Random) -> Any:
    """Of JSON, with one number, or one picture in it, changed."""
    if isinstance(value, dict):
        name = list(value)[int(random.integers(len(value)))]
        return {**value, name: _value(value[name], random)}
    if isinstance(value, list):
        at = int(random.integers(len(value)))
        return [*value[:at], _value(value[at], random), *value[at + 1 :]]
    if isinstance(value, str):
        return b64encode(_png(b64decode(value), random)).decode() if len(value) > 100 else value + "!"
    if isinstance(value, float):
        return float(np.nextafter(np.float32(value), np.float32(np.inf)))
    return 1 if value is None else value + 1


def _json(content: bytes, random: Random) -> bytes:
    body = orjson.loads(content)
    return orjson.dumps(body | {"samples": _value(body["samples"], random)})


def _ndjson(content: bytes, random: Random) -> bytes:
    lines = content.splitlines()
    at = int(random.integers(len(lines)))
    body = orjson.loads(lines[at])
    lines[at] = orjson.dumps(body | {"sample": _value(body["sample"], random)})
    return b"\n".join([*lines, b""])


def _columns(batch: pa.RecordBatch, random: Random) -> pa.RecordBatch:
    """With one cell changed."""
    at = int(random.integers(batch.num_columns))
    column, field = batch.column(at), batch.schema.field(at)
    if isinstance(column.type, pa.FixedShapeTensorType):
        values = column.to_numpy_ndarray().copy()
        place = tuple(int(random.integers(size)) for size in values.shape)
        values[place] = values[place] ^ 1 if values.dtype == np.uint8 else np.nextafter(values[place], np.float32(9))
        changed = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
        return batch.set_column(at, field.with_type(changed.type), changed)
    listed = column.to_pylist()
    place = int(random.integers(len(listed)))
    value = listed[place]
    if value is None:
        listed[place] = "!" if pa.types.is_string(column.type) else 1
    else:
        listed[place] = f"{value}!" if isinstance(value, str) else value + 1
    return batch.set_column(at, field, pa.array(listed, column.type))


def _arrow(content: bytes, random: Random) -> bytes:
    out = io.BytesIO()
    reader = pa.ipc.open_stream(content)
    with pa.ipc.new_stream(out, reader.schema) as writer:
        while True:
            try:
                batch, told = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            writer.write_batch(_columns(batch, random).cast(reader.schema), custom_metadata=told)
    return out.getvalue()


def _parquet(content: bytes, random: Random) -> bytes:
    file = pq.ParquetFile(io.BytesIO(content))
    metadata = {name: value for name, value in (file.metadata.metadata or {}).items() if name != b"ARROW:schema"}
    (batch,) = file.read().combine_chunks().to_batches()
    out = io.BytesIO()
    pq.write_table(pa.Table.from_batches([_columns(batch, random)]).replace_schema_metadata(metadata), out)
    return out.getvalue()


_CHANGES: dict[str, Callable[[bytes, Random], bytes]] = {
    PNG: _png,
    WEBP: _webp,
    GIF: _gif,
    WAV: _wav,
    MP3: _sound(MP3, "MP3", "MPEG_LAYER_III"),
    OGG: _sound(OGG, "OGG", "OPUS"),
    FLAC: _sound(FLAC, "FLAC", "PCM_16"),
    NPY: _npy,
    NPZ: _archive,
    ZIP: _archive,
    CSV: _csv,
    JSON: _json,
    NDJSON: _ndjson,
    ARROW: _arrow,
    PARQUET: _parquet,
}
