"""What is measured of which server, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.generators import CONVOLUTIONAL_28, CONVOLUTIONAL_64, ONE_LAYER, Generator
from benchmarks.serving.servers import BENTOML, LITSERVE, MOSEC, MOSEC_JSON, OURS, OURS_INT8, TRITON, UVICORN, Server
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


@dataclass(frozen=True)
class Plan:
    """How much of everything. The servers of a generator are measured one after the other, in each repetition."""

    repetitions: int
    seconds: float  # of a closed loop, and three times those of the bare engine before it; other loops take twice that
    one_row: tuple[int, ...]  # numbers of connections
    many_rows: tuple[int, ...]  # numbers of connections; each asks for MANY rows, so 32 wait for seconds of work
    servers: dict[Generator, tuple[Server, ...]]

    def cases(self, server: Server, generator: Generator) -> Iterator[Case]:
        """What is measured of a server behind a generator; the open loops right after what they are a share of."""
        usual, *others = server.asked
        if generator is ONE_LAYER:
            yield Case("closed", usual, 1, 32)
        elif generator is CONVOLUTIONAL_64:
            yield Case("closed", usual, 1, 32)
            yield Case("closed", usual, MANY, 4)
        elif server is OURS_INT8:
            yield Case("closed", usual, MANY, 8)
        else:
            yield from (Case("closed", usual, 1, connections) for connections in self.one_row)
            if server is MOSEC_JSON:
                return
            yield Case("even", usual, 1, None)
            yield Case("poisson", usual, 1, None)
            yield from (Case("closed", other, 1, 32) for other in others)
            yield from (Case("closed", usual, MANY, connections) for connections in self.many_rows)
            yield from (Case("closed", other, MANY, 8) for other in others)
            if server is OURS:
                yield Case("without bulk", usual, 1, 32)
                yield Case("beside bulk", usual, 1, 32)


_PEERS = (BENTOML, LITSERVE, MOSEC, TRITON)
_SMALL = (OURS, OURS_INT8, *_PEERS, MOSEC_JSON)

FULL = Plan(
    repetitions=3,
    seconds=1.5,
    one_row=(1, 8, 32, 128),
    many_rows=(1, 8, 32),
    servers={CONVOLUTIONAL_28: _SMALL, ONE_LAYER: (OURS, UVICORN, *_PEERS), CONVOLUTIONAL_64: (OURS, *_PEERS)},
)
QUICK = Plan(
    repetitions=1,
    seconds=1.2,
    one_row=(1, 32),
    many_rows=(8,),
    servers={CONVOLUTIONAL_28: _SMALL, ONE_LAYER: (OURS, UVICORN)},
)
