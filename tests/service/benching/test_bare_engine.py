"""The raw engine: every kind of bundle runs, and what is slow does not run for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.benching import bare_engine
from service.benching.bare_engine import BATCHES, BareEngine
from service.bundle import read_bundle


def test_both_kinds_of_bundle_run(bundle: Path, plain_bundle: Path) -> None:
    for each in (bundle, plain_bundle):
        engine = BareEngine(read_bundle(each), threads=1)
        assert engine.provider == "CPUExecutionProvider"
        rates = [engine.samples_per_second(batch, 0.05) for batch in BATCHES]
        # What a call costs by itself is shared by the rows of its batch: hundreds of times less in the largest.
        assert rates[-1] > 5 * rates[0] > 0
        assert engine.best_batch(0.01) > 1


def test_larger_batches_than_a_slow_one_are_not_tried(slow_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    class Watched(BareEngine):
        def samples_per_second(self, batch: int, seconds: float) -> float:
            tried.append(batch)
            return super().samples_per_second(batch, seconds)

    monkeypatch.setattr(bare_engine, "_SLOW_SECONDS", 1e-9)
    assert Watched(read_bundle(slow_bundle), threads=1).best_batch(0.001) == 1
    assert tried == [1, 1, 1]
