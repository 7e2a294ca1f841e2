"""A file, beside the rows that its mark names, made again -> whether it is theirs.

Exact: everything in it is as it is made. Alike: it is at most half as far from them as from the nearest of other rows
for the same labels and conditions, so that it was made from them, though something was done to it. No: nothing shows
that it is ours.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from latentserve.service.bundle import Manifest
from latentserve.service.encoding.animation import Animation
from latentserve.service.encoding.document import GIF, PNG, WEBP, Document
from latentserve.service.encoding.documents import dtype_of, make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import InvalidError, LatentserveError, TooLargeError
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.samples import Samples
from latentserve.service.verifying.content import Content
from latentserve.service.verifying.mark import Mark
from latentserve.service.verifying.reading import JPEG, Brought, Limits, read_file

Verdict = Literal["exact", "alike", "no"]
Ground = Literal["mark", "signature", "audit"]

_OTHERS = 32  # files of other rows that one is measured against,
_OTHER_ROWS = 512  # if they have so many rows together at the most,
_OTHER_NUMBERS = 1 << 24  # and so many numbers; else of fewer, one at the least
_NEAR = 0.5  # of the distance to the nearest of them
_FPS = 10.0


class Verified(NamedTuple):
    """What was found.

    Attributes:
        rests_on: what shows it, empty where nothing does.
        model, version, seed, row, n: what the mark says; None: it does not, or there is none.
        distance: from the rows that the mark names, 0 is none; None: there was nothing to measure.
        why: a sentence.
        log: of the answers in an account of what was sent, `of`, so many are in its index, `answers`; None: it was not
            looked at.
    """

    verdict: Verdict
    rests_on: list[Ground]
    model: str | None
    version: str | None
    seed: int | None
    row: int | None
    n: int | None
    distance: float | None
    why: str
    log: dict[str, int] | None = None

    def told(self) -> dict[str, Any]:
        """As JSON tells it."""
        return self._asdict()

    def or_else(self, other: Verified) -> Verified:
        """What was found in another way, where that has found something; both of them, where it has not."""
        return self._replace(log=other.log, why=f"{self.why}; {other.why}") if other.verdict == "no" else other


# Asks for rows, and is sent them.
Verification = Generator[RowsRequest, Samples, Verified]


def mark_of(brought: Brought, claim: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the file's mark says, completed by what was told beside it; None: neither says which rows it holds."""
    if brought.told is None and claim is None:
        return None
    told = {**(brought.told or {}), **(claim or {})}
    for many, one in (("labels", "label"), ("conditions", "condition")):
        if told.get(many) is not None:
            told.pop(one, None)
    if isinstance(untold := told.get("untold"), list):
        told["untold"] = [name for name in untold if told.get(str(name)) is None]
    return told


def unmarked() -> Verified:
    """Of a file that says nothing."""
    return Verified("no", [], None, None, None, None, None, None, "the file has no mark of ours, and none was told")


