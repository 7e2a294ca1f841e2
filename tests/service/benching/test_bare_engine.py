"""The raw engine: every kind of bundle runs, and what is slow does not run for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentserve.service.benching import bare_engine
from latentserve.service.benching.bare_engine import BATCHES, BareEngine
from latentserve.service.bundle import read_bundle


def test_both_kinds_of_bundle_run(bundle: Path, plain_bundle: Path) -> None:
    for each in (bundle, plain_bundle):
        engine = BareEngine(read_bundle(each), threads=1)
        assert engine.provider == "CPUExecutionProvider"
        rates = [engine.samples_per_second(batch, 0.05) for batch in BATCHES]
        # What a call costs by itself is shared by the rows of its batch: hundreds of times less in the largest.
        assert rates[-1] > 5 * rates[0] > 0
        assert engine.best_batch(0.01) > 1


class Watched(BareEngine):
    """Keeps what was tried, and has memory for 16 rows."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(read_bundle(bundle), threads=1)
        self.tried: list[int] = []

    def samples_per_second(self, batch: int, seconds: float) -> float:
        self.tried.append(batch)
        if batch > 16:
            raise MemoryError
        return super().samples_per_second(batch, seconds)


def test_larger_batches_than_a_slow_one_are_not_tried(plain_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_engine, "_SLOW_SECONDS", 1e-9)
    engine = Watched(plain_bundle)
    assert engine.best_batch(0.001) == 1
    assert engine.tried == [1, 1, 1]


def test_larger_batches_than_fit_are_not_tried(plain_bundle: Path) -> None:
    engine = Watched(plain_bundle)
    assert engine.best_batch(0.001) <= 16
    assert engine.tried == [1, 4, 16, 64, *2 * [1, 4, 16]]
