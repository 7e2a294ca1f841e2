"""The monitor beside conditions, several latents and noise: what clients choose is counted, and is no evidence."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.drift.conditions import CONDITIONS, KINDS
from benchmarks.generators import calorimeter
from latentserve.service.bundle import Bundle, Inputs, Latent, LatentPart, SampleSpec, read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import draw_conditions, draw_latents
from latentserve.service.sampling.request import Part, RowsRequest, draw_inputs
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.watching.conditions import CONDITION_BINS, ConditionBins
from latentserve.service.watching.detectors import layout
from latentserve.service.watching.ledger import Counts, Ledger
from latentserve.service.watching.metrics import DRAWN, ModelMetrics
from latentserve.service.watching.monitor import CONTROL_ROWS, CONTROL_SHARE, Monitor, metric_series
from latentserve.service.watching.monitor import MOST_SERIES as MOST
from latentserve.service.watching.reference import read_reference
from tests.conftest import make_bundle
from tests.counted import samples

LATENT = Latent(
    dim=64,
    parts=[
        LatentPart(name="z", shape=[20]),
        LatentPart(name="phase", shape=[4], prior="uniform", shift=0.5, scale=0.5),
        LatentPart(name="noise", shape=[2, 20], noise=True),
    ],
)
_NUMBERS = itertools.count()
NAN = np.nan


@pytest.fixture(scope="module")
def showers(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two latents and noise, labels, two conditions."""
    path = make_bundle(
        tmp_path_factory.mktemp("showers") / "showers",
        name="showers",
        generator=calorimeter(len(KINDS), 36, LATENT.dim).SerializeToString(),
        critic=None,
        latent=LATENT,
        labels=KINDS,
        conditions=CONDITIONS,
        sample=SampleSpec(kind="array", shape=[36]),
        reference_samples=2000,
    )
    return read_bundle(path)


class Watched:
    """A monitor of a bundle, under a model name that no other test counts under."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.name = f"conditioned-{next(_NUMBERS)}"
        self.engine = Engine(bundle, "cpu")
        self.manifest = bundle.manifest
        reference = read_reference(bundle)
        self.metrics = ModelMetrics(self.name, "v", metric_series(bundle, reference))
        self.ledger = Ledger(folder, layout(bundle.manifest, reference))
        self.monitor = Monitor(self.engine, reference, self.metrics, self.ledger)
        self.monitor._look_seconds = 1e9  # no look, but where a test wants one

    def serve(self, *requests: RowsRequest, chosen: bool = False) -> Counts:
        """All rows of requests, as one batch; what is counted of all so far."""
        parts: list[Part] = [(request, 0, request.n) for request in requests]
        inputs = draw_inputs(self.manifest, parts)
        outputs = tuple(dict.fromkeys([*self.monitor.wanted(parts).outputs, *(["sample"] if chosen else [])]))
        made = dict(zip(outputs, self.engine.run(inputs, outputs), strict=True))
        self.monitor.offer(BatchDone(parts, inputs, made, 1e-3, chosen))
        self.monitor.settle()
        assert self.metrics.monitor_failures._value.get() == 0
        return self.ledger.total()

    def value(self, metric: str, **labels: str) -> float:
        return sum(sample.value for sample in samples(metric, model=self.name, **labels))


@pytest.fixture
def watched(showers: Bundle, tmp_path: Path) -> Watched:
    return Watched(showers, tmp_path)


def asked(*rows: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_rows_with_a_condition_of_a_client_are_counted_and_not_compared(watched: Watched) -> None:
    conditions = asked((50, 0), (50, NAN), (NAN, NAN), (NAN, -44))
    for arm, seed in (("server", 1), ("client", 2)):
        total = watched.serve(RowsRequest(4, seed, conditions=conditions, arm=arm))  # type: ignore[arg-type]
    total = watched.serve(RowsRequest(40, 3, arm="control"), RowsRequest(5, 4, arm="server"))
    assert total["rows"].tolist() == [9, 4, 40]
    assert total["compared"].tolist() == [6, 1, 40]
    assert total["bins"].sum(axis=2).tolist() == [[6, 6], [1, 1], [40, 40]]
    energy, angle = total["conditions"]
    assert energy.sum() == angle.sum() == 4
    assert energy[ConditionBins(CONDITIONS[0]).of(np.float32([50]))[0]] == 4
    assert (angle[0], angle[5]) == (2, 2)
    for name, bins in (("energy", energy), ("angle", angle)):
        for index, count in enumerate(bins):
            assert watched.value("condition_rows_total", condition=name, bin=f"{index:02}") == count
        assert watched.value("condition_rows_total", condition=name, bin=DRAWN) == 13 - 4
    assert watched.value("monitored_samples_total") == 53
    assert total["labels"].sum() == 13


def test_the_sum_of_a_signal_is_of_the_rows_in_its_bins(watched: Watched) -> None:
    """A mean over rows of all energies beside a count of some would say nothing."""
    watched.serve(RowsRequest(30, 1, conditions=asked(*[(99, 0)] * 30), arm="server"), RowsRequest(20, 2, arm="server"))
    sample = watched.engine.generate(RowsRequest(20, 2).inputs(watched.manifest, 0, 20))
    found = watched.value("output_signal_sum_total", signal="mean", sign="positive")
    assert found == pytest.approx(float(sample.mean(axis=1).sum()), rel=1e-4)


@pytest.mark.parametrize("arm", ["server", "client"])
def test_whatever_is_asked_for_tips_nothing_but_its_own_counts(watched: Watched, arm: str) -> None:
    """All of it in a corner: rows, bins and joint sums of the reference's kind stay as they were."""
    rng = np.random.default_rng(1)
    for seed in range(10):
        corner = asked(*zip(rng.uniform(90, 100, 50), rng.uniform(40, 45, 50), strict=True))
        total = watched.serve(RowsRequest(50, seed, conditions=corner, arm=arm), chosen=True)  # type: ignore[arg-type]
    assert total["rows"].sum() == 500
    for name in ("compared", "bins", "joint", "joint_rows", "nonfinite"):
        assert not total[name].any(), name
    assert total["conditions"].sum(axis=1).tolist() == [500, 500]


