"""What JPEG leaves of a picture: a row is compared as it would have come out of what a picture went through."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from latentserve.service.finding.features import Query
from latentserve.service.verifying.content import Coding

_QUALITIES = (90, 75, 50)  # of the tables that libjpeg has, where a picture does not tell its own


def codings(query: Query) -> Sequence[Coding | int]:
    """How a picture may have been written: as its file says, or by one of some qualities. None where it was compared at
    another size than its own: then the means of its pixels have lost little."""
    if not query.whole:
        return ()
    return _QUALITIES if query.coding is None else (query.coding,)


def recoded(picture: Image.Image, coding: Coding | int) -> Image.Image:
    """A picture L or RGB, written so and read again: of other colours Pillow writes others than of these."""
    out = io.BytesIO()
    if isinstance(coding, int):
        picture.save(out, "JPEG", quality=coding)
    else:
        picture.save(out, "JPEG", qtables=list(coding.tables), subsampling=coding.sampling)
    with Image.open(out, formats=("JPEG",)) as again:
        return again.convert(picture.mode)
