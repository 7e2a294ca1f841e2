"""How near the nearest row is to pictures that nobody was sent: what a picture that was sent has to be nearer than.

A picture of the same generator, whose row was never sent, is as near to the rows that were as a foreign one can be by
chance. Of some such pictures, cut, made smaller and written as JPEG, the nearest of all is the measure: half as far
is what is called ours. Of n rows of which each other row is as likely to be within a distance r as r^d, of d degrees of
freedom, that happens by chance to one of `PICTURES` times 2^d foreign pictures.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable

import numpy as np
import orjson
from PIL import Image

from latentserve.service.auditing.log import AuditError
from latentserve.service.encoding.images import pixels
from latentserve.service.errors import one_line
from latentserve.service.finding.features import Pixels, Query, shown
from latentserve.service.finding.overlay import lay_over
from latentserve.service.finding.served import Served
from latentserve.service.opened import OpenedBundle
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output
from latentserve.service.verifying.content import Coding, coding_of

PICTURES = 200  # of an account of fewer rows as many as those,
_FEWEST = 20  # and so many at the least
GROWN = 1.25  # times as many rows as there were: then they are looked at again


def control(bundle: OpenedBundle, served: Served, told: Callable[[int], object] = lambda _done: None) -> None:
    """Measure anew, where there are many more rows than the last time; `told` of how many pictures. Raises
    AuditError."""
    rows = served.rows
    before = served.control
    if not rows or (before is not None and rows < GROWN * before.rows):
        return
    pictures = min(PICTURES, max(_FEWEST, rows))
    request = RowsRequest(pictures, secrets.randbelow(SEED_LIMIT))  # of a seed that nobody knows
    images = _pictures(bundle, request)
    least = 1.0
    for place, image in enumerate(images):
        least = min(least, _share(bundle, served, *spoilt(image, place)))
        told(place + 1)
    path = served.control_path
    part = path.with_suffix(".part")
    try:
        part.write_bytes(orjson.dumps({"rows": rows, "pictures": pictures, "nearest": least}))
        part.chmod(0o600)
        part.rename(path)
    except OSError as error:
        raise AuditError(f"{path}: cannot be written ({one_line(error)})") from None


def spoilt(image: Pixels, place: int) -> tuple[Pixels, Coding]:
    """A picture [H, W, C] cut by a tenth at one of its corners or in its middle, resized by 0.8, and written as JPEG;
    [h, w, 4], and how that was done."""
    height, width = image.shape[:2]
    rows, columns = round(0.1 * height), round(0.1 * width)
    top, left = ((0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2))[place % 5]
    cut = image[top : top + height - rows, left : left + width - columns]
    picture = Image.fromarray(cut[..., 0] if cut.shape[2] == 1 else cut)
    size = max(1, round(0.8 * picture.width)), max(1, round(0.8 * picture.height))
    out = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=75)
    with Image.open(out) as read:
        return np.asarray(read.convert("RGBA")), coding_of(read)


def _pictures(bundle: OpenedBundle, request: RowsRequest) -> list[Pixels]:
    output: Output = "sample_uint8" if bundle.gives("sample_uint8") else "sample"
    made = bundle.made(request._replace(output=output))
    return [shown(row) for row in pixels(made.samples, bundle.manifest.sample)]


def _share(bundle: OpenedBundle, served: Served, picture: Pixels, coding: Coding) -> float:
    """How near the nearest row is to it, in parts of its contrast; 1: nothing is near."""
    query = Query(picture, bundle.manifest.sample, coding)
    candidates = [] if query.plain else served.nearest(query)
    if not candidates:
        return 1.0
    rows = _pictures(bundle, served.request(candidates))
    return lay_over(query, rows, [one.window for one in candidates]).share
