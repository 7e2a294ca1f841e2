"""Answers, by media type: bytes that open the document, bytes for each slice of rows, bytes that close it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import cast

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays, audio, images, tables
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import TooLargeError

JSON, PNG, WEBP = "application/json", "image/png", "image/webp"
NPY, RAW = "application/x-npy", "application/octet-stream"
CSV, ARROW = "text/csv", "application/vnd.apache.arrow.stream"
WAV = "audio/wav"

Labels = NDArray[np.int64]
Conditions = NDArray[np.float32]
Headers = Sequence[tuple[bytes, bytes]]

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
) -> Document:
    """What writes n samples as a media type of `media_types`; `dtype` is that of numbers.

    JSON tells what was `asked` for (seed, offset and truncation where they say something), and each row's `conditions`
    by these names.

    Raises TooLargeError: a WAV file, or the side of a WebP picture, does not hold so many.
    """
    if media == JSON:
        return Json(n, spec, provenance, asked, conditions)
    if media in (PNG, WEBP):
        return Sheet(media, n, spec, provenance)
    if media == WAV:
        return Wav(n, spec, provenance)
    if media == CSV:
        return Csv(spec)
    if media == ARROW:
        from latentserve.service.encoding.arrow import Arrow  # its package is an extra

        return Arrow(spec)
    return Values(media, n, spec, dtype)


class Document:
    """One answer in the making. `cheap` documents are written on the event loop, others beside it.

    `headers` go with it; its length is among them where it is known before the rows are.
    """

    cheap = False
    headers: Headers = ()

    def opening(self) -> bytes:
        """What comes before the rows."""
        return b""

    def rows(
        self, samples: arrays.SampleArray, labels: Labels | None = None, conditions: Conditions | None = None
    ) -> bytes:
        """The next rows: [n, *shape], int64 [n] or None, float32 [n, k] or None."""
        raise NotImplementedError

    def closing(self) -> bytes:
        """What comes after them."""
        return b""


class Values(Document):
    """Numbers in C order, little-endian: an `.npy` file, or nothing but the values with headers that describe them."""

    cheap = True

    def __init__(self, media: str, n: int, spec: SampleSpec, dtype: arrays.Dtype) -> None:
        self._spec = spec
        self._dtype: arrays.Dtype = dtype
        self._opening, self.headers = _describe(media, (n, *spec.shape), dtype)

    def opening(self) -> bytes:
        """The `.npy` header."""
        return self._opening

    def rows(
        self, samples: arrays.SampleArray, labels: Labels | None = None, conditions: Conditions | None = None
    ) -> bytes:
        """The values."""
        return arrays.raw(samples, self._spec, self._dtype)


@lru_cache(maxsize=64)
def _describe(media: str, shape: tuple[int, ...], dtype: arrays.Dtype) -> tuple[bytes, Headers]:
    """What precedes the values of an array, and its headers."""
    opening = arrays.npy_header(shape, dtype) if media == NPY else b""
    length = len(opening) + math.prod(shape) * np.dtype(dtype).itemsize
    headers = [(b"content-type", media.encode()), (b"content-length", b"%d" % length)]
    if media == RAW:
        headers.append((b"latentserve-shape", ",".join(map(str, shape)).encode()))
        headers.append((b"latentserve-dtype", dtype.encode()))
    return opening, tuple(headers)


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

    def opening(self) -> bytes:
        """The fields, and the start of the array of samples."""
        fields = {**self._fields, "synthetic": True}
        if self._spec.kind == "image":
            fields["media_type"] = PNG
        if self._spec.columns is not None:
            fields["columns"] = [column.name for column in self._spec.columns]
        return orjson.dumps(fields)[:-1] + b',"samples":['

    def rows(
        self, samples: arrays.SampleArray, labels: Labels | None = None, conditions: Conditions | None = None
    ) -> bytes:
        """The inside of the array."""
        values = arrays.json_values(samples, self._spec, self._provenance.at(self._row))[1:-1]
        if labels is not None:
            self._labels.append(labels)
        if conditions is not None:
            self._conditions.append(conditions)
        first, self._row = self._row == 0, self._row + len(samples)
        return values if first else b"," + values

    def closing(self) -> bytes:
        """The end of the array, the labels, and the conditions as one object a row."""
        end = [b"]"]
        if self._labels:
            end += [b',"labels":', arrays.json_numbers(np.concatenate(self._labels))]
        if self._conditions:
            objects = (arrays.json_objects(part, self._names)[1:-1] for part in self._conditions)
            end += [b',"conditions":[', b",".join(objects), b"]"]
        return b"".join([*end, b"}"])


class Csv(Document):
    """A line of the columns' names, then a line for each row of a table."""

    headers = ((b"content-type", b"text/csv; charset=utf-8; header=present"),)

    def __init__(self, spec: SampleSpec) -> None:
        self._spec = spec

    def opening(self) -> bytes:
        """The names."""
        return tables.csv_lines([[column.name for column in self._spec.columns or []]])

    def rows(
        self, samples: arrays.SampleArray, labels: Labels | None = None, conditions: Conditions | None = None
    ) -> bytes:
        """The lines."""
        return tables.csv_lines(tables.rows(cast("NDArray[np.float32]", samples), self._spec))


class Sheet(Document):
    """A picture: the image itself, or a contact sheet of many. It is drawn when the last row is there."""

    def __init__(self, media: str, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        height, width = images.sheet_size(n, *spec.shape[1:])
        if media == WEBP and max(height, width) > images.WEBP_SIDE:
            size = f"{width} x {height} pixels; WebP holds {images.WEBP_SIDE} either way"
            raise TooLargeError(f"n: {n} images on a sheet are {size}")
        self._form: images.Form = "webp" if media == WEBP else "png"
        self._spec = spec
        self._provenance = provenance
        self._pictures: list[NDArray[np.uint8]] = []
        self.headers = ((b"content-type", media.encode()),)

    def rows(
        self, samples: arrays.SampleArray, labels: Labels | None = None, conditions: Conditions | None = None
    ) -> bytes:
        """Nothing yet."""
        self._pictures.append(images.pixels(samples, self._spec))
        return b""

    def closing(self) -> bytes:
        """The picture."""
        return images.encode(images.contact_sheet(np.concatenate(self._pictures)), self._provenance, self._form)


class Wav(Document):
    """A WAV file with the samples end to end, each as long as the next."""

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        if n > (most := audio.most_samples(spec)):
            raise TooLargeError(f"n: {n} samples were asked for; a WAV file holds {most} of them")
        self._spec = spec
        self._opening = audio.wav_header(n, spec, provenance)
        length = len(self._opening) + audio.data_bytes(n, spec)
        self.headers = ((b"content-type", WAV.encode()), (b"content-length", b"%d" % length))

    def opening(self) -> bytes:
        """The chunks before the values."""
        return self._opening

    def rows(
        self, samples: arrays.SampleArray, labels: Labels | None = None, conditions: Conditions | None = None
    ) -> bytes:
        """The values."""
        return audio.pcm(cast("NDArray[np.float32]", samples), self._spec)
