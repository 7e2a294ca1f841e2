"""Answers, by media type: bytes that open the document, bytes for each slice of rows, bytes that close it.

All of it comes in pieces, each of which takes a few milliseconds at the most: others' answers come between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import cast

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays, audio, images, tables
from latentserve.service.encoding.png import LARGEST_SIDE
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Conditions, Labels, Rows
from latentserve.service.errors import InvalidError, TooLargeError

JSON, PNG, WEBP = "application/json", "image/png", "image/webp"
NPY, RAW = "application/x-npy", "application/octet-stream"
CSV, ARROW = "text/csv", "application/vnd.apache.arrow.stream"
WAV = "audio/wav"

Headers = Sequence[tuple[bytes, bytes]]
Piece = bytes | memoryview

HEAD_BYTES = 2048  # of what stands before the values, the mark that they are synthetic among it
_NUMBER_BYTES = 24  # of a number as text
_LABEL_BYTES, _CONDITION_BYTES = 8, 4

_WEBP_PART = 4  # of the pixels of any picture, a WebP one has a fourth: it is written whole, in much memory
_ARROW_IS_THERE = find_spec("pyarrow") is not None  # the extra `tables`


def media_types(spec: SampleSpec) -> Sequence[str]:
    """What samples can be answered as, best first."""
    if spec.kind == "image":
        return (JSON, PNG, WEBP, NPY, RAW)
    if spec.kind == "table":
        return (JSON, CSV, ARROW, NPY, RAW) if _ARROW_IS_THERE else (JSON, CSV, NPY, RAW)
    return (JSON, WAV, NPY, RAW) if audio.is_wav(spec) else (JSON, NPY, RAW)


def dtype_of(media: str, spec: SampleSpec, asked: arrays.Dtype) -> arrays.Dtype:
    """The dtype of the samples that a media type is best written from; of numbers, that which was `asked` for."""
    if media in (NPY, RAW):
        return asked
    return "uint8" if spec.kind == "image" else "float32"


def make_document(
    media: str,
    n: int,
    spec: SampleSpec,
    provenance: Provenance,
    dtype: arrays.Dtype = "float32",
    asked: Mapping[str, object] | None = None,
    conditions: Sequence[str] = (),
    max_pixels: float = math.inf,
) -> Document:
    """What writes n samples as a media type of `media_types`; `dtype` is that of numbers.

    JSON tells what was `asked` for (seed, offset and truncation where they say something), and each row's `conditions`
    by these names. A picture of several samples has up to `max_pixels`, a WebP one a fourth of them.

    Raises TooLargeError: a WAV file, or a picture, does not hold so many. InvalidError: no picture of the format holds
    one.
    """
    if media == JSON:
        return Json(n, spec, provenance, asked, conditions)
    if media in (PNG, WEBP):
        sheet = _layout(media, n, spec, max_pixels)
        return Png(n, spec, provenance, sheet) if media == PNG else Webp(n, spec, provenance, sheet)
    if media == WAV:
        return Wav(n, spec, provenance)
    if media == CSV:
        return Csv(n, spec)
    if media == ARROW:
        from latentserve.service.encoding.arrow import Arrow  # its package is an extra

        return Arrow(n, spec)
    return Values(media, n, spec, dtype)


class Document:
    """One answer in the making. `cheap` documents are written on the event loop, others beside it.

    `headers` go with it; its length is among them where it is known before the rows are. `size` is how many bytes it
    has, roughly and rather too many; `held` is how many it keeps in memory until it is closed. One that is written
    `in_one_go` takes seconds for its last piece.
    """

    cheap = False
    in_one_go = False
    headers: Headers = ()
    size = 0
    held = 0

    def opening(self) -> bytes:
        """What comes before the rows."""
        return b""

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The next rows. It is to be iterated to its end."""
        raise NotImplementedError

    def closing(self) -> Iterator[Piece]:
        """What comes after them."""
        return iter(())


