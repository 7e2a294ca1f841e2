"""The effect in each replica by itself, over all arms: for telling one that differs from the others."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.names import SIGNAL_BINS
from deploy.rules.counts import MODEL, by, increase
from deploy.rules.rule import Record
from deploy.rules.statistics import REFERENCE, chi_square_rules
from deploy.windows import REPLICA_BLOCK, Times, duration

REPLICA_WINDOWS = {duration(REPLICA_BLOCK * blocks): blocks for blocks in (1, 5)}

_REPLICA = ("instance", *MODEL, "signal")
_STEM = "latentserve_output_signal"


def replica_rules(times: Times) -> Iterator[Record]:
    """Rows, chi-square and effects by replica and signal, evaluated every REPLICA_BLOCK."""
    block = duration(REPLICA_BLOCK)
    counts, totals = f"instance_signal_bin:{_STEM}_bin:increase{block}", f"instance_signal:{_STEM}_bin:increase"
    yield Record(counts, increase(SIGNAL_BINS, REPLICA_BLOCK, times, (*_REPLICA, "bin")))
    yield Record(f"{totals}{block}", f"sum {by(*_REPLICA)} ({counts})")
    for window, blocks in REPLICA_WINDOWS.items():
        within = times.text((blocks - 0.5) * REPLICA_BLOCK)
        summed = counts if blocks == 1 else f"sum_over_time({counts}[{within}])"
        if blocks > 1:
            yield Record(f"{totals}{window}", f"sum_over_time({totals}{block}[{within}])")
        # Of a longer window only the bins' sum of squares is needed: they are not recorded again.
        yield from chi_square_rules(
            f"instance_signal:{_STEM}", summed, f"{totals}{window}", window, _REPLICA, REFERENCE
        )
