"""The effect in each replica by itself, over all arms: for telling one that differs from the others."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.names import SIGNAL_BINS
from deploy.rules.counts import MODEL, by, increase
from deploy.rules.rule import Record
from deploy.rules.statistics import REFERENCE, chi_square_rules
from deploy.windows import BLOCK, WINDOWS, Times

REPLICA_WINDOWS = ("5m", "20m")

_REPLICA = ("instance", *MODEL, "signal")
_STEM = "latentserve_output_signal"


def replica_rules(times: Times) -> Iterator[Record]:
    """Rows, chi-square and effects by replica and signal."""
    counts, totals = f"instance_signal_bin:{_STEM}_bin:increase1m", f"instance_signal:{_STEM}_bin:increase"
    yield Record(counts, increase(SIGNAL_BINS, BLOCK, times, (*_REPLICA, "bin")))
    yield Record(f"{totals}1m", f"sum {by(*_REPLICA)} ({counts})")
    for window in REPLICA_WINDOWS:
        within = times.text(WINDOWS[window] - BLOCK / 2)
        yield Record(f"{totals}{window}", f"sum_over_time({totals}1m[{within}])")
        # Of the bins only the sum of squares is needed: they are not recorded again for the window.
        summed = f"sum_over_time({counts}[{within}])"
        yield from chi_square_rules(
            f"instance_signal:{_STEM}", summed, f"{totals}{window}", window, _REPLICA, REFERENCE
        )