class Values(Document):
    """Numbers in C order, little-endian: an `.npy` file, or nothing but the values with headers that describe them."""

    cheap = True

    def __init__(self, media: str, n: int, spec: SampleSpec, dtype: arrays.Dtype) -> None:
        self._spec = spec
        self._dtype: arrays.Dtype = dtype
        self._opening, self.headers, self.size = _describe(media, (n, *spec.shape), dtype)

    def opening(self) -> bytes:
        """The `.npy` header."""
        return self._opening

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The values."""
        return arrays.raw(part.samples, self._spec, self._dtype)


@lru_cache(maxsize=64)
def _describe(media: str, shape: tuple[int, ...], dtype: arrays.Dtype) -> tuple[bytes, Headers, int]:
    """What precedes the values of an array, its headers, and the bytes of all."""
    opening = arrays.npy_header(shape, dtype) if media == NPY else b""
    length = len(opening) + math.prod(shape) * np.dtype(dtype).itemsize
    headers = [(b"content-type", media.encode()), (b"content-length", b"%d" % length)]
    if media == RAW:
        headers.append((b"latentserve-shape", ",".join(map(str, shape)).encode()))
        headers.append((b"latentserve-dtype", dtype.encode()))
    return opening, tuple(headers), length


class Json(Document):
    """A JSON object: what was asked for, the samples and, if there are any, the labels and the conditions."""

    headers = ((b"content-type", JSON.encode()),)

    def __init__(
        self,
        n: int,
        spec: SampleSpec,
        provenance: Provenance,
        asked: Mapping[str, object] | None = None,
        conditions: Sequence[str] = (),
    ) -> None:
        self._fields = {"model": provenance.model, "version": provenance.version, "n": n, **(asked or {})}
        self._names = conditions
        self._spec = spec
        self._provenance = provenance
        self._row = 0
        self._labels: list[Labels] = []
        self._conditions: list[Conditions] = []
        self.size = HEAD_BYTES + n * (_json_row_bytes(spec) + len(conditions) * _NUMBER_BYTES)
        self.held = n * (_LABEL_BYTES + len(conditions) * _CONDITION_BYTES)

    def opening(self) -> bytes:
        """The fields, and the start of the array of samples."""
        fields = {**self._fields, "synthetic": True}
        if self._spec.kind == "image":
            fields["media_type"] = PNG
        if self._spec.columns is not None:
            fields["columns"] = [column.name for column in self._spec.columns]
        return orjson.dumps(fields)[:-1] + b',"samples":['

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The inside of the array."""
        if part.labels is not None:
            self._labels.append(part.labels)
        if part.conditions is not None:
            self._conditions.append(part.conditions)
        first, self._row = self._row, self._row + len(part.samples)
        if first:
            yield b","
        yield from arrays.json_values(part.samples, self._spec, self._provenance.at(first))

    def closing(self) -> Iterator[Piece]:
        """The end of the array, the labels, and the conditions as one object a row."""
        yield b"]"
        if self._labels:
            yield b',"labels":['
            yield from arrays.json_numbers(np.concatenate(self._labels))
            yield b"]"
        if self._conditions:
            yield b',"conditions":['
            yield from arrays.json_objects(np.concatenate(self._conditions), self._names)
            yield b"]"
        yield b"}"


def _json_row_bytes(spec: SampleSpec) -> int:
    """Of a sample, at the most: base64 of a picture that could not be compressed, or its numbers."""
    if spec.kind == "image":
        return (math.prod(spec.shape) + HEAD_BYTES) * 4 // 3
    return table_row_bytes(spec) if spec.kind == "table" else math.prod(spec.shape) * _NUMBER_BYTES


def table_row_bytes(spec: SampleSpec) -> int:
    """Of a row of a table as text, at the most."""
    longest = [max((len(str(one)) for one in column.categories or ()), default=0) for column in spec.columns or ()]
    return sum(max(_NUMBER_BYTES, 4 * length) for length in longest)


