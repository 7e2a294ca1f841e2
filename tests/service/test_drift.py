"""Whether the samples changed, asked of real servers: each fault of the injector has its cause, clean traffic none."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from benchmarks.drift.faults import CASES, Case, Traffic, without_seed
from latentserve.service.bundle import content_version, read_bundle, write_bundle
from latentserve.service.bundle.files import CRITIC, GENERATOR, GOLDEN, REFERENCE
from latentserve.service.bundle.golden import pack_arrays, unpack_arrays
from latentserve.service.encoding.document import RAW
from latentserve.service.watching.verdict import CAUSES, LEAST_ROWS
from tests.conftest import make_bundle
from tests.generators import dense_critic, dense_generator
from tests.server import Server
from tests.service.test_bad_input import replace_file

LABELS = ["north", "east", "south", "west"]
REFERENCE_SAMPLES = 80_000  # enough for a cell for each label
ROWS, REQUESTS = 250, 40  # of one request; for one model
AGE = 8.0  # seconds that a verdict may be old
PATIENCE = 30.0

KILLED = "another label mix"  # whose alarm must stand when the judging worker is killed
BARE, CONSTANT, HALF, QUIET, OTHER_CRITIC = "bare", "constant", "half", "quiet", "other-critic"


def seen_by_probes(case: Case, name: str) -> bool:
    """Whether a bundle with this fault is never ready. NaN lie where no probe does."""
    return case.fault is not None and case.cause == "weights_or_hardware" and not name.startswith("NaN")


SERVED = {name: case for name, case in CASES.items() if not seen_by_probes(case, name)}
NEVER_READY = {name: case for name, case in CASES.items() if seen_by_probes(case, name)}


def slug(name: str) -> str:
    """The model's name of a case."""
    return "".join(char if char.isalnum() else "-" for char in name.lower()).strip("-")


