"""Conditions and drift, asked of a real server: what clients ask for is counted and named, and a fault is found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.drift.faults import conditions_elsewhere, drop_mode
from latentserve.service.bundle import read_bundle, write_bundle
from latentserve.service.watching.verdict import LEAST_ROWS
from tests.conftest import make_shower
from tests.server import Server
from tests.service.test_drift import alone

ROWS, REQUESTS = 250, 30


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shower(tmp_path_factory.mktemp("conditions") / "healthy", "healthy", reference_samples=4000)


@pytest.fixture(scope="module")
def server(healthy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A healthy model and a faulty one, both asked for conditions of another mix than the priors'."""
    folder = tmp_path_factory.mktemp("faulty")
    drop_mode(healthy, folder / "made", np.random.default_rng(1))
    made = read_bundle(folder / "made")
    files = {file: (made.path / file).read_bytes() for file in made.manifest.sha256}
    write_bundle(folder / "faulty", made.manifest.model_copy(update={"name": "faulty"}), files)
    with Server(healthy, folder / "faulty") as running:
        for path in (healthy, folder / "faulty"):
            manifest = read_bundle(path).manifest
            for body in itertools.islice(conditions_elsewhere(manifest, ROWS, 1), REQUESTS):
                alone(running, "POST", "/v1/samples", json.dumps(body))
        yield running


def verdict(server: Server, model: str) -> dict[str, Any]:
    (found,) = (one for one in server.http.get("/v1/drift").json()["models"] if one["model"] == model)
    return dict(found)


def test_another_mix_is_named_and_is_no_drift(server: Server) -> None:
    # A verdict may come before all rows are counted.
    server.wait_for(lambda: verdict(server, "healthy")["evidence"]["rows"]["server"] == ROWS * REQUESTS, 30)
    server.wait_for(lambda: verdict(server, "healthy")["cause"] == "condition_mix", 30)
    found = verdict(server, "healthy")
    assert "more often" in found["sentence"] or "less often" in found["sentence"]
    evidence = found["evidence"]
    assert evidence["rows"]["server"] == ROWS * REQUESTS >= LEAST_ROWS
    assert evidence["rows_compared"]["server"] == 0
    assert sum(evidence["conditions"]["energy"].values()) == ROWS * REQUESTS
    assert list(evidence["alarms"]) == ["conditions"]
    for name in ("energy", "angle"):
        server.wait_for(
            lambda name=name: server.metric("condition_rows_total", model="healthy", condition=name) == ROWS * REQUESTS
        )
        assert server.metric("condition_rows_total", model="healthy", condition=name, bin="drawn") == 0


def test_a_fault_under_it_is_found_by_control_samples(server: Server) -> None:
    server.wait_for(lambda: server.metric("samples_total", model="healthy", arm="control") >= 64, 30)
    server.wait_for(lambda: verdict(server, "faulty")["cause"] == "unknown", 30)
    assert "recorded at export" in verdict(server, "faulty")["sentence"]
    evidence = verdict(server, "healthy")["evidence"]
    assert evidence["recorded_rows_differing_lately"] == 0 < evidence["recorded_rows_lately"]
    made = server.metric("samples_total", model="healthy", arm="control")
    assert made <= ROWS * REQUESTS / 20
    assert verdict(server, "healthy")["cause"] == "condition_mix"


def test_the_card_and_the_manifest_say_what_rows_are_made_from(healthy: Path) -> None:
    card = (healthy / "MODEL_CARD.md").read_text()
    assert "| Latent | 7 coordinates: z [4], normal; phase [3], uniform on (0, 1) |" in card
    assert "| Noise, drawn for each row beside it | 5 numbers: noise [1, 5], normal |" in card
    assert "energy, 0.1 to 100 GeV, drawn log-uniform where it is not asked for; angle, -0.7 to 0.7, drawn" in card
    assert "conditions drawn from their priors" in card
    monitor = read_bundle(healthy).manifest.monitor
    assert monitor is not None
    assert monitor.condition_bins is not None
    assert monitor.condition_bins["energy"] == pytest.approx(np.geomspace(0.1, 100, 11), rel=1e-5)
