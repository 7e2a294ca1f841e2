"""Pictures without a mark, looked up among what was served: the rows that each may be are made again, and it is laid
over them.

Exact: it is, pixel by pixel, one of them. Alike: it is nearer to one of them than half as far as any of some pictures
that nobody was sent was to any; see `control.py`. No: nothing shows that it was sent.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from PIL import Image

from latentserve.service.auditing.asked import CHOSEN, asked_by, row_of
from latentserve.service.auditing.trail import Trail
from latentserve.service.bundle import Manifest, SampleSpec
from latentserve.service.encoding.images import SHEET_GAP, pixels
from latentserve.service.finding.features import Pixels, Query, shown
from latentserve.service.finding.overlay import Laid, lay_over
from latentserve.service.finding.search import Candidate
from latentserve.service.finding.served import Served
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.served_graph import Output
from latentserve.service.verifying.content import Coding, Content
from latentserve.service.verifying.verdict import Verdict, Verification, Verified

_NEAR = 0.5  # of the distance at which the nearest was that was not sent,
_NEVER = 0.35  # and of a picture's contrast: what is further away is another picture
_EMPTY = 4.0  # is the mean of a tile that is none, though JPEG has written it
_MOST_PICTURES = 64  # of one file


class _Found(NamedTuple):
    """Of one picture; `seed` and `row` None: it was made from a latent."""

    verdict: Verdict
    why: str
    distance: float | None = None
    seed: int | None = None
    row: int | None = None


def lookup(content: Content, trail: Trail, manifest: Manifest, *, gives_uint8: bool) -> Verification:
    """Whether the pictures of a file are among what an account says was sent of a model.

    Asks for rows as it needs them. `gives_uint8`: the engine makes pixels. Raises AuditError.
    """
    name = f"{manifest.name} {manifest.version}"
    if not content.pictures or manifest.sample.kind != "image":
        return _no(f"only pictures are looked up in the account, and {name} makes none of this kind")
    output: Output = "sample_uint8" if gives_uint8 else "sample"
    search = _Search(Served(trail, manifest), manifest, output, rounded=content.rounded)
    known = search.served.indexed
    log = {"answers": known.answers, "of": known.of}
    if not known.answers:
        why = f"no answer of {name} is in an index of the account, which `latentserve audit index` makes"
        return _no(why)._replace(log=log)
    pictures = pictures_of(content, manifest.sample)
    if len(pictures) > _MOST_PICTURES:
        return _no(f"it has {len(pictures)} pictures; {_MOST_PICTURES} are looked up")._replace(log=log)
    found = []
    for picture in pictures:
        coding = content.coding if len(pictures) == 1 else None  # of a sheet, it is of squares that lie elsewhere
        found.append((yield from search.find(picture, coding)))
    ours = [one for one in found if one.verdict != "no"]
    if len(ours) < len(found) or not found:
        others = "" if len(found) == 1 else f"{len(found) - len(ours)} of {len(found)} pictures were not sent: "
        first = next((one for one in found if one.verdict == "no"), None)
        return _no(f"{others}{first.why if first else 'it has no picture'}", first.distance if first else None, log)
    verdict: Verdict = "exact" if all(one.verdict == "exact" for one in ours) else "alike"
    distance = max(one.distance or 0.0 for one in ours)
    why = ours[0].why if len(ours) == 1 else f"all {len(ours)} pictures were sent; the first: {ours[0].why}"
    said = manifest.name, manifest.version, ours[0].seed, ours[0].row, len(ours)
    return Verified(verdict, ["audit"], *said, distance, why, log)


def _no(why: str, distance: float | None = None, log: dict[str, int] | None = None) -> Verified:
    return Verified("no", [], None, None, None, None, None, distance, why, log)


def pictures_of(content: Content, spec: SampleSpec) -> list[Pixels]:
    """Each picture [H, W, 4] of a file; of a contact sheet its tiles, without the empty ones at its end."""
    if len(content.arrays) != 1:
        return list(content.arrays)
    (sheet,) = content.arrays
    height, width = spec.shape[1] + SHEET_GAP, spec.shape[2] + SHEET_GAP
    rows, columns = (sheet.shape[0] + SHEET_GAP) / height, (sheet.shape[1] + SHEET_GAP) / width
    if rows * columns <= 1 or not (rows.is_integer() and columns.is_integer()):
        return [sheet]
    tiles = [
        sheet[top * height : (top + 1) * height - SHEET_GAP, left * width : (left + 1) * width - SHEET_GAP]
        for top in range(int(rows))
        for left in range(int(columns))
    ]
    while len(tiles) > 1 and tiles[-1][..., :3].mean() < _EMPTY:
        tiles.pop()
    return [np.ascontiguousarray(tile) for tile in tiles]


class _Search:
    """Of pictures of one file."""

    def __init__(self, served: Served, manifest: Manifest, output: Output, *, rounded: bool) -> None:
        self.served = served
        self._manifest = manifest
        self._output: Output = output
        self._rounded = rounded
        measured = served.control
        self._foreign = 0.0 if measured is None else measured.nearest
        self._limit = min(_NEVER, _NEAR * self._foreign)

    def find(self, picture: Pixels, coding: Coding | None) -> Generator[RowsRequest, Samples, _Found]:
        query = Query(picture, self._manifest.sample, coding)
        if query.plain:
            return _Found("no", "there is too little in the picture to tell it from others by")
        candidates = self.served.nearest(query)
        if not candidates:
            return _Found("no", "the account's index has no rows")
        made = yield self.served.request(candidates)._replace(output=self._output)
        rows = [shown(row) for row in pixels(made.samples, self._manifest.sample)]
        laid = lay_over(query, rows, [one.window for one in candidates], self._limit or math.inf)  # 0: not measured
        return (yield from self._judged(picture, candidates[laid.place], laid))

    def _judged(self, picture: Pixels, one: Candidate, laid: Laid) -> Generator[RowsRequest, Samples, _Found]:
        line = self.served.line(one)
        asked = asked_by(line, self.served.trail, self._manifest)[0]
        request = row_of(asked, one.row)
        by_seed = request.latents is None and not request.derived
        seed, row = (request.seed, request.offset) if by_seed else (None, None)
        of = f"row {row} of seed {seed}" if by_seed else "a row of a latent that a client sent, or that was worked out"
        exact = False
        if not self._rounded and picture.shape[:2] == tuple(self._manifest.sample.shape[1:]):
            again = yield request._replace(output=self._output)
            exact = np.array_equal(picture, _opaque(pixels(again.samples, self._manifest.sample)[0]))
        distance = 0.0 if exact else laid.distance
        if not exact and laid.share > self._limit:
            return _Found("no", self._too_far(laid), distance)
        if not exact and laid.lost > self._foreign:
            return _Found("no", "JPEG has left too little of the picture to tell it from others by", distance)
        ended = self.served.trail.ended(line)
        if ended is not None and ended["sent"] <= one.row and not any(name in line for name in CHOSEN):
            return _Found("no", f"it is {of}, which was made, and not sent: the client had gone", distance)
        if exact:
            return _Found("exact", f"it is, pixel by pixel, {of}, which was sent", 0.0, seed, row)
        window = laid.window
        part = "a part of " if min(window.right - window.left, window.bottom - window.top) < 0.99 else ""
        why = f"it is {part}{of}, which was sent, and changed: {laid.share:.2g} of its contrast away"
        return _Found("alike", f"{why}, where {self._limit:.2g} is near", distance, seed, row)

    def _too_far(self, laid: Laid) -> str:
        if not self._limit:
            return "no row that was sent is the same, and how near a foreign one may be was not measured yet"
        near = f"the nearest row that was sent is {laid.share:.2g} of its contrast away"
        return f"{near}; {self._limit:.2g} is near"


def _opaque(row: Pixels) -> Pixels:
    """A row [C, H, W] as pictures are read, [H, W, 4]."""
    picture = np.ascontiguousarray(np.moveaxis(row, 0, -1))
    return np.asarray(Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("RGBA"))