@dataclass(frozen=True)
class Folder:
    """Bundles under names of their own, all made of one healthy bundle."""

    path: Path
    healthy: Path

    def take(self, name: str, source: Path | None = None) -> Path:
        """A copy under another name, which is no part of the version."""
        read = read_bundle(source or self.healthy)
        files = {file: (read.path / file).read_bytes() for file in read.manifest.sha256}
        write_bundle(self.path / name, read.manifest.model_copy(update={"name": name}), files)
        return self.path / name

    def injected(self, name: str) -> Path:
        """The bundle of a case."""
        fault = CASES[name].fault
        if fault is None:
            return self.take(slug(name))
        made = self.path / f"made-{slug(name)}"
        fault(self.healthy, made, np.random.default_rng(1))
        return self.take(slug(name), made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("drift")
    options: dict[str, Any] = {
        "generator": dense_generator(labels=len(LABELS), depth=2).SerializeToString(),
        "critic": dense_critic(labels=len(LABELS)).SerializeToString(),
        "labels": LABELS,
        "reference_samples": REFERENCE_SAMPLES,
    }
    return Folder(path, make_bundle(path / "healthy", "healthy", **options))


def constant(path: Path) -> Path:
    """All samples are the same, and so are all values of every signal."""
    model = dense_generator(labels=None)
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    critic = dense_critic(labels=None).SerializeToString()
    return make_bundle(path, path.name, generator=model.SerializeToString(), critic=critic, labels=None)


def bare(path: Path) -> Path:
    """No critic, no labels, no reference."""
    generator = dense_generator(labels=None).SerializeToString()
    read = read_bundle(make_bundle(path, path.name, generator=generator, critic=None, labels=None))
    files = {file: (path / file).read_bytes() for file in read.manifest.sha256 if file != REFERENCE}
    write_bundle(path, read.manifest.model_copy(update={"monitor": None}), files)
    return path


@pytest.fixture(scope="module")
def fleet(folder: Folder) -> Iterator[Server]:
    """Two workers that serve all cases; each has been asked for samples but `quiet` and `half`."""
    bundles = [folder.injected(name) for name in SERVED]
    asked = [CASES[name].traffic for name in SERVED]
    bundles += [bare(folder.path / BARE), constant(folder.path / CONSTANT)]
    asked += [without_seed, without_seed]
    quiet = [folder.take(QUIET), folder.take(HALF)]
    with Server(*bundles, *quiet, workers=2, bentoml=True) as running:  # nobody replaces a faulty one
        for bundle, traffic in zip(bundles, asked, strict=True):
            ask(running, bundle, traffic)
        yield running


def ask(server: Server, bundle: Path, traffic: Traffic, requests: int = REQUESTS) -> None:
    """Over connections of their own, so that both workers get some."""
    for body in itertools.islice(traffic(read_bundle(bundle).manifest, ROWS, 1), requests):
        alone(server, "POST", "/v1/samples", json.dumps(body))


def alone(server: Server, method: str, path: str, body: str | None = None) -> bytes:
    """The answer over a connection of its own."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json", "Accept": f"{RAW}, */*;q=0.5"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content[:500]
    return content


def verdicts(server: Server) -> dict[str, dict[str, Any]]:
    """By model, over a connection of its own, from whichever worker takes it."""
    page = json.loads(alone(server, "GET", "/v1/drift"))
    assert list(page) == ["models"]
    return {each["model"]: each for each in page["models"]}


def settled(server: Server, model: str, cause: str) -> dict[str, Any]:
    """The verdict on a model once it names this cause; every worker then does so, and goes on to."""
    server.wait_for(lambda: verdicts(server)[model]["cause"] == cause, PATIENCE)
    deadline = time.monotonic() + AGE
    same = 0
    while same < 12:
        found = verdicts(server)[model]
        same = same + 1 if found["cause"] == cause else 0
        assert time.monotonic() < deadline, found
    return found


@pytest.mark.parametrize("name", SERVED)
def test_a_case_has_its_cause(fleet: Server, name: str) -> None:
    model = slug(name)
    settled(fleet, model, CASES[name].cause)
    least = LEAST_ROWS if "repeated" not in name else 1
    fleet.wait_for(lambda: sum(verdicts(fleet)[model]["evidence"]["rows"].values()) >= least, PATIENCE)


def test_metrics_show_the_verdicts(fleet: Server) -> None:
    for name in SERVED:
        settled(fleet, slug(name), CASES[name].cause)
    pages, series = verdicts(fleet), by_model(fleet)
    for name, case in SERVED.items():
        model = slug(name)
        shown = {cause: series[model, "drift_cause", cause] for cause in CAUSES}
        assert shown == {cause: int(cause == case.cause) for cause in CAUSES}
        evidence = pages[model]["evidence"]
        assert series[model, "drift_log_threshold"] == pytest.approx(evidence["log_threshold"], abs=1e-3)
        for detector, value in evidence["log_evidence"].items():
            # Control samples may have come since.
            assert series[model, "drift_log_evidence", detector] == pytest.approx(value, abs=1)
    for model in pages:
        assert series[model, "monitor_failures_total"] == series[model, "monitor_dropped_batches_total"] == 0
        assert series[model, "model_ready"] == 1
    nan = slug("NaN at rate 0.01")
    assert series[nan, "output_nonfinite_total"] == 64 * pages[nan]["evidence"]["rows_not_finite"] > 0
    of_models = [dict(labels).get("model", "") for _, labels in fleet.metrics()]
    for model in pages:
        assert sum(of in (model, "") for of in of_models) <= 1500


def by_model(server: Server) -> dict[tuple[str, ...], float]:
    """Series by model, name, and whatever labels there are beside model and version."""
    found = {}
    for (name, labels), value in server.metrics().items():
        others = dict(labels)
        model = others.pop("model", "")
        others.pop("version", None)
        found[model, name.removeprefix("latentserve_"), *others.values()] = value
    return found


def test_the_page_is_as_the_contract_has_it(fleet: Server) -> None:
    page = fleet.http.get("/v1/drift")
    assert page.headers["Content-Type"] == "application/json"
    for model, found in verdicts(fleet).items():
        assert found.keys() == {"model", "version", "cause", "sentence", "evidence", "age_seconds"}
        assert found["age_seconds"] <= AGE
        assert found["cause"] in CAUSES
        assert found["sentence"].endswith(".")
        assert "\n" not in found["sentence"]
        assert set(found["evidence"]["rows"]) == {"server", "client", "control"}
        evidence = found["evidence"]
        for detector, alarm in evidence["alarms"].items():
            assert alarm["began"] <= alarm["rows"] < alarm["clears_at_row"], (model, detector)
        assert all(value >= 0 for value in evidence["log_evidence"].values())
        assert evidence["log_threshold"] > 0
    assert fleet.http.post("/v1/drift").status_code == 405
    # Control samples are drawn now and then; between them all workers say the same, word for word.
    fleet.wait_for(lambda: len({without_age(alone(fleet, "GET", "/v1/drift")) for _ in range(20)}) == 1)


def without_age(page: bytes) -> bytes:
    return re.sub(rb'"age_seconds":\d+', b"", page)


def test_numbers_name_what_was_seen(fleet: Server) -> None:
    mix = settled(fleet, slug(KILLED), "label_mix")
    assert "north" in mix["sentence"]
    assert sum(mix["evidence"]["labels"].values()) == ROWS * REQUESTS
    repeated = settled(fleet, slug("one latent repeated"), "client_latents")["evidence"]
    assert repeated["latents_sent"] == ROWS * REQUESTS
    # Each worker saw it for a first time with each of the labels that were drawn.
    assert ROWS * REQUESTS - 2 * len(LABELS) <= repeated["latents_repeated"] < ROWS * REQUESTS
    nan = settled(fleet, slug("NaN at rate 0.01"), "weights_or_hardware")
    assert 40 < nan["evidence"]["rows_not_finite"] < 200
    lately = nan["evidence"]["rows_not_finite_lately"]
    assert f"{lately} of the last {nan['evidence']['rows_lately']} rows" in nan["sentence"]


def test_no_traffic_and_one_sample(fleet: Server) -> None:
    assert settled(fleet, QUIET, "not_enough_samples")["evidence"]["rows"]["server"] == 0
    assert fleet.samples(model=QUIET).status_code == 200
    fleet.wait_for(lambda: verdicts(fleet)[QUIET]["evidence"]["rows"]["server"] == 1)
    found = settled(fleet, QUIET, "not_enough_samples")
    assert str(LEAST_ROWS) in found["sentence"]


def test_samples_that_are_all_the_same_are_as_the_reference_has_them(fleet: Server) -> None:
    settled(fleet, CONSTANT, "none")


def test_without_critic_labels_and_reference(fleet: Server) -> None:
    """Served, counted, and nothing claimed of it."""
    fleet.wait_for(lambda: verdicts(fleet)[BARE]["evidence"]["rows"]["server"] == ROWS * REQUESTS)
    found = settled(fleet, BARE, "not_enough_samples")
    assert "no reference" in found["sentence"]
    assert found["evidence"]["alarms"] == {}


@pytest.fixture(scope="module")
def halved(fleet: Server, folder: Folder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The judging worker was killed; the one in its place finds other golden samples of `half`, whose hashes fit.

    The verdicts before, and those at the time when the new worker had looked at its probes.
    """
    for name in SERVED:
        settled(fleet, slug(name), CASES[name].cause)
    before = verdicts(fleet)
    forge_golden(folder.path / HALF)
    victim = judging(fleet)
    survivor = next(pid for pid in fleet.worker_pids() if pid != victim)
    os.kill(victim, signal.SIGKILL)
    # The other worker judges now, and the page goes on to be answered.
    fleet.wait_for(lambda: judging(fleet) == survivor, PATIENCE)
    return before, verdicts_when(fleet, HALF, "weights_or_hardware")


def verdicts_when(server: Server, model: str, cause: str) -> dict[str, Any]:
    def now() -> bool:
        try:
            return bool(verdicts(server)[model]["cause"] == cause)
        except (OSError, HTTPException):  # the killed worker's connections
            return False

    server.wait_for(now, 60)
    return verdicts(server)


def judging(server: Server) -> int | None:
    """The worker that holds the lock of a model's judge."""
    for pid in server.worker_pids():
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            if handle.is_symlink() and str(handle.readlink()).endswith(f"{slug(KILLED)}-{version(server)}/lock"):
                return pid
    return None


def version(server: Server) -> str:
    return str(verdicts(server)[slug(KILLED)]["version"])


def forge_golden(path: Path) -> None:
    """Golden samples that this generator never made. They are no part of the version."""
    read = read_bundle(path)
    files = {file: (path / file).read_bytes() for file in read.manifest.sha256}
    arrays = unpack_arrays(files[GOLDEN], GOLDEN)
    files[GOLDEN] = pack_arrays({**arrays, "sample": arrays["sample"] + np.float32(0.5)})
    write_bundle(path, read.manifest, files)


def test_another_worker_goes_on_where_the_killed_one_was(
    fleet: Server, halved: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    before, after = halved
    for name in SERVED:
        model = slug(name)
        assert after[model]["cause"] == before[model]["cause"]
        for arm, rows in before[model]["evidence"]["rows"].items():
            assert after[model]["evidence"]["rows"][arm] >= rows
        then, now = (page[model]["evidence"]["alarms"] for page in (before, after))
        for detector, alarm in then.items():
            assert now[detector]["rows"] >= alarm["rows"]
            assert now[detector]["again"] >= alarm["again"]
    settled(fleet, slug(KILLED), "label_mix")


def test_one_worker_of_two_is_faulty(fleet: Server, halved: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Both say so, and how many there are."""
    found = settled(fleet, HALF, "weights_or_hardware")
    assert found["evidence"]["workers_whose_probes_fail"] == 1
    assert "golden probes are off by" in found["sentence"]
    assert fleet.metric("model_ready", model=HALF) == 0
    assert fleet.metric("model_ready", model=QUIET) == 1


# What passes.


def poisoned(path: Path) -> Path:
    """Its reference has met no latent that it gives NaN for."""
    generator = dense_generator(labels=None).SerializeToString()
    read = read_bundle(make_bundle(path, "toy", generator=generator, critic=None, labels=None))
    files = {file: (path / file).read_bytes() for file in read.manifest.sha256}
    poisonous = dense_generator(labels=None, poison=True)
    files[GENERATOR] = poisonous.SerializeToString()
    version = content_version(poisonous, read.manifest.latent, None, read.manifest.sample)
    write_bundle(path, read.manifest.model_copy(update={"version": version}), files)
    return path


@pytest.mark.full
def test_a_row_that_is_not_finite_is_of_its_time(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """One is none, a client's asking for it again too; three are a cause, and it clears."""
    server = start_server(poisoned(tmp_path / "b"))

    def send(latents: np.ndarray[Any, Any]) -> None:
        assert server.http.post("/v1/samples", json={"latents": latents.tolist()}).status_code == 200

    def found() -> dict[str, Any]:
        return dict(verdicts(server)["toy"]["evidence"])

    rng = np.random.default_rng(1)
    bad = np.column_stack([np.linspace(3.1, 3.3, 3), np.zeros((3, 7))])
    for _ in range(5):
        send(bad[:1])
    server.wait_for(lambda: found()["rows_not_finite"] == 1)
    for _ in range(5):
        send(np.clip(rng.normal(size=(1000, 8)), -2.9, 2.9))
    server.wait_for(lambda: sum(found()["rows"].values()) > LEAST_ROWS)
    assert found()["rows_not_finite"] == 1
    assert "not finite" not in verdicts(server)["toy"]["sentence"]
    send(bad)
    server.wait_for(lambda: verdicts(server)["toy"]["cause"] == "weights_or_hardware", PATIENCE)
    assert "not finite" in verdicts(server)["toy"]["sentence"]
    clears = found()["not_finite_clears_at_row"]
    while sum(found()["rows"].values()) < clears:
        send(np.clip(rng.normal(size=(1000, 8)), -2.9, 2.9))
        time.sleep(0.2)
    server.wait_for(lambda: "not finite" not in verdicts(server)["toy"]["sentence"], PATIENCE)
    assert found()["rows_not_finite"] == 3


@pytest.mark.full
def test_a_judge_that_fails_is_heard_of_and_tries_again(start_server: Callable[..., Server], bundle: Path) -> None:
    """Damaged counts of a worker that has ended, and then none."""
    server = start_server(bundle, workers=2)
    server.wait_for(lambda: verdicts(server)["toy"]["age_seconds"] == 0)
    assert server.metric("watch_failures_total", model="toy", task="judge") == 0
    own = next(
        path
        for pid in server.worker_pids()
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if (path := Path(line.split(maxsplit=5)[-1])).suffix == ".counts"
    )
    damaged = own.with_name(f"{own.name.partition('_')[0]}_1-dead{own.suffix}")
    np.full(own.stat().st_size // 8, np.nan).tofile(damaged)
    server.wait_for(lambda: server.metric("watch_failures_total", model="toy", task="judge") > 1, PATIENCE)
    server.wait_for(lambda: verdicts(server)["toy"]["age_seconds"] > AGE, PATIENCE)
    assert "nothing was judged since" in verdicts(server)["toy"]["sentence"]
    assert time.time() - server.metric("drift_judged_timestamp_seconds", model="toy") > AGE
    assert server.samples(model="toy").status_code == 200
    damaged.unlink()
    server.wait_for(lambda: verdicts(server)["toy"]["age_seconds"] < AGE, PATIENCE)
    assert server.log.read_text().count("a round of judge failed") <= 2


# What is never ready.


@pytest.fixture(scope="module")
def faulty(folder: Folder) -> Iterator[Server]:
    """Bundles whose weights were changed and whose hashes were made to fit, beside a healthy one."""
    critic = dense_critic(labels=len(LABELS), seed=7).SerializeToString()
    other = replace_file(folder.take(OTHER_CRITIC), CRITIC, critic)
    with Server(
        *map(folder.injected, NEVER_READY), other, folder.take("sound"), wait_ready=False, bentoml=True
    ) as running:
        yield running


@pytest.mark.parametrize("name", NEVER_READY)
def test_changed_weights_are_never_ready(faulty: Server, name: str) -> None:
    found = settled(faulty, slug(name), "weights_or_hardware")
    assert "golden probes are off by" in found["sentence"]
    answer = faulty.samples(model=slug(name))
    assert answer.status_code == 503
    assert "golden probes are off by" in answer.json()["detail"]
    assert faulty.metric("model_ready", model=slug(name)) == 0
    assert faulty.http.get("/readyz").status_code != 200
    assert faulty.samples(model="sound").status_code == 200
    assert verdicts(faulty)["sound"]["cause"] == "not_enough_samples"


def test_a_changed_critic_is_never_ready_and_named(faulty: Server) -> None:
    """The generator is not blamed for it."""
    found = settled(faulty, OTHER_CRITIC, "weights_or_hardware")
    assert CRITIC in found["sentence"]
    assert "golden probes are" not in found["sentence"]
    answer = faulty.samples(model=OTHER_CRITIC)
    assert answer.status_code == 503
    assert CRITIC in answer.json()["detail"]
    assert faulty.metric("model_ready", model=OTHER_CRITIC) == 0


@pytest.mark.parametrize("command", ["check", pytest.param("serve", marks=pytest.mark.full)])
def test_a_reference_of_another_release_is_refused_in_one_line(folder: Folder, command: str) -> None:
    path = folder.take("later")
    read = read_bundle(path)
    files = {file: (path / file).read_bytes() for file in read.manifest.sha256}
    arrays = unpack_arrays(files[REFERENCE], REFERENCE)
    files[REFERENCE] = pack_arrays({**arrays, "format": arrays["format"] + 1})
    write_bundle(path, read.manifest, files)
    done = subprocess.run(
        [sys.executable, "-m", "latentserve", command, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert REFERENCE in line
    assert str(path) in line
