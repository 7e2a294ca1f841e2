"""A served model: one bad replay of its probes is nothing, two are; its files and its own samples are looked at."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.drift.faults import flip_bit
from latentserve.service import models
from latentserve.service.bundle import read_bundle, write_bundle
from latentserve.service.bundle.files import CRITIC, GENERATOR, GOLDEN, MANIFEST, REFERENCE
from latentserve.service.bundle.golden import pack_arrays, unpack_arrays
from latentserve.service.errors import NotReadyError
from latentserve.service.host.group import Health
from latentserve.service.models import CONTROL_ROWS, Model
from latentserve.service.sampling import cuda, padding, sampler
from latentserve.service.sampling.cuda import CudaRunner
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.serving import Serving
from latentserve.service.settings import Settings
from latentserve.service.watching.disk import FilesOnDisk
from latentserve.service.watching.evidence import DOUBT
from latentserve.service.watching.monitor import metric_series
from latentserve.service.watching.reference import read_reference
from latentserve.service.watching.signals import LABEL_MARGIN
from tests import counted
from tests.conftest import make_bundle
from tests.generators import changed_critics, dense_generator
from tests.service.sampling.runners import corrupt, open_runner
from tests.service.test_bad_input import replace_file

_NUMBERS = itertools.count()
_TOP_OF_EXPONENT = 30
PATIENCE = 20.0

Serve = Callable[..., Model]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Start models of copies of bundles, under names that no other test counts under, and stop them at the end."""
    started: list[Model] = []
    monkeypatch.setattr(models, "state_folder", lambda: tmp_path / "evidence")

    def start(bundle: Path) -> Model:
        name = f"served-{next(_NUMBERS)}"
        copy = tmp_path / name
        shutil.copytree(bundle, copy)
        manifest = json.loads((copy / MANIFEST).read_bytes())
        (copy / MANIFEST).write_text(json.dumps({**manifest, "name": name}))
        model = Model(read_bundle(copy), Settings(device="cpu"))
        model.start()
        started.append(model)
        return model

    yield start
    for model in started:
        model.stop()