def verification(
    brought: Brought, told: Mapping[str, Any], manifest: Manifest, limits: Limits, *, gives_uint8: bool
) -> Verification:
    """Whether a file is what its mark says, of the bundle with this manifest.

    Asks for rows as it needs them: those that the mark names, then others. `gives_uint8`: the engine makes pixels.
    """
    names = manifest.condition_names
    if isinstance(lists := told.get("conditions"), list) and lists and isinstance(lists[0], list):
        rows = [dict(zip(names, row, strict=False)) if isinstance(row, list) else row for row in lists]
        told = {**told, "conditions": rows}
    try:
        mark = Mark.of(told)
    except InvalidError as error:
        return Verified("no", [], None, None, None, None, None, None, f"the file's mark cannot be read: {error}")
    row = mark.rows[0] if mark.rows else mark.offset
    said = (mark.model, mark.version, mark.seed, row if mark.seed is not None else None, mark.n)

    def no(why: str, distance: float | None = None) -> Verified:
        return Verified("no", [], *said, distance, why)

    if mark.model not in (None, manifest.name) or mark.version not in (None, manifest.version):
        made_by = f"{mark.model or manifest.name} {mark.version or 'of no version'}"
        return no(f"the mark names {made_by}, which is not here; {manifest.name} {manifest.version} is")
    media = _written_as(brought, manifest)
    if media is None:
        return no(f"{manifest.name} makes nothing that is {brought.media}")
    said = (manifest.name, manifest.version, *said[2:])
    try:
        request = mark.request(manifest, limits.rows, limits.content_bytes)
        _require_room(request, manifest, limits)
    except (InvalidError, TooLargeError) as error:
        return no(f"the rows that the mark names cannot be made again: {error}")
    dtype: Any = dtype_of(media, manifest.sample, brought.dtype if brought.dtype == "uint8" else "float32")  # type: ignore[arg-type]
    if dtype == "uint8" and manifest.sample.value_range is None:
        return no(f"{manifest.name} makes no bytes")
    request = request._replace(output="sample_uint8" if dtype == "uint8" and gives_uint8 else "sample")
    provenance = Provenance(
        manifest.name, manifest.version, mark.seed, row, 1.0, labels=manifest.labels or (), conditions=names
    )

    def content_of(samples: Samples) -> Content:
        numbers = None if mark.rows is None else np.array(mark.rows)
        part = Rows(samples.samples, samples.labels, samples.conditions, numbers)
        document = _document(media, brought, request.n, manifest, provenance, dtype)
        pieces = [document.opening(), *map(bytes, document.rows(part)), *map(bytes, document.closing())]
        return read_file(b"".join(pieces), Limits(1 << 40, 1 << 40)).content

    try:
        made = content_of((yield request))
    except LatentserveError as error:
        return no(f"the rows that the mark names cannot be written as {media}: {error}")
    of = f"row {row} of seed {mark.seed}" if request.n == 1 else f"{request.n} rows of seed {mark.seed}"
    if brought.content.equals(made):
        return Verified("exact", ["mark"], *said, 0.0, f"everything in it is as {of} is made")
    distance = brought.content.distance(made)
    if not math.isfinite(distance):
        return no(f"the mark names {of}, which this is not, nor can be compared with it")
    others = yield _other_rows(request, manifest)
    files = len(others.samples) // request.n
    parts = [others.take(slice(start * request.n, (start + 1) * request.n)) for start in range(files)]
    nearest = min(brought.content.distance(content_of(part)) for part in parts)
    if distance <= _NEAR * nearest:
        why = f"it was made from {of}, and changed: it is {distance:.3g} away, and {nearest:.3g} from others"
        return Verified("alike", ["mark"], *said, distance, why)
    return no(
        f"the mark names {of}, to which it is no nearer ({distance:.3g}) than to others ({nearest:.3g})", distance
    )


def _written_as(brought: Brought, manifest: Manifest) -> str | None:
    """The media type to compare with; None: the model makes nothing like it."""
    offers = media_types(manifest.sample)
    if brought.media in offers:
        return brought.media
    if brought.media in (GIF, JPEG) and PNG in offers:
        return GIF if brought.media == GIF else PNG
    return None


def _document(media: str, brought: Brought, n: int, manifest: Manifest, provenance: Provenance, dtype: Any) -> Document:
    animated = media == GIF or (media == WEBP and len(brought.content.arrays) > 1)
    if animated:
        return Animation(media, n, manifest.sample, provenance, _FPS, math.inf)
    return make_document(media, n, manifest.sample, provenance, dtype, address=brought.address)


def _require_room(request: RowsRequest, manifest: Manifest, limits: Limits) -> None:
    size = request.n * 4 * math.prod(manifest.sample.shape)
    if size > limits.content_bytes:
        raise TooLargeError(f"{request.n} rows have {size} bytes; {limits.content_bytes} are made again")


def _other_rows(request: RowsRequest, manifest: Manifest) -> RowsRequest:
    """Some files' rows for the same labels and conditions, of another seed."""
    numbers = request.n * math.prod(manifest.sample.shape)
    files = max(1, min(_OTHERS, _OTHER_ROWS // request.n, _OTHER_NUMBERS // numbers))
    labels = None if request.labels is None else np.tile(request.labels, files)
    conditions = None if request.conditions is None else np.tile(request.conditions, (files, 1))
    seed = (request.seed + 1) % SEED_LIMIT
    return request._replace(
        n=files * request.n, seed=seed, offset=0, latents=None, labels=labels, conditions=conditions, derived=False
    )
