"""The server as a black box: a process, a socket, and what the contract says of the answers."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import bentoml
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from latentserve.service.bundle import Inputs, read_bundle
from latentserve.service.encoding import images
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.settings import Settings
from latentserve.service.watching.metrics import UNROUTED
from latentserve.service.watching.verdict import CAUSES
from tests.conftest import LABELS
from tests.server import START_SECONDS, Server, free_port

NPY, RAW, PNG, WEBP = "application/x-npy", "application/octet-stream", "image/png", "image/webp"
SYNTHETIC = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def made_here(engine: Engine, n: int, seed: int, **fields: object) -> NDArray[np.float32]:
    """The same rows from an engine of this process, in one batch."""
    request = RowsRequest(n=n, seed=seed, **fields)  # type: ignore[arg-type]
    return engine.generate(request.inputs(engine.bundle.manifest, 0, n))


def array(response: httpx.Response) -> NDArray[np.generic]:
    assert response.status_code == 200, response.text[:500]
    return np.load(io.BytesIO(response.content), allow_pickle=False)


def picture(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


def post_alone(server: Server, body: dict[str, object]) -> int:
    """Over a connection of its own; the status."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    with closing(connection):
        connection.request("POST", "/v1/samples", json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status


# One request, every form of answer.


def test_npy_is_what_the_engine_gives_bit_for_bit(server: Server, engine: Engine, plain_engine: Engine) -> None:
    for model, its_engine in (("toy", engine), ("plain", plain_engine)):
        for n in (1, 3, 64, 300):
            answer = server.samples(accept=NPY, model=model, n=n, seed=5)
            assert answer.headers["Content-Type"] == NPY
            values = array(answer)
            assert values.dtype == np.float32
            assert np.array_equal(values, made_here(its_engine, n, 5))


def test_headers_name_what_was_served(server: Server, engine: Engine) -> None:
    for accept in (None, PNG, WEBP, NPY, RAW):
        answer = server.samples(accept=accept, model="toy", seed=2**53 - 1)
        assert answer.headers["Latentserve-Model"] == "toy"
        assert answer.headers["Latentserve-Version"] == engine.bundle.manifest.version
        assert answer.headers["Latentserve-Seed"] == str(2**53 - 1)
        assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_raw_says_its_shape_and_type(server: Server, engine: Engine) -> None:
    answer = server.samples(accept=RAW, model="toy", n=3, seed=5)
    assert answer.headers["Latentserve-Shape"] == "3,1,8,8"
    assert answer.headers["Latentserve-Dtype"] == "float32"
    assert answer.content == made_here(engine, 3, 5).astype("<f4").tobytes()
    answer = server.samples(accept=RAW, model="toy", n=3, seed=5, dtype="uint8")
    assert answer.headers["Latentserve-Dtype"] == "uint8"
    assert answer.content == images.to_uint8(made_here(engine, 3, 5), (-1, 1)).tobytes()


def test_npy_of_bytes(server: Server, engine: Engine) -> None:
    values = array(server.samples(accept=NPY, model="toy", n=300, seed=5, dtype="uint8"))
    assert values.dtype == np.uint8
    assert np.array_equal(values, images.to_uint8(made_here(engine, 300, 5), (-1, 1)))


def test_json_holds_pictures(server: Server, engine: Engine) -> None:
    answer = server.samples(model="toy", n=3, seed=5, offset=10, truncation=0.7)
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert (body["model"], body["n"], body["seed"], body["offset"], body["truncation"]) == ("toy", 3, 5, 10, 0.7)
    assert body["synthetic"] is True
    request = RowsRequest(n=3, seed=5, offset=10, truncation=0.7)
    inputs = request.inputs(engine.bundle.manifest, 0, 3)
    assert inputs.label is not None
    assert body["labels"] == [LABELS[label] for label in inputs.label.tolist()]
    expected = images.to_uint8(engine.generate(inputs), (-1, 1))
    for row, sample in enumerate(body["samples"]):
        content = base64.b64decode(sample)
        assert np.array_equal(picture(content), expected[row, 0])
        assert SYNTHETIC in content


def test_json_holds_numbers_where_there_are_no_pictures(server: Server, plain_engine: Engine) -> None:
    for n in (2, 700):
        body = server.samples(model="plain", n=n, seed=5).json()
        assert np.array_equal(np.array(body["samples"], np.float32), made_here(plain_engine, n, 5))
        assert "labels" not in body


@pytest.mark.parametrize("media", [PNG, WEBP])
def test_a_picture_and_a_contact_sheet(server: Server, engine: Engine, media: str) -> None:
    pictures = images.to_uint8(made_here(engine, 300, 5), (-1, 1))
    for n in (1, 5, 300):
        answer = server.samples(accept=media, model="toy", n=n, seed=5)
        assert answer.headers["Content-Type"] == media
        assert SYNTHETIC in answer.content
        shown = picture(answer.content)
        # Pillow reads a grey WebP as three equal channels.
        shown = shown if shown.ndim == 2 else shown[..., 0]
        assert np.array_equal(shown, images.contact_sheet(pictures[:n])[0])


def test_accept_chooses(server: Server) -> None:
    for accept, media in {
        "*/*": "application/json",
        "image/*": PNG,
        "text/html, application/x-npy;q=0.5, image/webp;q=0.9": WEBP,
    }.items():
        assert server.samples(accept=accept, model="toy").headers["Content-Type"] == media
    lines = [("Accept", "text/html, image/png;q=0.1"), ("Accept", "image/webp;q=0.9")]  # are one list
    answer = server.http.post("/v1/samples", json={"model": "toy"}, headers=lines)
    assert answer.headers["Content-Type"] == WEBP


# Which samples.


def test_the_same_seed_gives_the_same_bytes(server: Server) -> None:
    for accept in (None, PNG, WEBP, NPY, RAW):
        answers = {server.samples(accept=accept, model="toy", n=7, seed=11).content for _ in range(3)}
        assert len(answers) == 1


def test_no_seed_is_another_seed_each_time_and_is_told(server: Server) -> None:
    first, second = (server.samples(accept=NPY, model="toy", n=2) for _ in range(2))
    assert first.content != second.content
    again = server.samples(accept=NPY, model="toy", n=2, seed=int(first.headers["Latentserve-Seed"]))
    assert again.content == first.content


@pytest.mark.parametrize("deterministic", [False, True])
def test_rows_are_addressed_by_offset(server: Server, deterministic: bool) -> None:
    def rows(n: int, offset: int) -> NDArray[np.generic]:
        fields = {"n": n, "offset": offset, "seed": 3, "deterministic": deterministic}
        return array(server.samples(accept=NPY, model="toy", **fields))

    whole = rows(40, 100)
    assert np.array_equal(np.concatenate([rows(1, 100), rows(22, 101), rows(17, 123)]), whole)
    assert len(rows(2, 2**53 - 2)) == 2


def test_labels_by_index_and_by_name(server: Server, engine: Engine) -> None:
    def rows(**fields: object) -> bytes:
        return server.samples(accept=NPY, model="toy", seed=3, **fields).content

    assert rows(n=4, label=7) == rows(n=4, label="digit 7") == rows(labels=[7, "digit 7", 7, "digit 7"])
    mixed = array(server.samples(accept=NPY, model="toy", seed=3, labels=[2, "digit 9"]))
    assert np.array_equal(mixed, made_here(engine, 2, 3, labels=np.array([2, 9])))
    assert server.samples(model="toy", n=2, label="digit 7").json()["labels"] == ["digit 7"] * 2


def test_latents_of_the_client(server: Server, engine: Engine) -> None:
    latents = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    answer = server.samples(accept=NPY, model="toy", latents=latents.tolist(), label=3)
    assert "Latentserve-Seed" not in answer.headers
    assert np.array_equal(array(answer), engine.generate(Inputs(latents, np.full(5, 3))))
    body = server.samples(model="toy", latents=latents.tolist(), label=3).json()
    assert "seed" not in body
    assert body["n"] == 5


def test_a_stated_version(server: Server, engine: Engine) -> None:
    assert server.samples(model="toy", version=engine.bundle.manifest.version).status_code == 200


def test_an_empty_body_is_enough_where_one_model_is_served(pair: Server) -> None:
    assert pair.http.post("/v1/samples").json()["n"] == 1


# Around the samples.


def test_models(server: Server, engine: Engine) -> None:
    listed = server.http.get("/v1/models").json()["models"]
    assert [(model["name"], model["state"]) for model in listed] == [("toy", "ready"), ("plain", "ready")]
    toy = server.http.get("/v1/models/toy").json()
    assert toy["version"] == engine.bundle.manifest.version
    assert toy["manifest"] == engine.bundle.manifest.model_dump(mode="json")
    assert toy["labels"] == engine.bundle.manifest.labels
    assert server.http.get("/v1/models/plain").json()["latent"] == {"dim": 5, "prior": "uniform"}


def test_health(server: Server) -> None:
    assert server.http.get("/livez").status_code == 200
    assert server.http.get("/readyz").status_code == 200


def test_bentomls_own_client(server: Server) -> None:
    with bentoml.SyncHTTPClient(server.url) as client:
        answer = client.sample(n=3, seed=5, label="digit 1", model="toy")
        by_index = client.sample(n=3, seed=5, label=1, model="toy")
    assert answer == by_index == server.samples(model="toy", n=3, seed=5, label=1).json()


def test_bentomls_own_client_has_paths_variations_and_scores(server: Server) -> None:
    """What its own routes answer."""

    def ours(path: str, **body: Any) -> Any:
        return server.http.post(path, json={"model": "toy", **body}).json()

    ends = [{"seed": 7, "row": 3}, {"seed": 8, "label": 1}]
    with bentoml.SyncHTTPClient(server.url) as client:
        path = client.interpolate(ends=ends, frames=4, curve="linear", model="toy")
        around = client.vary(seed=7, n=2, strength=0.3, label="digit 2", model="toy")
        scores = client.score(samples=around["samples"], labels=around["labels"], model="toy")
        with pytest.raises(bentoml.exceptions.BentoMLException, match="frames"):
            client.interpolate(ends=ends, frames=1, model="toy")
        with pytest.raises(bentoml.exceptions.BentoMLException, match="critic"):
            client.score(samples=[[0.0] * 6], model="plain")
    assert path == ours("/v1/interpolations", ends=ends, frames=4, curve="linear")
    assert around == ours("/v1/variations", seed=7, row=0, n=2, strength=0.3, label="digit 2")
    assert scores == ours("/v1/scores", samples=around["samples"], labels=around["labels"])


def test_no_answer_carries_the_time_of_day(server: Server) -> None:
    """It would break caching and byte equality; `Date` is the protocol's."""
    answers = []
    for _ in range(2):
        answers.append(server.samples(accept=PNG, model="toy", n=2, seed=1))
        time.sleep(1.1)
    assert answers[0].content == answers[1].content
    headers = [{k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")} for answer in answers]
    assert headers[0] == headers[1]


# Many rows, many clients.


@pytest.mark.parametrize("model", ["toy", "plain"])
def test_a_long_answer_is_its_pieces(server: Server, model: str) -> None:
    n = 20_000
    whole = array(server.samples(accept=NPY, model=model, n=n, seed=8))
    assert len(whole) == n
    cuts = [0, 1, 255, 512, 9_999, 10_000, n]
    for start, stop in pairwise(cuts):
        piece = array(server.samples(accept=NPY, model=model, n=stop - start, offset=start, seed=8))
        assert np.array_equal(piece, whole[start:stop])
    raw = server.samples(accept=RAW, model=model, n=n, seed=8).content
    assert raw == whole.tobytes()


def test_a_long_json_answer_is_valid(server: Server) -> None:
    body = server.samples(model="toy", n=1000, seed=8).json()
    assert len(body["samples"]) == len(body["labels"]) == 1000
    later = server.samples(model="toy", n=1, seed=8, offset=900).json()
    assert later["samples"][0] == body["samples"][900]


def test_64_clients_at_once_each_get_their_own_rows(server: Server, engine: Engine) -> None:
    shared = np.concatenate([made_here(engine, 400, seed) for seed in range(64)]).reshape(64, 400, 1, 8, 8)
    chance = random.Random(0)
    plan = [(seed, chance.randint(1, 60), chance.randrange(300), chance.random() < 0.3) for seed in range(64)] * 3
    plan += [(seed, 400, 0, False) for seed in range(8)]
    chance.shuffle(plan)
    with httpx.Client(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=64)) as client:

        def check(seed: int, n: int, offset: int, deterministic: bool) -> bool:
            body = {"model": "toy", "seed": seed, "n": n, "offset": offset, "deterministic": deterministic}
            rows = array(client.post("/v1/samples", json=body, headers={"Accept": NPY}))
            return np.array_equal(rows, shared[seed, offset : offset + n])

        with ThreadPoolExecutor(64) as pool:
            assert all(pool.map(lambda wanted: check(*wanted), plan))
    server.wait_for(lambda: server.metric("queue_rows") == 0)


def test_clients_that_vanish_leave_nothing_behind(server: Server) -> None:
    """A million rows are asked for, some are read, the connection is cut: the rest is not made."""
    made_before = server.metric("samples_total", model="toy")
    for _ in range(5):
        with server.http.stream("POST", "/v1/samples", json={"model": "toy", "n": 10**6}, headers={"Accept": RAW}) as a:
            assert a.status_code == 200
            assert len(next(a.iter_raw())) > 0
    server.wait_for(lambda: server.metric("inflight_requests") == 0)
    server.wait_for(lambda: server.metric("queue_rows", model="toy") == 0)
    time.sleep(1.2)  # the counters of samples are at most a second behind
    made = server.metric("samples_total", model="toy")
    assert made - made_before < 10**6
    assert server.samples(model="toy", n=1).status_code == 200
    time.sleep(1.2)
    assert server.metric("samples_total", model="toy") <= made + 256


# Metrics, over two processes.


@pytest.fixture(scope="module")
def pair(bundle: Path) -> Iterator[Server]:
    """Two workers behind one port, each of which has replayed its probes."""
    probes = 2 * len(read_bundle(bundle).golden.z)
    with Server(bundle, workers=2, metrics_port=free_port()) as running:
        running.wait_for(lambda: running.metric("probe_runs_total", outcome="match") >= probes, START_SECONDS)
        yield running


def test_the_metrics_have_a_port_of_their_own(pair: Server) -> None:
    for path, status in (("/metrics", 200), ("/livez", 200), ("/readyz", 200), ("/v1/models", 404), ("/", 404)):
        answer = httpx.get(f"http://127.0.0.1:{pair.settings['metrics_port']}{path}")
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith("text/plain" if status == 200 else "application/problem+json")
    assert pair.http.get("/v1/models").status_code == pair.http.get("/metrics").status_code == 200


def test_a_server_that_a_counting_process_starts_counts_its_own(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, start_server: Callable[..., Server]
) -> None:
    """Such as one of BentoML's, which counts the starts of its workers itself."""
    monkeypatch.setenv("_LATENTSERVE_COUNT_STARTS", "1")
    assert start_server(bundle).metric("worker_restarts_total") == 0


def test_series_are_there_from_the_start(pair: Server, engine: Engine) -> None:
    series = pair.metrics()
    assert len(series) <= 1500
    at_zero = {
        ("latentserve_samples_total", "arm"): {"server", "client", "control"},
        ("latentserve_monitored_samples_total", "arm"): {"server", "client", "control"},
        ("latentserve_rejected_total", "reason"): {
            "queue_full",
            "quota",
            "too_large",
            "invalid",
            "unauthorized",
            "forbidden",
            "not_ready",
            "deadline",
        },
        ("latentserve_requests_total", "route"): {"/v1/samples", "/sample", "other"},
        ("latentserve_probe_runs_total", "outcome"): {"match", "mismatch"},
        ("latentserve_output_signal_bin_total", "bin"): {f"{index:02}" for index in range(20)},
        ("latentserve_output_signal_bin_total", "signal"): {"mean", "std", "saturated_share", "critic_score"},
        ("latentserve_output_signal_sum_total", "sign"): {"positive", "negative"},
        ("latentserve_input_signal_bin_total", "signal"): {"input_norm", "input_mean"},
        ("latentserve_labels_total", "label"): set(engine.bundle.manifest.labels or ()),
        ("latentserve_looked_at_labels_total", "label"): set(engine.bundle.manifest.labels or ()),
        ("latentserve_output_labels_total", "label"): set(engine.bundle.manifest.labels or ()),
        ("latentserve_drift_cause", "cause"): set(CAUSES),
    }
    for (name, label), values in at_zero.items():
        assert {dict(labels)[label] for has, labels in series if has == name} >= values
    for route, codes in UNROUTED.items():
        for code in codes:
            pair.metric("requests_total", model="", version="", route=route, code=code)
    names = {name for name, _ in series}
    for name in ("output_nonfinite_total", "monitor_failures_total", "monitor_dropped_batches_total"):
        assert f"latentserve_{name}" in names
    for name in ("request", "queue", "inference", "encode"):
        assert f"latentserve_{name}_duration_seconds_bucket" in names
    buckets = [float(dict(labels)["le"]) for name, labels in series if name.endswith("queue_duration_seconds_bucket")]
    assert min(buckets) == 1e-4
    labels = {label for _, of in series for label, _ in of}
    assert not labels & {"seed", "latent", "path", "key"}
    manifest = engine.bundle.manifest
    assert pair.metric("model_ready", model="toy", version=manifest.version) == 1
    assert pair.metric("runtime_info", provider="CPUExecutionProvider", device="cpu", precision="fp32") == 1
    assert manifest.monitor is not None
    assert pair.metric("reference_samples") == manifest.monitor.reference_samples
    assert pair.metric("reference_created_timestamp_seconds") == manifest.created.timestamp()
    assert pair.metric("reference_tolerance") > 0
    assert pair.metric("watched_rows_per_second") == Settings().watched_rows_per_second
    assert pair.metric("worker_restarts_total") == 0
    # Each of the two workers replays its probes, at the start and once a minute.
    probes = pair.metric("probe_runs_total", outcome="match")
    assert probes >= 2 * len(engine.bundle.golden.z)
    assert probes % len(engine.bundle.golden.z) == 0
    assert pair.metric("workers") == 2
    assert pair.metric("queue_limit_rows", model="toy") == 2 * Settings().max_queue_rows


def test_openmetrics_for_who_asks_for_it(pair: Server) -> None:
    """As Prometheus does. Every other client gets text, whatever it likes."""
    prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2"
    answer = pair.http.get("/metrics", headers={"Accept": prometheus})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("\n# EOF\n")
    found = {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith("latentserve_")
    }
    assert found == set(pair.metrics())
    for accept in ("*/*", "text/plain", "text/html, image/png", "application/openmetrics-text;q=0, */*"):
        answer = pair.http.get("/metrics", headers={"Accept": accept})
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_counts_sum_over_the_workers(pair: Server) -> None:
    before = pair.metrics()

    def ask(row: int) -> int:
        """Each over a connection of its own, so that both workers get some."""
        return post_alone(pair, {"n": 3, "seed": row} if row % 2 else {"n": 2})

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(200))) == {200}
    assert pair.samples(n=0).status_code == 422

    def grown(name: str, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(
            value - before.get((has, of), 0)
            for (has, of), value in pair.metrics().items()
            if has == f"latentserve_{name}" and wanted <= of
        )

    pair.wait_for(lambda: grown("samples_total") == 500)
    assert grown("samples_total", arm="client") == 300
    assert grown("samples_total", arm="server") == 200
    assert grown("requests_total", route="/v1/samples", code="200") == 200
    assert grown("request_duration_seconds_count", route="/v1/samples") in (200, 201)
    assert grown("rejected_total", reason="invalid") == 1
    assert grown("batch_rows_sum") == 500
    pair.wait_for(lambda: grown("monitored_samples_total") == 500)
    for signal_name in ("mean", "std", "saturated_share"):
        pair.wait_for(lambda name=signal_name: grown("output_signal_bin_total", signal=name) == 500)  # type: ignore[misc]
    pair.wait_for(lambda: 0 < pair.metric("looked_at_labels_total") == pair.metric("output_labels_total"))
    assert grown("output_signal_sum_total", signal="std", sign="negative") == 0
    assert grown("output_signal_sum_total", signal="std", sign="positive") > 0
    assert pair.metric("inflight_requests") == 0


def test_a_killed_worker_is_replaced(pair: Server, engine: Engine) -> None:
    """What it had counted stays counted, and that it was replaced is."""
    probes = len(engine.bundle.golden.z)
    before = pair.metric("samples_total", arm="client")
    for seed in range(20):
        assert post_alone(pair, {"n": 1, "seed": seed}) == 200
    pair.wait_for(lambda: pair.metric("samples_total", arm="client") == before + 20)
    victim, *others = pair.worker_pids()
    assert len(others) == 1
    os.kill(victim, signal.SIGKILL)

    def replaced() -> bool:
        pids = pair.worker_pids()
        return len(pids) == 2 and victim not in pids

    pair.wait_for(replaced, 60)

    def both_serve() -> bool:
        """`ready` is the worst of the workers, and a worker that has not loaded yet has not said."""
        try:
            matches = pair.metric("probe_runs_total", outcome="match")
            ready = pair.http.get("/readyz").status_code == 200
            return ready and pair.metric("workers") == 2 and matches >= 3 * probes
        except httpx.TransportError:
            return False

    pair.wait_for(both_serve, 60)
    with httpx.Client(base_url=pair.url, timeout=30) as client:
        assert client.post("/v1/samples", json={"n": 1, "seed": 1}).status_code == 200
    assert pair.metric("samples_total", arm="client") >= before + 20
    assert pair.metric("model_ready", model="toy") == 1
    assert pair.metric("worker_restarts_total") == 1
    assert pair.metric("workers") == 2


def test_values_that_are_not_finite_are_counted_and_served(tight_server: Server) -> None:
    before = tight_server.metric("output_nonfinite_total", model="poison")
    latents = [[4.0] + [0.0] * 7, [0.0] * 8, [3.5] + [0.0] * 7]
    answer = tight_server.samples(accept=NPY, model="poison", latents=latents, label=1)
    values = array(answer)
    assert np.isnan(values[[0, 2]]).all()
    assert np.isfinite(values[1]).all()
    tight_server.wait_for(lambda: tight_server.metric("output_nonfinite_total", model="poison") == before + 128)
    assert tight_server.metric("monitor_failures_total", model="poison") == 0
    assert tight_server.samples(accept=PNG, model="poison", latents=latents, label=1).status_code == 200
    assert tight_server.samples(model="poison", latents=latents, label=1).status_code == 200


# The end.


def test_sigterm_answers_what_is_under_way_and_ends_with_0(start_server: Callable[..., Server], bundle: Path) -> None:
    """Three answers of 15 MB, of which no more than the first bytes were taken."""
    server, n = start_server(bundle), 60_000
    with ExitStack() as stack:
        asked = {"json": {"n": n, "seed": 1}, "headers": {"Accept": RAW}}
        answers = [stack.enter_context(server.http.stream("POST", "/v1/samples", **asked)) for _ in range(3)]
        server.process.send_signal(signal.SIGTERM)
        assert [len(answer.read()) for answer in answers] == [n * 4 * 64] * 3
    assert server.process.wait(30) == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/livez")


def test_the_page_may_load_nothing_from_elsewhere(server: Server) -> None:
    page = server.http.get("/bento")
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