@pytest.fixture(scope="module")
def faulty(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with a bit of one weight flipped; its hashes fit."""
    out = tmp_path_factory.mktemp("bundles") / "faulty"
    flip_bit(bundle, out, np.random.default_rng(1), _TOP_OF_EXPONENT)
    return out


def metric(model: Model, name: str, **labels: str) -> float:
    """Of this process."""
    value = counted.value(name, model=model.name, version=model.version, **labels)
    assert value is not None, name
    return value


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def shown(model: Model, name: str) -> bool:
    """Whether there is such a series at all."""
    return counted.value(name, model=model.name, version=model.version) is not None


def cause(model: Model) -> str:
    return str(model.judge.verdict()["cause"])


def test_two_mismatches_in_a_row_and_a_match(serve: Serve, bundle: Path, faulty: Path) -> None:
    model = serve(bundle)
    sound, broken = model.engine._runner, Engine(read_bundle(faulty), "cpu")._runner
    tolerance = model.bundle.golden.tolerance
    assert model.fault is None
    assert metric(model, "model_ready") == 1

    model.engine._runner = broken
    assert model.readiness.probe() > tolerance
    model.require_ready()
    assert metric(model, "model_ready") == 1
    model.engine._runner = sound
    assert model.readiness.probe() <= tolerance
    model.engine._runner = broken
    model.readiness.probe()  # the first again: a match lies between them
    model.require_ready()

    difference = model.readiness.probe()
    assert model.fault == f"golden probes are off by {difference:.3g}, more than {tolerance:.3g}"
    with pytest.raises(NotReadyError, match="golden probes are off by"):
        model.require_ready()
    assert metric(model, "model_ready") == 0
    assert metric(model, "probe_abs_error") == difference
    wait_for(lambda: cause(model) == "weights_or_hardware")
    assert f"{difference:.3g}" in model.judge.verdict()["sentence"]

    model.engine._runner = sound
    assert model.readiness.probe() <= tolerance
    model.require_ready()
    assert metric(model, "model_ready") == 1
    wait_for(lambda: cause(model) == "not_enough_samples")


def test_an_engine_that_fails_its_probes_by_raising(serve: Serve, bundle: Path) -> None:
    """A device that was lost answers nothing from then on."""

    class Lost:
        max_batch = 64

        def run(self, *_: object) -> None:
            raise RuntimeError("the device was lost")

    model = serve(bundle)
    sound, model.engine._runner = model.engine._runner, Lost()  # type: ignore[assignment]
    assert model.readiness.probe() == np.inf
    assert model.fault is None
    model.readiness.probe()
    assert "off by inf" in (model.fault or "")
    model.engine._runner = sound
    model.readiness.probe()
    assert model.fault is None


@pytest.mark.parametrize("kind", changed_critics())
def test_a_critic_that_judges_otherwise_than_at_export(serve: Serve, bundle: Path, tmp_path: Path, kind: str) -> None:
    """Two times in a row, as with the generator's probes; and it is named."""
    model = serve(bundle)
    changed = Path(shutil.copytree(bundle, tmp_path / "changed"))
    replace_file(changed, CRITIC, changed_critics()[kind].SerializeToString())
    sound, other = model.engine._critic, Engine(read_bundle(changed), "cpu")._critic
    model.engine._critic = other
    assert model.readiness.probe() <= model.bundle.golden.tolerance
    model.require_ready()
    model.readiness.probe()
    assert CRITIC in (model.fault or "")
    assert metric(model, "model_ready") == 0
    wait_for(lambda: cause(model) == "weights_or_hardware")
    assert CRITIC in model.judge.verdict()["sentence"]
    model.engine._critic = sound
    model.readiness.probe()
    model.require_ready()

    model = serve(changed)
    assert CRITIC in (model.fault or "")


@pytest.mark.parametrize("kind", changed_critics())
def test_scores_of_before_there_was_a_tolerance(serve: Serve, bundle: Path, tmp_path: Path, kind: str) -> None:
    older = Path(shutil.copytree(bundle, tmp_path / "older"))
    arrays = unpack_arrays((older / GOLDEN).read_bytes(), GOLDEN)
    kept = {name: arrays[name] for name in ("z", "label", "sample", "score", "measured", "tolerance")}
    replace_file(older, GOLDEN, pack_arrays({**kept, "floor": np.float64(1e-4)}))  # type: ignore[dict-item]
    golden = read_bundle(older).golden
    assert golden.score is not None
    assert golden.critic_tolerances == pytest.approx((1e-3 * np.ptp(golden.score), 0))
    assert serve(older).fault is None
    replace_file(older, CRITIC, changed_critics()[kind].SerializeToString())
    # Features were not recorded.
    assert (serve(older).fault is None) == (kind == "other features, the same score")


def test_at_load_one_mismatch_is_enough(serve: Serve, faulty: Path) -> None:
    model = serve(faulty)
    assert "golden probes are off" in (model.fault or "")
    assert metric(model, "model_ready") == 0
    wait_for(lambda: cause(model) == "weights_or_hardware")


def padded(model: Model, max_batch: int = 64) -> CudaRunner:
    """Give a model the runner that CUDA has, which pads batches."""
    generator, spec = onnx.load_model_from_string(model.bundle.generator), model.bundle.manifest.sample
    runner = model.engine._runner = open_runner(generator, spec, max_batch)
    model.engine.warm_up()
    return runner


def sample(model: Model, rows: int) -> None:
    asyncio.run(model.sampler.rows(RowsRequest(rows)))


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round of the watch comes by itself, and probes ride in every batch that has room for them. What is asked for
    runs in one batch, however slow the machine is."""
    for name in ("PROBE_SECONDS", "PADDING_SECONDS"):
        monkeypatch.setattr(models, name, 3600.0)
    monkeypatch.setattr(padding, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(padding, "_SHARE", np.inf)
    monkeypatch.setattr(sampler, "BULK_BATCH_SECONDS", np.inf)


@pytest.mark.usefixtures("by_hand")
def test_padding_finds_what_is_off_in_larger_batches_alone(serve: Serve, bundle: Path) -> None:
    model = serve(bundle)
    undo = corrupt(padded(model), 64, dense_generator(seed=1), model.bundle.manifest.sample)
    tolerance = model.bundle.golden.tolerance
    for _ in range(3):
        assert model.readiness.probe() <= tolerance  # in batches of 16
    sample(model, 20)
    model.readiness.probe_padding()
    model.require_ready()

    sample(model, 40)
    model.readiness.probe_padding()  # one mismatch, and the replay that follows is the second
    difference = metric(model, "probe_abs_error")
    assert model.fault == f"golden probes are off by {difference:.3g}, more than {tolerance:.3g}"
    assert metric(model, "model_ready") == 0
    wait_for(lambda: cause(model) == "weights_or_hardware")

    model.readiness.probe()  # of that size too, as long as it does not match
    sample(model, 20)
    model.readiness.probe_padding()  # a match of another size
    assert model.fault is not None
    undo()
    assert model.readiness.probe() <= tolerance
    model.require_ready()
    wait_for(lambda: cause(model) == "not_enough_samples")


@pytest.mark.usefixtures("by_hand")
def test_padding_that_is_off_once_is_nothing(serve: Serve, bundle: Path) -> None:
    model = serve(bundle)
    undo = corrupt(padded(model), 64, dense_generator(seed=1), model.bundle.manifest.sample)
    before = metric(model, "probe_runs_total", probe="3", outcome="mismatch")
    for _ in range(2):
        sample(model, 40)
        undo()
        model.readiness.probe_padding()
        assert metric(model, "probe_abs_error") <= model.bundle.golden.tolerance  # of the replay
        model.require_ready()
        undo = corrupt(model.engine._runner, 64, dense_generator(seed=1), model.bundle.manifest.sample)
    # Of 48 rows of padding, in which 16 probes take turns.
    assert metric(model, "probe_runs_total", probe="3", outcome="mismatch") == before + 3


@pytest.mark.usefixtures("by_hand")
def test_matches_in_padding_do_not_interrupt_mismatches(serve: Serve, bundle: Path) -> None:
    """Or a fault at the size of a replay would never be seen twice in a row."""
    model = serve(bundle)
    corrupt(padded(model), 16, dense_generator(seed=1), model.bundle.manifest.sample)
    model.readiness.probe()
    matches = metric(model, "probe_runs_total", probe="0", outcome="match")
    sample(model, 40)
    model.readiness.probe_padding()
    assert metric(model, "probe_runs_total", probe="0", outcome="match") > matches
    model.require_ready()
    model.readiness.probe()
    assert "golden probes are off" in (model.fault or "")


def test_what_rides_in_padding_is_looked_at_by_itself(
    serve: Serve, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "PADDING_SECONDS", 0.02)
    monkeypatch.setattr(sampler, "BULK_BATCH_SECONDS", np.inf)
    model = serve(bundle)
    corrupt(padded(model), 64, dense_generator(seed=1), model.bundle.manifest.sample)
    sample(model, 40)
    wait_for(lambda: model.fault is not None)


def test_what_is_stopped_does_not_come_back(serve: Serve, bundle: Path) -> None:
    model = serve(bundle)
    model.stop()
    model.readiness.probe()
    assert model.fault == "is draining"


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds come at once."""
    for name in ("ROUND_SECONDS", "PROBE_SECONDS", "FILE_SECONDS"):
        monkeypatch.setattr(models, name, 0.02)


@pytest.mark.usefixtures("often")
def test_probes_have_their_rounds(serve: Serve, bundle: Path, faulty: Path) -> None:
    model = serve(bundle)
    wait_for(lambda: cause(model) == "not_enough_samples")
    before = metric(model, "probe_runs_total", probe="0", outcome="match")
    wait_for(lambda: metric(model, "probe_runs_total", probe="0", outcome="match") > before + 2)
    model.engine._runner = Engine(read_bundle(faulty), "cpu")._runner
    wait_for(lambda: model.fault is not None)
    wait_for(lambda: "golden probes" in model.judge.verdict()["sentence"])


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("file", [GENERATOR, CRITIC, GOLDEN, REFERENCE, MANIFEST])
def test_files_that_are_damaged_and_mended(serve: Serve, bundle: Path, file: str) -> None:
    model = serve(bundle)
    path = model.bundle.path / file
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    wait_for(lambda: cause(model) == "weights_or_hardware")
    assert "files on disk" in model.judge.verdict()["sentence"]
    assert file in model.judge.verdict()["sentence"]
    model.require_ready()  # what runs is in memory
    path.write_bytes(content)
    wait_for(lambda: cause(model) == "not_enough_samples")
    path.unlink()
    wait_for(lambda: cause(model) == "weights_or_hardware")
    path.write_bytes(content)
    wait_for(lambda: cause(model) == "not_enough_samples")


@pytest.mark.usefixtures("often")
def test_a_bundle_that_is_replaced_on_disk_is_no_fault(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """The same content is nothing, and another version is said."""
    model = serve(bundle)
    path, runs = model.bundle.path, model.bundle.manifest
    files = {file: (path / file).read_bytes() for file in runs.sha256}
    write_bundle(path, runs.model_copy(update={"created": runs.created + timedelta(days=1)}), files)
    other = make_bundle(tmp_path / "b", runs.name, generator=dense_generator(seed=5).SerializeToString())
    seen = [str(model.judge.verdict()["sentence"]) for _ in range(20) if time.sleep(0.01) is None]
    assert not any("disk" in sentence for sentence in seen)
    version = read_bundle(other).manifest.version
    shutil.rmtree(path)
    wait_for(lambda: cause(model) == "weights_or_hardware")
    shutil.copytree(other, path)
    wait_for(lambda: f"{runs.version} runs, {runs.name} {version} lies there" in model.judge.verdict()["sentence"])
    assert cause(model) == "not_enough_samples"
    write_bundle(path, runs, files)
    wait_for(lambda: "disk" not in model.judge.verdict()["sentence"])


def test_files_are_hashed_in_bounded_memory(serve: Serve, bundle: Path) -> None:
    """And not parsed: what is large is the generator."""
    model = serve(bundle)
    path = model.bundle.path / GENERATOR
    with path.open("r+b") as file:
        file.truncate(256 << 20)
    found: list[tuple[str | None, str | None]] = []
    files = FilesOnDisk(model.bundle, lambda *told: found.append(told))
    tracemalloc.start()
    files.look()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [(f"{GENERATOR} is not what the manifest says", None)]
    assert peak < 8 << 20


@pytest.mark.usefixtures("often")
def test_a_judge_that_fails_is_counted_and_its_gauges_are_one_worker_s(serve: Serve, bundle: Path) -> None:
    model = serve(bundle)
    wait_for(lambda: metric(model, "drift_cause", cause="not_enough_samples") == 1)
    assert abs(metric(model, "drift_judged_timestamp_seconds") - time.time()) < PATIENCE
    assert metric(model, "watch_failures_total", task="judge") == 0
    hold, model.judge.hold = model.judge.hold, lambda: 1 / 0  # type: ignore[assignment,return-value,method-assign]
    wait_for(lambda: metric(model, "watch_failures_total", task="judge") > 2)
    assert metric(model, "drift_cause", cause="not_enough_samples") == 1
    model.judge.hold = lambda: False  # type: ignore[method-assign]
    wait_for(lambda: metric(model, "drift_cause", cause="not_enough_samples") == 0)
    model.judge.hold = hold  # type: ignore[method-assign]
    wait_for(lambda: metric(model, "drift_cause", cause="not_enough_samples") == 1)


def test_what_stands_beside_the_counts(serve: Serve, bundle: Path, plain_bundle: Path) -> None:
    """The reference's age and what its size costs, and the limit of the queue."""
    for path in (bundle, plain_bundle):
        model = serve(path)
        assert model.bundle.manifest.monitor is not None
        reference = read_reference(model.bundle)
        assert metric(model, "reference_samples") == 2000
        assert metric(model, "reference_created_timestamp_seconds") == model.bundle.manifest.created.timestamp()
        bets = 10 * len(reference.signals) * len(reference.cells)
        smallest = min(each.samples for cells in reference.signals.values() for each in cells)
        expected = np.sqrt(2 * np.log(bets / DOUBT) / smallest)
        assert metric(model, "reference_tolerance") == pytest.approx(expected)
        assert metric(model, "queue_limit_rows") == Settings().max_queue_rows


def test_a_model_without_a_reference_claims_nothing_of_one(serve: Serve, plain_bundle: Path, tmp_path: Path) -> None:
    read = read_bundle(plain_bundle)
    files = {file: (read.path / file).read_bytes() for file in read.manifest.sha256 if file != REFERENCE}
    write_bundle(tmp_path / "bare", read.manifest.model_copy(update={"monitor": None}), files)
    model = serve(tmp_path / "bare")
    assert metric(model, "reference_samples") == 0
    assert not shown(model, "reference_created_timestamp_seconds")
    assert not shown(model, "reference_tolerance")


@pytest.mark.parametrize("labels", [64, 65])
def test_labels_that_are_too_many_have_no_series_of_what_came_out(bundle: Path, labels: int) -> None:
    read = read_bundle(bundle)
    named = read.manifest.model_copy(update={"labels": [str(label) for label in range(labels)]})
    reference = read_reference(read)
    assert len(metric_series(replace(read, manifest=named), reference).classified) == (64 if labels == 64 else 0)
    untold = replace(reference, signals={k: v for k, v in reference.signals.items() if k != LABEL_MARGIN})
    assert not metric_series(read, untold).classified


def test_control_samples_are_drawn_for_nobody(serve: Serve, bundle: Path, plain_bundle: Path) -> None:
    for path in (bundle, plain_bundle):
        model = serve(path)
        for _ in range(3):
            asyncio.run(model.draw_control())
        wait_for(partial(lambda of: metric(of, "samples_total", arm="control") == 3 * CONTROL_ROWS, model))
        wait_for(partial(lambda of: metric(of, "monitored_samples_total", arm="control") == 3 * CONTROL_ROWS, model))
        assert metric(model, "samples_total", arm="server") == metric(model, "samples_total", arm="client") == 0
        if model.bundle.manifest.labels is not None:
            assert metric(model, "labels_total", label=model.bundle.manifest.labels[0]) == 0


def test_on_a_lost_device_it_serves_no_more_and_its_process_is_to_be_replaced(
    serve: Serve, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once; a replay of the probes would come within a minute."""

    async def health(serving: Serving) -> Health:
        serving.start()
        try:
            return serving.health()
        finally:
            serving._upkeep.cancel()  # type: ignore[union-attr]

    serving = Serving(Settings())
    model = serve(bundle)
    serving.handler.models = [model]  # type: ignore[assignment]
    serving._loaded = True
    model.require_ready()
    assert asyncio.run(health(serving)) == Health()
    cause = "the GPU failed with CUDA error 700 (an illegal memory access was encountered)"
    monkeypatch.setattr(cuda, "_lost", [cause])
    with pytest.raises(NotReadyError, match="CUDA error 700"):
        model.require_ready()
    assert asyncio.run(health(serving)) == Health(ready=False, fault=cause)
