"""What is measured of a server, one after the other, and the engine alone before each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from latentserve.service.benching.load import Load, closed_loop, open_loop
from latentserve.service.benching.target import Target

SHARE = 0.7  # of saturation, open loop
MANY = 64  # rows of a large request


@dataclass(frozen=True)
class Case:
    """Requests for `rows` rows over `connections` connections; None: an open loop at SHARE of saturation."""

    rows: int
    connections: int | None


# The open loop is last, for it is a share of what the others reached with its rows.
CASES = (Case(1, 1), Case(1, 8), Case(1, 32), Case(MANY, 4), Case(1, None))


@dataclass(frozen=True)
class Measurement:
    """One case. `rate`: requests a second that an open loop sends; `engine`: samples a second without a server."""

    case: Case
    load: Load
    rate: float | None = None
    engine: float | None = None

    @property
    def samples_per_second(self) -> float:
        """Of whole answers."""
        return self.case.rows * self.load.per_second

    @property
    def over_engine(self) -> float | None:
        """Samples a second over those of the engine alone, measured right before."""
        return self.samples_per_second / self.engine if self.engine else None


def measure(target: Target, seconds: float, engine: Callable[[], float] | None) -> Iterator[Measurement]:
    """Each of CASES for `seconds`, and `engine`, samples a second, before it: a machine is not the same a minute later.

    Raises OSError where no connection is made, and ServerError where the server does not answer a first request.
    """
    for rows in sorted({case.rows for case in CASES}):
        target.check(rows)
    saturation = 0.0
    closed_loop(target.address, target.requests(1), 32, seconds / 4)  # first ones are slower
    for case in CASES:
        alone = None if engine is None else engine()
        requests = target.requests(case.rows)
        if case.connections is not None:
            load = closed_loop(target.address, requests, case.connections, seconds)
            if case.rows == 1:
                saturation = max(saturation, load.per_second)
            yield Measurement(case, load, engine=alone)
        elif rate := SHARE * saturation:
            load = open_loop(target.address, requests, rate, seconds, "poisson")
            yield Measurement(case, load, rate, alone)