class Csv(Document):
    """A line of the columns' names, then a line for each row of a table."""

    headers = ((b"content-type", b"text/csv; charset=utf-8; header=present"),)

    def __init__(self, n: int, spec: SampleSpec) -> None:
        self._spec = spec
        self.size = HEAD_BYTES + n * table_row_bytes(spec)

    def opening(self) -> bytes:
        """The names."""
        return tables.csv_lines([[column.name for column in self._spec.columns or []]])

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The lines."""
        for some in arrays.in_parts(cast("NDArray[np.float32]", part.samples)):
            yield tables.csv_lines(tables.rows(some, self._spec))


def _layout(media: str, n: int, spec: SampleSpec, max_pixels: float) -> images.Layout:
    """Of a contact sheet that may be drawn. Raises InvalidError, TooLargeError."""
    side = images.WEBP_SIDE if media == WEBP else LARGEST_SIDE
    _, height, width = spec.shape
    sheet = images.layout(n, height, width, side=side)
    if max(sheet.height, sheet.width) > side:
        if n == 1:
            raise InvalidError("Accept", f"a sample has {width} x {height} pixels; {media} holds {side} either way")
        raise InvalidError("n", f"{n} images of {width} x {height} pixels: {media} holds {side} pixels either way")
    most = max_pixels / _WEBP_PART if media == WEBP else max_pixels
    if n > 1 and (pixels := sheet.height * sheet.width) > most:
        size = f"{sheet.width} x {sheet.height} pixels"
        raise TooLargeError(f"n: {n} images make a picture of {size}, {pixels}; at most {most:.0f} are drawn")
    return sheet


class Png(Document):
    """A PNG picture: the image itself, or a contact sheet of many, written a row of images at a time."""

    headers = ((b"content-type", PNG.encode()),)

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance, sheet: images.Layout) -> None:
        channels, height, width = spec.shape
        self._spec = spec
        self._canvas = images.Canvas(n, channels, (height, width), sheet)
        self._writer = images.png_writer(sheet.height, sheet.width, channels, provenance)
        self.size = HEAD_BYTES + sheet.height * (1 + sheet.width * channels)
        self.held = self._canvas.band.nbytes

    def opening(self) -> bytes:
        """The chunks before the pixels."""
        return self._writer.opening

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The rows of pixels that are whole."""
        for some in arrays.in_parts(part.samples):
            for band in self._canvas.put(images.pixels(some, self._spec)):
                yield from self._writer.rows(band)

    def closing(self) -> Iterator[Piece]:
        """The end of the file."""
        yield self._writer.closing()


class Webp(Document):
    """A WebP picture, as a PNG one, but drawn when the last sample is there: the format is not written in pieces."""

    headers = ((b"content-type", WEBP.encode()),)

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance, sheet: images.Layout) -> None:
        channels, height, width = spec.shape
        self._spec = spec
        self._provenance = provenance
        self._canvas = images.Canvas(n, channels, (height, width), sheet, sheet.rows)
        pixels = sheet.height * sheet.width
        self.in_one_go = pixels > images.SMALL_PIXELS
        self.size = HEAD_BYTES + pixels * channels
        self.held = pixels * images.WEBP_BYTES

    def rows(self, part: Rows) -> Iterator[Piece]:
        """Nothing yet."""
        for some in arrays.in_parts(part.samples):
            for _ in self._canvas.put(images.pixels(some, self._spec)):
                pass
            yield b""

    def closing(self) -> Iterator[Piece]:
        """The picture."""
        yield images.webp(self._canvas.band, self._provenance)


class Wav(Document):
    """A WAV file with the samples end to end, each as long as the next."""

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        if n > (most := audio.most_samples(spec)):
            raise TooLargeError(f"n: {n} samples were asked for; a WAV file holds {most} of them")
        self._spec = spec
        self._opening = audio.wav_header(n, spec, provenance)
        length = len(self._opening) + audio.data_bytes(n, spec)
        self.headers = ((b"content-type", WAV.encode()), (b"content-length", b"%d" % length))
        self.size = length

    def opening(self) -> bytes:
        """The chunks before the values."""
        return self._opening

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The values."""
        for some in arrays.in_parts(cast("NDArray[np.float32]", part.samples)):
            yield audio.pcm(some, self._spec)