def test_control_rows_are_owed_for_what_clients_choose(watched: Watched) -> None:
    rows = 200
    conditions = asked(*[(50.0, NAN)] * rows)
    control = 0
    for seed in range(100):
        watched.serve(RowsRequest(rows, seed, conditions=conditions, arm="client"))
        owed = watched.monitor.owed()
        assert owed == 0 or owed >= CONTROL_ROWS
        if owed:
            assert watched.monitor.owed() == 0
            watched.serve(RowsRequest(owed, seed, arm="control"))
        control += owed
    assert abs(control - CONTROL_SHARE * 100 * rows) <= CONTROL_ROWS


def test_rows_of_the_server_s_own_seeds_need_no_control(watched: Watched) -> None:
    conditions = asked(*[(50.0, NAN)] * 100)
    for seed in range(40):
        watched.serve(RowsRequest(100, seed, conditions=conditions), RowsRequest(10, seed + 1000, arm="server"))
    assert watched.monitor.owed() == 0
    for seed in range(40):
        watched.serve(RowsRequest(100, seed + 2000))  # nothing was chosen
    assert watched.monitor.owed() == 0


def test_no_look_at_a_batch_without_rows_to_compare(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.monitor._look_seconds = 0
    conditioned = RowsRequest(3, 1, conditions=asked((1, 1), (2, 2), (3, NAN)))
    assert not watched.monitor.wanted([(conditioned, 0, 3)]).chosen
    assert not watched.monitor.wanted([(RowsRequest(3, 1, truncation=0.123), 0, 3)]).chosen
    assert not watched.monitor.wanted([(RowsRequest(3, 1, labels=np.zeros(3, np.int64)), 0, 3)]).chosen  # pooled
    assert watched.monitor.wanted([(conditioned, 0, 3), (RowsRequest(2, 1, arm="control"), 0, 2)]).chosen
    looked: list[int] = []
    monkeypatch.setattr(watched.monitor, "_look_at", lambda samples, *_: looked.append(len(samples)))
    watched.serve(conditioned, RowsRequest(2, 1, arm="control"), chosen=True)
    assert looked == [2]


def test_noise_is_neither_kept_nor_looked_at(watched: Watched) -> None:
    parts: list[Part] = [(RowsRequest(4, 1), 0, 4)]
    inputs = draw_inputs(watched.manifest, parts)
    outputs = watched.monitor.wanted(parts).outputs
    made = dict(zip(outputs, watched.engine.run(inputs, outputs), strict=True))
    watched.monitor.offer(BatchDone(parts, inputs, made, 1e-3, False))
    (batch,) = watched.monitor._batches
    assert batch.inputs.z.shape == (4, LATENT.width)
    assert batch.inputs.z.base is None
    assert inputs.z.shape == (4, LATENT.dim)


def z(rows: int, seed: int = 5) -> NDArray[np.float32]:
    return draw_latents(LATENT, seed, 0, rows)


@pytest.mark.parametrize("columns", [LATENT.width, LATENT.dim], ids=["noise drawn", "noise sent"])
def test_latents_are_judged_as_they_were_sent(watched: Watched, columns: int) -> None:
    latents = z(400)[:, :columns]
    total = watched.serve(RowsRequest(400, 1, latents=latents), RowsRequest(3, 1, arm="server"))
    assert (total["sent"][0], total["repeated"][0], total["compared"].tolist()) == (400, 0, [3, 400, 0])
    assert total["inputs"].sum(axis=1).tolist() == [400, 400]
    assert total["inputs"].max() < 60
    total = watched.serve(RowsRequest(400, 2, latents=latents))
    labels_again = watched.manifest.labels is not None  # drawn anew, so some rows are new
    assert total["repeated"][0] > 50
    assert labels_again
    assert total["inputs"].sum(axis=1).tolist() == [400, 400]
    wide = latents * np.float32(50)
    total = watched.serve(RowsRequest(400, 3, latents=wide))
    assert total["inputs"][0, -1] > 400


def test_noise_that_clients_send_tells_their_rows_apart(watched: Watched) -> None:
    whole = z(50)
    whole[1:, : LATENT.width] = whole[0, : LATENT.width]
    labels = np.zeros(50, np.int64)
    total = watched.serve(RowsRequest(50, 1, latents=whole, labels=labels))
    assert (total["sent"][0], total["repeated"][0]) == (50, 0)
    total = watched.serve(RowsRequest(50, 1, latents=whole[:, : LATENT.width], labels=labels))
    assert (total["sent"][0], total["repeated"][0]) == (51, 49)  # whatever noise is drawn beside them
    total = watched.serve(
        RowsRequest(3, 1, latents=whole[:3], labels=labels[:3]),
        RowsRequest(2, 2, latents=whole[:2, : LATENT.width], labels=labels[:2]),
    )
    assert (total["sent"][0], total["repeated"][0]) == (51, 54)


def test_a_scan_of_a_condition_at_the_same_latents_is_no_other_prior(watched: Watched) -> None:
    """100 latents, each at 40 energies and with each label: a hundred draws, not 12,000."""
    latents = z(100)[:, : LATENT.width]
    total: Counts = {}
    for energy, label in itertools.product(np.geomspace(1, 100, 40), range(3)):
        conditions = asked(*[(energy, NAN)] * 100)
        labels = np.full(100, label)
        total = watched.serve(RowsRequest(100, 1, latents=latents, labels=labels, conditions=conditions))
    assert (total["sent"][0], total["repeated"][0]) == (12_000, 0)
    assert total["inputs"].sum(axis=1).tolist() == [100, 100]


@pytest.mark.parametrize("many", [1, 40])
def test_the_series_of_conditions_are_bounded(showers: Bundle, many: int) -> None:
    conditions = [CONDITIONS[0].model_copy(update={"name": f"c{index}"}) for index in range(many)]
    manifest = showers.manifest.model_copy(update={"conditions": conditions})
    bundle = Bundle(**{**vars(showers), "manifest": manifest})
    series = metric_series(bundle, read_reference(showers))
    assert series.count <= MOST
    assert list(series.conditions) == [one.name for one in conditions][: len(series.conditions)]
    assert len(series.conditions) == min(many, (MOST - series.count) // (CONDITION_BINS + 1) + len(series.conditions))


def test_drawn_conditions_are_those_of_the_seed(watched: Watched) -> None:
    """What the reference is made of: nothing else is compared with it."""
    request = RowsRequest(10, 7, conditions=np.full((10, 2), NAN, np.float32))
    drawn: Callable[[], Inputs] = lambda: request.inputs(watched.manifest, 0, 10)  # noqa: E731
    np.testing.assert_array_equal(drawn().condition, draw_conditions(LATENT, CONDITIONS, 7, 0, 10))
    assert watched.serve(request)["compared"].sum() == 10
