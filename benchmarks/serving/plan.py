"""What is measured of which server, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.generators import CONVOLUTIONAL_28, ONE_LAYER, Generator
from benchmarks.serving.servers import (
    BEFORE,
    BENTOML,
    BENTOML_BASE64,
    INFERRED,
    LITSERVE,
    LITSERVE_BASE64,
    MOSEC,
    MOSEC_JSON,
    OURS,
    OURS_INT8,
    OURS_JSON,
    TRITON,
    UVICORN,
    Server,
)
from latentserve.service.benching.load import Spacing

MANY = 64  # rows of a large request
BULK_ROWS = 100_000
SHARE = 0.7  # of saturation, open loop

Loop = Literal["closed", "without bulk", "beside bulk"] | Spacing


@dataclass(frozen=True)
class Case:
    """One measurement: requests for `rows` rows, answered as `answer`, over `connections` connections."""

    loop: Loop
    answer: str
    rows: int
    connections: int | None  # None: as many as it takes


_PEERS = (BENTOML, LITSERVE, MOSEC, MOSEC_JSON, TRITON, BENTOML_BASE64, LITSERVE_BASE64)
SERVERS = {
    CONVOLUTIONAL_28: (OURS, BEFORE, OURS_INT8, OURS_JSON, *_PEERS),
    ONE_LAYER: (OURS, BEFORE, UVICORN),
}


def cases(server: Server, generator: Generator) -> Iterator[Case]:
    """What is measured of a server behind a generator; the open loops right after what they are a share of."""
    usual, *others = server.asked
    if server is not OURS_INT8:
        yield Case("closed", usual, 1, 32)
    if generator is ONE_LAYER:
        if server is OURS:
            yield Case("closed", INFERRED, 1, 32)
        return
    if server is OURS:
        yield Case("even", usual, 1, None)
        yield Case("poisson", usual, 1, None)
        yield from (Case("closed", other, rows, 8 if rows == MANY else 32) for other in others for rows in (1, MANY))
        yield Case("without bulk", usual, 1, 32)
        yield Case("beside bulk", usual, 1, 32)
    if server in (OURS, BEFORE, OURS_INT8):
        yield Case("closed", usual, MANY, 8)
    if server in (OURS, BENTOML, TRITON):
        yield Case("closed", usual, 1, 1)
