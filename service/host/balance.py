"""Which worker gets a connection, and which has too many: decisions, nothing done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_SLACK = 8  # a difference of less than this part of a worker's share is not worth moving anything

Worker = TypeVar("Worker")


def fewest(loads: Mapping[Worker, int]) -> Worker | None:
    """The worker with the fewest connections; None where there is none."""
    return min(loads, key=loads.__getitem__, default=None)


def surplus(loads: Mapping[Worker, int]) -> dict[Worker, int]:
    """How many connections each worker has beyond its share, where that is any, and the difference between workers is
    worth moving them. Given to those with the fewest, one after the other, they leave no surplus."""
    if not loads:
        return {}
    total, workers = sum(loads.values()), len(loads)
    if max(loads.values()) - min(loads.values()) <= max(1, total // workers // _SLACK):
        return {}
    share, over = divmod(total, workers)
    falling = sorted(loads, key=loads.__getitem__, reverse=True)  # what does not divide stays with those that have most
    given = {worker: loads[worker] - share - (place < over) for place, worker in enumerate(falling)}
    return {worker: count for worker, count in given.items() if count > 0}
