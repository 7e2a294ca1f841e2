"""Clients of Python, and readers of tables."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from latentserve import open_bundle
from latentserve.service.bundle import Column, Latent, SampleSpec
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server
from tests.service.clients.conftest import HEADERS, PATH, Question

pytestmark = pytest.mark.full

PIECE = 10_000
TIMES = 20


def pieces(question: Question) -> Iterator[bytes]:
    """The body bit by bit: a client that does not know its length sends it in chunks."""
    for start in range(0, len(question.body), PIECE):
        yield question.body[start : start + PIECE]


async def slow_pieces(question: Question) -> AsyncIterator[bytes]:
    for piece in pieces(question):
        yield piece
        await asyncio.sleep(0)


def asked(server: Server, question: Question, **headers: str) -> urllib.request.Request:
    given = {**HEADERS, **headers}
    return urllib.request.Request(f"{server.url}{PATH}", data=question.body, headers=given)  # noqa: S310


def test_urllib(server: Server, question: Question) -> None:
    with urllib.request.urlopen(asked(server, question), timeout=60) as answer:  # noqa: S310
        assert answer.read() == question.rows


def test_http_client(server: Server, question: Question) -> None:
    """One connection; a body with its length and one in chunks; an answer that is read bit by bit."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    for body, chunked in ((question.body, False), (pieces(question), True)):
        connection.request("POST", PATH, body, HEADERS, encode_chunked=chunked)
        answer = connection.getresponse()
        assert b"".join(iter(lambda answer=answer: answer.read(PIECE), b"")) == question.rows
    connection.close()


def test_requests(server: Server, question: Question) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        for body in (question.body, pieces(question)):
            answer = session.post(f"{server.url}{PATH}", data=body, headers=HEADERS, timeout=60)
            assert answer.content == question.rows
        with session.post(f"{server.url}{PATH}", data=question.body, headers=HEADERS, stream=True, timeout=60) as told:
            assert b"".join(told.iter_content(PIECE)) == question.rows


def test_urllib3_keeps_its_connection(server: Server, question: Question) -> None:
    urllib3 = pytest.importorskip("urllib3")
    pool = urllib3.connection_from_url(server.url, maxsize=1, block=True)
    for _ in range(TIMES):
        assert pool.request("POST", PATH, body=question.body, headers=HEADERS, timeout=60).data == question.rows
    assert pool.request("POST", PATH, body=pieces(question), headers=HEADERS, timeout=60).data == question.rows
    assert (pool.num_connections, pool.num_requests) == (1, TIMES + 1)


def test_httpx(server: Server, question: Question) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for body in (question.body, pieces(question)):
            assert client.post(PATH, content=body, headers=HEADERS).content == question.rows
        with client.stream("POST", PATH, content=question.body, headers=HEADERS) as answer:
            assert b"".join(answer.iter_bytes(PIECE)) == question.rows


def test_httpx_at_once(server: Server, question: Question) -> None:
    async def ask_all() -> list[bytes]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bodies = (slow_pieces(question) if k % 2 else question.body for k in range(8))
            answers = await asyncio.gather(*(client.post(PATH, content=body, headers=HEADERS) for body in bodies))
            return [answer.content for answer in answers]

    assert asyncio.run(ask_all()) == [question.rows] * 8


def test_aiohttp_at_once(server: Server, question: Question) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def ask_all() -> list[bytes]:
        async with aiohttp.ClientSession(server.url, headers=HEADERS) as session:

            async def ask(k: int) -> bytes:
                body = slow_pieces(question) if k % 2 else question.body
                async with session.post(PATH, data=body, expect100=k % 4 > 1) as answer:
                    return bytes(await answer.read())

            return await asyncio.gather(*map(ask, range(8)))

    assert asyncio.run(ask_all()) == [question.rows] * 8


def test_bentoml(server: Server, bundle: Path) -> None:
    bentoml = pytest.importorskip("bentoml")
    rows = open_bundle(bundle).sample(n=3, seed=7)
    with bentoml.SyncHTTPClient(server.url) as client:
        for _ in range(3):
            answer = client.sample(n=3, seed=7, model="toy")
            assert len(answer["samples"]) == len(rows)
            assert answer["seed"] == 7


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose rows are three numbers by name."""
    columns = [Column(name=name, type="float64") for name in ("a", "b", "c")]
    generator = dense_generator(dim=5, shape=(3,), labels=None).SerializeToString()
    told = {"critic": None, "latent": Latent(dim=5), "labels": None, "reference_samples": 64}
    sample = SampleSpec(kind="table", shape=[3], columns=columns)
    return make_bundle(tmp_path_factory.mktemp("table") / "table", "table", generator=generator, sample=sample, **told)


@pytest.fixture(scope="module")
def tables(table: Path) -> Iterator[Server]:
    with Server(table) as running:
        yield running


ROWS = {"n": 2000, "seed": 7, "deterministic": True}


def test_pandas(tables: Server, table: Path) -> None:
    pandas = pytest.importorskip("pandas")
    question = Question(json.dumps(ROWS).encode(), b"")
    with urllib.request.urlopen(asked(tables, question, Accept="text/csv"), timeout=60) as answer:  # noqa: S310
        read = pandas.read_csv(answer, dtype=np.float32)
    assert list(read.columns) == ["a", "b", "c"]
    assert np.array_equal(read.to_numpy(), open_bundle(table).sample(n=2000, seed=7))


def test_pyarrow(tables: Server, table: Path) -> None:
    """The rows as they come, from the socket."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    question = Question(json.dumps(ROWS).encode(), b"")
    media = "application/vnd.apache.arrow.stream"
    with urllib.request.urlopen(asked(tables, question, Accept=media), timeout=60) as answer:  # noqa: S310
        read = pyarrow.ipc.open_stream(answer).read_all()
    rows = np.stack([column.to_numpy() for column in read.columns], 1).astype(np.float32)
    assert np.array_equal(rows, open_bundle(table).sample(n=2000, seed=7))


def test_numpy(server: Server, bundle: Path) -> None:
    question = Question(json.dumps({"model": "toy", "n": 2000, "seed": 7, "deterministic": True}).encode(), b"")
    with urllib.request.urlopen(asked(server, question, Accept="application/x-npy"), timeout=60) as answer:  # noqa: S310
        rows = np.load(io.BytesIO(answer.read()))
    assert np.array_equal(rows, open_bundle(bundle).sample(n=2000, seed=7))
