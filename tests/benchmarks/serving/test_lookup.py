"""The benchmark of look-ups, with few rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.generators import DIM, enlarged
from benchmarks.runner import main
from latentserve.service.bundle import Latent, SampleSpec
from tests.conftest import make_bundle


@pytest.mark.full
def test_what_was_sent_is_found_and_nothing_else(tmp_path: Path) -> None:
    sample = SampleSpec(kind="image", shape=[3, 48, 48], value_range=(-1, 1), channels="RGB")
    given = {"critic": None, "latent": Latent(dim=DIM), "labels": None, "sample": sample, "reference_samples": 64}
    bundle = make_bundle(tmp_path / "tiles", "tiles", generator=enlarged(6, 6, 8).SerializeToString(), **given)
    real, out = tmp_path / "real.npz", tmp_path / "lookup"
    np.savez(real, samples=np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), np.uint8))
    few = ["--rows", "50", "--asked", "3", "--foreign", "4"]
    main(["lookup", str(bundle), "--real", str(real), *few, "--out", str(out)])
    results = json.loads(out.with_suffix(".json").read_text())
    for way in ("as it is", "JPEG 75", "resized by 0.8", "cut by 10 %", "all three"):
        assert (results[way]["found"], results[way]["another_row"]) == (3, 0), way
    called = [one["called_ours"] for one in results.values() if isinstance(one, dict) and "called_ours" in one]
    assert called == [0, 0, 0, 0]
    assert "| as it is | 3 of 3 (100.00 %) | 0 |" in out.with_suffix(".md").read_text()
