"""The benchmark of golden probes, in its quick form, on a tiny generator."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.drift import probes
from benchmarks.drift.faults.weights import add_noise_in, shuffle_in
from benchmarks.drift.probes import QUICK, Plan
from benchmarks.drift.probes_report import report
from benchmarks.generators import TINY
from benchmarks.runner import main
from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return probes.untrained_bundle(tmp_path_factory.mktemp("bundles") / "tiny", TINY.build())


def test_a_run_writes_its_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, bundle: Path
) -> None:
    monkeypatch.setattr(probes, "CONVOLUTIONAL_28", TINY)
    monkeypatch.setattr(probes, "QUICK", dataclasses.replace(QUICK, latents=100))
    main(["probes", str(bundle), "--short", "--out", str(tmp_path / "probes")])
    results = json.loads((tmp_path / "probes.json").read_text())
    text = (tmp_path / "probes.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    assert [found["generator"] for found in results["generators"]] == ["untrained", "toy"]
    for found in results["generators"]:
        kinds = Counter(fault["kind"] for fault in found["faults"])
        assert kinds == {"bit flip": 32, "zeroed channel": 8, "weight noise": 8, "swapped file": 2, "fp16": 1}
        assert found["probes"] == 16
        assert found["healthy"]["replays"] == 1_000
        assert found["healthy"]["mismatches"] == 0
        for fault in found["faults"]:
            assert fault["found"] == (fault["difference"] is None or fault["difference"] > found["tolerance"])
            assert 0 <= fault["seen"] <= 1
        assert found["version"] in text
    untrained = [fault for fault in results["generators"][0]["faults"] if fault["psnr"] < 60]
    assert len(untrained) > 10
    assert all(fault["found"] for fault in untrained)


def test_the_ratio_is_that_of_the_mean_squared_error(tiny: Bundle) -> None:
    model = probes._parsed(tiny)
    add_noise_in(model, np.random.default_rng(0), 1e-3)
    faulty = dataclasses.replace(tiny, generator_file=model.SerializeToString())
    inputs = RowsRequest(n=300, seed=probes.FRESH_SEED).inputs(tiny.manifest, 0, 300)
    off = (Engine(faulty, "cpu").generate(inputs) - Engine(tiny, "cpu").generate(inputs)).astype(np.float64)
    expected = 10 * np.log10(2**2 / np.mean(off**2))
    found = probes._Fresh(tiny, 300).measure("weight noise", "", model)
    assert 60 < found["psnr"] < 70
    assert found["psnr"] == pytest.approx(expected, abs=0.01)
    assert found["latents"] == 300
    assert found["found"]


def test_what_is_certain_is_not_run_to_the_end(tiny: Bundle) -> None:
    fresh = probes._Fresh(tiny, 300)
    model = probes._parsed(tiny)
    unchanged = fresh.measure("nothing", "", model)
    assert (unchanged["psnr"], unchanged["latents"]) == (probes.MOST_DB, 300)
    assert not unchanged["found"]
    assert unchanged["seen"] == 0
    shuffle_in(model, np.random.default_rng(0))
    assert fresh.measure("swapped file", "", model)["latents"] == 50


def test_what_is_not_finite_is_off_by_the_span(tiny: Bundle) -> None:
    model = probes._parsed(tiny)
    add_noise_in(model, np.random.default_rng(0), np.nan)
    found = probes._Fresh(tiny, 100).measure("NaN", "", model)
    assert (found["psnr"], found["difference"], found["found"]) == (0.0, None, True)


def test_a_false_probe_would_be_counted(tiny: Bundle) -> None:
    golden = tiny.golden
    sound = probes.replay(tiny, 2_000)
    assert (sound["replays"], sound["mismatches"]) == (2_000, 0)
    sample = golden.sample.copy()
    sample[3] += 10 * golden.tolerance
    of_one = dataclasses.replace(tiny, golden=dataclasses.replace(golden, sample=sample))
    share = probes.replay(of_one, 2_000)["mismatches"] / 2_000
    assert share == pytest.approx(1 / len(golden.z), abs=0.03)


def test_the_report_names_what_was_missed(bundle: Path) -> None:
    """Probes that tolerate everything miss everything."""
    blind = read_bundle(bundle)
    blind = dataclasses.replace(blind, golden=dataclasses.replace(blind.golden, tolerance=100.0))
    plan = Plan(low_flips=0, flips=0, zeroed=1, noisy=1, shuffled=1, precisions=(), latents=100, replays=10)
    found = probes.measure_bundle(blind, plan)
    text = "\n".join(report({"seeds": {"faults": 0, "latents": 0}, "generators": [found]}))
    assert "| 3 | 2 | 0.0 % (0.0 to 84.2) | >= 99% |" in text  # the noise is of 1e-6
    assert text.count("\n| swapped file: every weight shuffled |") == 1
    assert "1: 0.00 %" in text
