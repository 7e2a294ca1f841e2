"""Drifts of the features are found from what the monitor looked at; what was asked for is no drift of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.drift.faults import drop_mode
from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.packing import reference as making
from latentserve.service.packing.reference import make_reference
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import ARMS, RowsRequest
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.watching.detectors import DETECTORS, GENERATED, JOINT, LABELS, Detectors, layout
from latentserve.service.watching.ledger import Counts, Ledger
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.reference import Reference

RATE = 1.0  # row a second: a threshold of 1.3e7 rows
BLOCK = 250
SERVER, CLIENT = ARMS.index("server"), ARMS.index("client")

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def references(bundle: Path) -> dict[str, Reference]:
    """The labels in one cell, as in the bundle; and each in its own, as if it were larger."""
    read = read_bundle(bundle)
    assert read.reference is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "CELL_SAMPLES", 1500)
        by_label = make_reference(read, 15_000)
    return {"pooled": Reference.from_bytes(read.reference, []), "by label": by_label}


def weigh(
    detectors: Detectors,
    bundle: Bundle,
    reference: Reference,
    folder: Path,
    rows: int = 5000,
    drift: Callable[[Samples], Samples] = lambda samples: samples,
    **asked: Any,
) -> Counts:
    """Show the detectors rows of a generator, by way of the monitor; what was counted in the end."""
    engine = Engine(bundle, "cpu")
    metrics = ModelMetrics("weighed", "v", metric_series(bundle, reference))
    ledger = Ledger(folder, layout(bundle.manifest, reference))
    monitor = Monitor(engine, reference, metrics, ledger, look_share=math.inf)
    request = RowsRequest(n=rows, **{"seed": 5, "arm": "server", **asked})
    for start in range(0, rows, BLOCK):
        inputs = request.inputs(bundle.manifest, start, BLOCK)
        wanted = monitor.wanted()
        made = dict(zip(wanted.outputs, engine.run(inputs, wanted.outputs), strict=True))
        if "sample" in made:
            made["sample"] = drift(made["sample"])
        monitor.offer(BatchDone([(request, start, BLOCK)], inputs, made, 1e-3, wanted.chosen))
        monitor.settle()
        detectors.weigh(ledger.total())
    return ledger.total()


@pytest.mark.parametrize("truncation", [1.0, 0.7])
@pytest.mark.parametrize("cells", ["pooled", "by label"])
def test_clean_rows_raise_nothing(
    bundle: Path, references: dict[str, Reference], tmp_path: Path, cells: str, truncation: float
) -> None:
    read, reference = read_bundle(bundle), references[cells]
    detectors = Detectors(read.manifest, reference, RATE)
    total = weigh(detectors, read, reference, tmp_path, truncation=truncation)
    assert total["joint_rows"].tolist() == [5000, 0, 0]
    assert [detectors.suspicion(name) for name in DETECTORS] == [None] * len(DETECTORS)
    assert detectors.log_evidence()[JOINT] < detectors.log_threshold - 3


def test_a_shift_of_the_features_is_found(bundle: Path, references: dict[str, Reference], tmp_path: Path) -> None:
    read, reference = read_bundle(bundle), references["by label"]
    detectors = Detectors(read.manifest, reference, RATE)
    weigh(detectors, read, reference, tmp_path, rows=2500, drift=lambda samples: samples * np.float32(0.9))
    suspicion = detectors.suspicion(JOINT)
    assert suspicion is not None
    assert (suspicion.signal, suspicion.arm) == ("features", "server")
    assert suspicion.began < suspicion.rows <= 2500


@pytest.mark.parametrize(("cells", "rows"), [("pooled", 20_000), ("by label", 5000)])
def test_a_mode_that_is_dropped_is_found(
    bundle: Path, references: dict[str, Reference], tmp_path: Path, cells: str, rows: int
) -> None:
    drop_mode(bundle, tmp_path / "faulty", np.random.default_rng(0))
    faulty, reference = read_bundle(tmp_path / "faulty"), references[cells]
    assert Engine(faulty, "cpu").probe().max() <= faulty.golden.tolerance
    detectors = Detectors(faulty.manifest, reference, RATE)
    weigh(detectors, faulty, reference, tmp_path, rows)
    assert detectors.suspicion(JOINT) is not None


@pytest.mark.parametrize("cells", ["pooled", "by label"])
def test_another_mix_of_labels_is_that_and_nothing_else(
    bundle: Path, references: dict[str, Reference], tmp_path: Path, cells: str
) -> None:
    read, reference = read_bundle(bundle), references[cells]
    detectors = Detectors(read.manifest, reference, RATE)
    total = weigh(detectors, read, reference, tmp_path, labels=np.full(5000, 3, np.int64))
    assert detectors.suspicion(LABELS) is not None
    assert detectors.suspicion(JOINT) is None
    assert detectors.suspicion(GENERATED) is None
    # A cell that labels share is of the prior's mix: rows whose label was chosen cannot be judged by it.
    judged = 0 if cells == "pooled" else 5000
    assert total["joint_rows"].sum() == total["bins"][SERVER, 0].sum() == judged
    assert total["rows"].sum() == 5000


def test_clients_are_not_judged_by_it(bundle: Path, references: dict[str, Reference], tmp_path: Path) -> None:
    read, reference = read_bundle(bundle), references["by label"]
    detectors = Detectors(read.manifest, reference, RATE)
    total = weigh(detectors, read, reference, tmp_path, rows=1000, arm="client", drift=lambda samples: -samples)
    assert total["joint_rows"][CLIENT] == 1000
    assert detectors.log_evidence()[JOINT] == 0


def test_the_state_of_an_older_release_begins_anew(
    bundle: Path, references: dict[str, Reference], tmp_path: Path
) -> None:
    read, reference = read_bundle(bundle), references["by label"]
    kept, again, older = (Detectors(read.manifest, reference, RATE) for _ in range(3))
    weigh(kept, read, reference, tmp_path, rows=500)
    state = json.loads(kept.to_json())
    assert again.restore(json.dumps(state))
    assert again.to_json() == kept.to_json()
    del state[JOINT]
    assert not older.restore(json.dumps(state))
    assert {**json.loads(older.to_json()), JOINT: None} == {**json.loads(kept.to_json()), JOINT: None}
    assert older.log_evidence()[JOINT] == 0


def test_a_bundle_without_a_reference(bundle: Path, tmp_path: Path) -> None:
    read, nothing = read_bundle(bundle), Reference(0, {})
    detectors = Detectors(read.manifest, nothing, RATE)
    total = weigh(detectors, read, nothing, tmp_path, rows=500)
    assert total["joint"].shape == (len(ARMS), 0)
    assert JOINT not in detectors.log_evidence()
    assert detectors.suspicion(JOINT) is None
