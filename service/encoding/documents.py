"""Answers, by media type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays, audio
from latentserve.service.encoding.archive import Zip
from latentserve.service.encoding.arrays import Values
from latentserve.service.encoding.audio import Wav
from latentserve.service.encoding.codecs import CODECS, codecs_of
from latentserve.service.encoding.document import (
    ARROW,
    CSV,
    FLAC,
    JSON,
    MP3,
    NDJSON,
    NPY,
    NPZ,
    OGG,
    PARQUET,
    PNG,
    RAW,
    WAV,
    WEBP,
    ZIP,
    Document,
)
from latentserve.service.encoding.json_documents import Json, Ndjson
from latentserve.service.encoding.npz import Npz
from latentserve.service.encoding.pictures import Png, Webp, picture_layout
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.signed import SIGNED_FILES, Signed, Signer
from latentserve.service.encoding.tables import Address, Csv

Format = Literal[
    "json", "ndjson", "png", "webp", "npy", "npz", "raw", "csv", "arrow", "parquet", "wav", "mp3", "opus", "flac", "zip"
]
FORMATS: Mapping[Format, str] = {
    "json": JSON,
    "ndjson": NDJSON,
    "png": PNG,
    "webp": WEBP,
    "npy": NPY,
    "npz": NPZ,
    "raw": RAW,
    "csv": CSV,
    "arrow": ARROW,
    "parquet": PARQUET,
    "wav": WAV,
    "mp3": MP3,
    "opus": OGG,
    "flac": FLAC,
    "zip": ZIP,
}

_ARROW_IS_THERE = find_spec("pyarrow") is not None  # the extra `tables`
_ARROWS = (ARROW, PARQUET) if _ARROW_IS_THERE else ()
_OF_ALL = (NPY, NPZ, RAW, NDJSON, *_ARROWS, ZIP)
_OF_KIND = {"image": (JSON, PNG, WEBP, *_OF_ALL), "table": (JSON, CSV, *_ARROWS, NPY, NPZ, RAW, NDJSON, ZIP)}
_OTHER = (JSON, *_OF_ALL)


def media_types(spec: SampleSpec) -> Sequence[str]:
    """What samples can be answered as, best first."""
    return _OF_KIND.get(spec.kind) or ((JSON, WAV, *codecs_of(spec), *_OF_ALL) if audio.is_wav(spec) else _OTHER)


def dtype_of(media: str, spec: SampleSpec, asked: arrays.Dtype) -> arrays.Dtype:
    """The dtype of the samples that a media type is best written from; of numbers, that which was `asked` for."""
    if media in (NPY, NPZ, RAW) or (media in (ARROW, PARQUET) and spec.kind != "table"):
        return asked
    if spec.kind == "image":
        return "uint8"
    return asked if media == ZIP and spec.kind == "array" else "float32"


def make_document(
    media: str,
    n: int,
    spec: SampleSpec,
    provenance: Provenance,
    dtype: arrays.Dtype = "float32",
    *,
    address: bool = False,
    max_pixels: float = math.inf,
    signer: Signer | None = None,
) -> Document:
    """What writes n samples as a media type of `media_types`; `dtype` is that of numbers.

    With `address`, tables and what Arrow writes have columns of what is known of each row. A picture of several samples
    has up to `max_pixels`, a WebP one a fourth of them. With a `signer`, what is `SIGNABLE` is signed.

    Raises TooLargeError: a WAV file, a ZIP archive, a picture or a signed file does not hold so many. InvalidError: no
    picture of the format holds one.
    """
    if signer is not None and media in SIGNED_FILES:
        return Signed(make_document(media, n, spec, provenance, max_pixels=max_pixels), media, n, provenance, signer)
    if media == JSON:
        return Json(n, spec, provenance)
    if media == NDJSON:
        return Ndjson(n, spec, provenance)
    if media in (PNG, WEBP):
        sheet = picture_layout(media, n, spec, max_pixels)
        return Png(n, spec, provenance, sheet) if media == PNG else Webp(n, spec, provenance, sheet)
    if media == WAV:
        return Wav(n, spec, provenance)
    if media == ZIP:
        return Zip(n, spec, provenance, dtype, signer)
    if media == NPZ:
        return Npz(n, spec, provenance, dtype)
    if media in CODECS:
        from latentserve.service.encoding.encoded_audio import EncodedAudio  # its packages are an extra

        return EncodedAudio(media, n, spec, provenance)
    columns = Address(provenance) if address else None
    if media == CSV:
        return Csv(n, spec, columns, provenance)
    if media in (ARROW, PARQUET):
        from latentserve.service.encoding.arrow import Arrow, Parquet  # their package is an extra

        of = Arrow if media == ARROW else Parquet
        return of(n, spec, provenance, dtype, columns)
    return Values(media, n, spec, dtype, provenance)
