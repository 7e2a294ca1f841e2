"""Headers that tell what is known of each row, where the format has no room for it: of a few rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from latentserve.service.bundle import plain
from latentserve.service.encoding.provenance import named
from latentserve.service.encoding.rows import Rows

_MOST_ROWS = 256
_MOST_BYTES = 1024  # of each: a proxy takes some kilobytes of headers


def row_headers(part: Rows, labels: Sequence[bytes], conditions: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Of all rows of an answer: their numbers where they do not follow one another, their labels, conditions, and
    scores; each as a list of JSON in ASCII, in the order of the rows, and left out where it is long.

    `labels` are JSON strings, by index; `conditions` names, by column.
    """
    told: list[tuple[bytes, bytes]] = []
    if len(part.samples) > _MOST_ROWS:
        return told
    if part.numbers is not None:
        told.append((b"latentserve-rows", json.dumps(part.numbers.tolist()).encode()))
    if part.labels is not None:
        told.append((b"latentserve-labels", b"[%b]" % b", ".join(map(labels.__getitem__, part.labels.tolist()))))
    if part.conditions is not None:
        told.append((b"latentserve-conditions", json.dumps(named(part.conditions, conditions)).encode()))
    if part.scores is not None:
        told.append((b"latentserve-scores", json.dumps(plain(part.scores)).encode()))
    for header in [*told]:
        if len(header[1]) > _MOST_BYTES:
            told.remove(header)
    return told
