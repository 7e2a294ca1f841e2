"""The times of all rules, in seconds; and all of them divided, for a day that takes minutes."""

from __future__ import annotations

from dataclasses import dataclass

SCRAPE = 15.0
BLOCK = 60.0  # counters are read once a minute; every longer window is a sum of these minutes
REPLICA_BLOCK = 240.0  # each replica's bins by themselves are many series, and wait for longer
BASE = "5m"
WINDOWS = {f"{5 << k}m": 300.0 * (1 << k) for k in range(7)}  # the base and its doublings: 5m, 10m ... 320m
SHOWN = ("5m", "80m", "320m")  # for which every statistic is recorded
GOING_ON = "40m"  # in which a drift of the longest window must still be seen
TESTED = ("5m", GOING_ON, "80m", "320m")  # for which there is an effect
DAY = 86_400.0
FASTEST = 60.0  # a block is then a second, and so is a scrape

_LEAST_SCRAPE = 1.0


def duration(seconds: float) -> str:
    """As Prometheus writes it, exact to a millisecond."""
    milliseconds = round(seconds * 1000)
    for size, unit in ((3_600_000, "h"), (60_000, "m"), (1000, "s")):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


@dataclass(frozen=True)
class Times:
    """Windows, intervals and scrapes, `faster` times as short as they are in production, at most FASTEST; a scrape is a
    second at least.

    What follows a clock of the service's own, as golden probes do, is not divided: see the alerts.
    """

    faster: float = 1.0

    @property
    def scrape(self) -> float:
        """Seconds from one scrape to the next."""
        return max(SCRAPE / self.faster, _LEAST_SCRAPE)

    def seconds(self, seconds: float) -> float:
        """So many seconds of production."""
        return seconds / self.faster

    def text(self, seconds: float) -> str:
        """The same as Prometheus writes it."""
        return duration(seconds / self.faster)

    def window(self, name: str) -> str:
        """One of WINDOWS."""
        return self.text(WINDOWS[name])
