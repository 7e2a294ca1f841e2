"""A file, beside the rows that its mark names, made again -> whether it is theirs.

Exact: everything in it is as it is made. Alike: it is at most half as far from them as from the nearest of other rows
for the same labels and conditions, so that it was made from them, though something was done to it. No: nothing shows
that it is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from latentserve.service.bundle import Manifest
from latentserve.service.credentials.signature import Signature
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
from latentserve.service.verifying.reading import AVIF, BMP, JPEG, TIFF, Brought, Limits, read_file

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
        distance: from the rows that the mark names, 0 is none; None: they were not made again, or are incomparable.
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


def concluded(steps: Verification, make: Callable[[RowsRequest], Samples]) -> Verified:
    """What a verification comes to, with rows as `make` makes them. Raises what that does."""
    try:
        request = next(steps)
        while True:
            request = steps.send(make(request))
    except StopIteration as end:
        verified: Verified = end.value
        return verified


def mark_of(
    brought: Brought, claim: Mapping[str, Any] | None, signature: Signature | None = None
) -> dict[str, Any] | None:
    """What the file's mark says, completed by what was told beside it; of a file whose signature holds what was signed,
    completed where it says that it leaves out something. None: nothing says which rows it holds."""
    signed = None if signature is None else signature.mark
    if brought.told is None and claim is None and signed is None:
        return None
    told = {**(brought.told or {}), **(claim or {})}
    if signed is not None:
        told = {name: told[name] for name in signed.get("untold", ()) if name in told} | dict(signed)
    for many, one in (("labels", "label"), ("conditions", "condition")):
        if told.get(many) is not None:
            told.pop(one, None)
    if isinstance(untold := told.get("untold"), list):
        told["untold"] = [name for name in untold if told.get(str(name)) is None]
    return told


def unmarked(signature: Signature | None = None) -> Verified:
    """Of a file that does not say which rows it holds."""
    why = "the file has no mark of ours, and none was told"
    if signature is not None:
        why += f"; {signature.said()}"
    return Verified("no", [], None, None, None, None, None, None, why)


def elsewhere(told: Mapping[str, Any], signature: Signature | None, why: str) -> Verified:
    """Of a file whose mark names what is not here, for this reason. Raises InvalidError: it cannot be read."""
    return _Said(Mark.of(told), signature).unmade(why)


class _Said:
    """What is said of a file in the end, by what its mark says and by who signed it."""

    def __init__(self, mark: Mark, signature: Signature | None) -> None:
        self._signature = signature
        self._mark = mark
        row = mark.rows[0] if mark.rows else mark.offset
        self.row = row
        self._fields = (mark.model, mark.version, mark.seed, row if mark.seed is not None else None, mark.n)

    def of(self, manifest: Manifest) -> None:
        """The rows are of this model."""
        self._fields = (manifest.name, manifest.version, *self._fields[2:])

    def exact(self, why: str) -> Verified:
        """They were made again."""
        return self._verified("exact", ["mark", "signature"] if self._is_signed() else ["mark"], 0.0, why)

    def alike(self, why: str, distance: float) -> Verified:
        """They were made again, and are a little different: unless that was signed it was changed."""
        if self._is_signed():
            return self._verified("exact", ["mark", "signature"], distance, f"it is as it was signed; {why}")
        return self._verified("alike", ["mark"], distance, why)

    def other(self, why: str, distance: float | None = None) -> Verified:
        """They were made again, and are something else: whoever signed it."""
        return self._verified("no", [], distance, why)

    def unmade(self, why: str) -> Verified:
        """They cannot be made again."""
        if self._is_signed():
            return self._verified("exact", ["signature"], None, f"it is as it was signed; {why}")
        return self._verified("no", [], None, why)

    def _verified(self, verdict: Verdict, rests_on: list[Ground], distance: float | None, why: str) -> Verified:
        if self._signature is not None:
            why += f"; {self._signature.said()}"
        return Verified(verdict, rests_on, *self._fields, distance, why)

    def _is_signed(self) -> bool:
        """Whether a signature holds that is of these rows: of the file, or of each of the files in it."""
        signature, mark = self._signature, self._mark
        if signature is None or not signature.holds or not signature.marks:
            return False
        if len(signature.marks) == 1:
            return True  # the mark is the one that was signed
        rows = mark.rows or range(mark.offset, mark.offset + mark.n)
        named = [(one.get("model"), one.get("version"), one.get("seed"), one.get("offset")) for one in signature.marks]
        return named == [(mark.model, mark.version, mark.seed, row if mark.seed is not None else None) for row in rows]


def verification(
    brought: Brought,
    told: Mapping[str, Any],
    manifest: Manifest,
    limits: Limits,
    *,
    gives_uint8: bool,
    signature: Signature | None = None,
) -> Verification:
    """Whether a file is what its mark says, of the bundle with this manifest.

    Asks for rows as it needs them: those that the mark names, then others. `gives_uint8`: the engine makes pixels.
    `signature` is the file's; `told` is what `mark_of` gives with it.
    """
    names = manifest.condition_names
    if isinstance(lists := told.get("conditions"), list) and lists and isinstance(lists[0], list):
        rows = [dict(zip(names, row, strict=False)) if isinstance(row, list) else row for row in lists]
        told = {**told, "conditions": rows}
    try:
        mark = Mark.of(told)
    except InvalidError as error:
        return Verified("no", [], None, None, None, None, None, None, f"the file's mark cannot be read: {error}")
    said = _Said(mark, signature)
    row = said.row
    if mark.model not in (None, manifest.name) or mark.version not in (None, manifest.version):
        made_by = f"{mark.model or manifest.name} {mark.version or 'of no version'}"
        return said.unmade(f"the mark names {made_by}, which is not here; {manifest.name} {manifest.version} is")
    media = _written_as(brought, manifest)
    if media is None:
        return said.other(f"{manifest.name} makes nothing that is {brought.media}")
    said.of(manifest)
    try:
        request = mark.request(manifest, limits.rows, limits.content_bytes)
        _require_room(request, manifest, limits)
    except (InvalidError, TooLargeError) as error:
        return said.unmade(f"the rows that the mark names cannot be made again: {error}")
    dtype: Any = dtype_of(media, manifest.sample, brought.dtype if brought.dtype == "uint8" else "float32")  # type: ignore[arg-type]
    if dtype == "uint8" and manifest.sample.value_range is None:
        return said.other(f"{manifest.name} makes no bytes")
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
        return said.unmade(f"the rows that the mark names cannot be written as {media}: {error}")
    of = f"row {row} of seed {mark.seed}" if request.n == 1 else f"{request.n} rows of seed {mark.seed}"
    if brought.content.equals(made):
        return said.exact(f"everything in it is as {of} is made")
    distance = brought.content.distance(made)
    if not math.isfinite(distance):
        return said.other(f"the mark names {of}, which this is not, nor can be compared with it")
    others = yield _other_rows(request, manifest)
    files = len(others.samples) // request.n
    parts = [others.take(slice(start * request.n, (start + 1) * request.n)) for start in range(files)]
    nearest = min(brought.content.distance(content_of(part)) for part in parts)
    if distance <= _NEAR * nearest:
        why = f"it was made from {of}, and changed: it is {distance:.3g} away, and {nearest:.3g} from others"
        return said.alike(why, distance)
    return said.other(
        f"the mark names {of}, to which it is no nearer ({distance:.3g}) than to others ({nearest:.3g})", distance
    )


def _written_as(brought: Brought, manifest: Manifest) -> str | None:
    """The media type to compare with; None: the model makes nothing like it."""
    offers = media_types(manifest.sample)
    if brought.media in offers:
        return brought.media
    if brought.media in (GIF, JPEG, AVIF, TIFF, BMP) and PNG in offers:
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
