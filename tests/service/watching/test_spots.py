"""Recorded rows: made again they are what they were, on any batch; where the generator changed, a few of them tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.drift.conditions import pack
from benchmarks.drift.faults import drop_band, drop_mode
from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.drift import judge_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.settings import load_settings
from latentserve.service.watching.control import Control
from latentserve.service.watching.reference import read_reference
from latentserve.service.watching.spots import FIRST, MOST_ROWS, PLACES, Spots, spot_of
from latentserve.service.watching.verdict import RECORDED_ROWS


@pytest.fixture(scope="module")
def showers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("showers") / "showers", ["electron", "photon"], 2000)


@pytest.fixture
def bundle(showers: Path) -> Bundle:
    return read_bundle(showers)


def test_rows_made_again_are_what_they_were(bundle: Bundle) -> None:
    spots = read_reference(bundle).spots
    assert spots is not None
    assert len(spots) == MOST_ROWS
    assert len(spots.places) == PLACES
    engine = Engine(bundle, "cpu", 2)
    for start, rows in ((0, 1), (17, 50), (MOST_ROWS - 3, 3)):
        request = spots.request(bundle.manifest, start, rows)
        assert spot_of(request) == start
        samples = engine.generate(request.inputs(bundle.manifest, 0, rows))
        assert spots.off(samples, start).max() <= bundle.golden.tolerance
        samples[0] += 1
        assert spots.off(samples, start)[0] == pytest.approx(1, rel=1e-3)
    assert np.isinf(spots.off(samples * np.nan, start)).all()
    assert spot_of(request._replace(arm="client")) is None
    assert spot_of(request._replace(offset=0)) is None


def test_they_are_taken_in_turn(bundle: Bundle) -> None:
    control = Control(bundle.manifest, read_reference(bundle))
    seen = [
        request.offset - FIRST + row for _ in range(9) for request in control.recorded(500) for row in range(request.n)
    ]
    assert len(seen) == 4500
    assert sorted(seen[:MOST_ROWS]) == list(range(MOST_ROWS))
    assert sum(request.n for request in control.requests(333)) == 333
    none = Control(bundle.manifest, replace(read_reference(bundle), spots=None))
    assert none.recorded(10) == []
    assert [request.n for request in none.requests(333)] == [333]


@pytest.mark.parametrize("fault", [None, drop_mode, drop_band])
def test_a_fault_beyond_the_probes_is_found_by_few_rows(showers: Path, tmp_path: Path, fault: object) -> None:
    served = showers
    if fault is not None:
        served = tmp_path / "faulty"
        fault(showers, served, np.random.default_rng(0))  # type: ignore[operator]
    verdict = judge_bundle(read_bundle(served), load_settings(bundles=(served,)), None, 1000)
    evidence = verdict["evidence"]
    recorded = evidence["recorded_rows_lately"]
    assert RECORDED_ROWS <= recorded <= MOST_ROWS
    if fault is None:
        assert verdict["cause"] != "unknown"
        assert evidence["recorded_rows_differing_lately"] == 0
    else:
        assert verdict["cause"] == "unknown"
        assert evidence["recorded_rows_differing_lately"] > 0.02 * recorded
        assert "recorded at export are others now" in verdict["sentence"]


def test_what_is_damaged_is_refused(bundle: Bundle) -> None:
    spots = read_reference(bundle).spots
    assert spots is not None
    arrays = spots.to_arrays()
    assert np.array_equal(Spots.from_arrays(arrays).values, spots.values)
    for name, value in (
        ("places", spots.places[::-1]),
        ("places", spots.places[1:]),
        ("values", spots.values * np.nan),
        ("values", spots.values[0]),
        ("measured", np.float64(np.inf)),
    ):
        with pytest.raises(ValueError, match="spots"):
            Spots.from_arrays({**arrays, name: value})
