"""The client against the real server, and against servers that refuse and break off."""

from __future__ import annotations

import asyncio
import io
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from latentserve import AsyncClient, Client, LatentserveError, ServerError, open_bundle
from latentserve.service.client import conversation, scored
from tests.server import Server, free_port


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, model="toy", retries=0) as found:
        yield found


def server_rows(server: Server, **fields: int) -> np.ndarray:
    answer = server.samples(model="toy", accept="application/x-npy", **fields)
    found: np.ndarray = np.load(io.BytesIO(answer.content))
    return found


def test_rows_are_those_of_the_server_with_what_is_known_of_them(client: Client, server: Server) -> None:
    found = client.sample(n=5, seed=7, offset=3)
    told = server.samples(model="toy", n=5, seed=7, offset=3).json()
    assert np.array_equal(found.array, server_rows(server, n=5, seed=7, offset=3))
    assert found.array.dtype == np.float32
    assert (found.seed, found.labels, found.numbers.tolist()) == (7, told["labels"], [3, 4, 5, 6, 7])
    assert (found.model, found.version) == ("toy", told["version"])
    assert (found.next_offset, found.conditions) == (None, None)
    assert len(found) == 5


def test_a_seed_that_the_server_drew_gives_the_rows_again(client: Client) -> None:
    found = client.sample(n=2)
    assert np.array_equal(client.sample(n=2, seed=found.seed).array, found.array)


def test_images_have_the_pixels_of_the_server_s(client: Client, server: Server) -> None:
    (image,) = client.sample(seed=7).images()
    answer = server.samples(model="toy", n=1, seed=7, accept="image/png")
    with Image.open(io.BytesIO(answer.content)) as theirs:
        assert np.array_equal(np.asarray(image), np.asarray(theirs))
    with pytest.raises(LatentserveError, match="no table"):
        client.sample(seed=7).frame()


def test_what_comes_in_arrays_goes_in_arrays(client: Client) -> None:
    labels = np.array([3, 1, 4])
    assert client.sample(seed=7, labels=labels).labels == client.sample(seed=7, labels=labels.tolist()).labels
    dim = next(one for one in client.models() if one["name"] == "toy")["latent"]["dim"]
    latents = np.random.default_rng(7).normal(size=(2, dim)).astype(np.float32)
    sent = client.sample(latents=latents, label=2, deterministic=True)
    assert np.array_equal(sent.array, client.sample(latents=latents.tolist(), label=2, deterministic=True).array)
    assert sent.seed is None


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 40), part=st.integers(1, 17), offset=st.integers(0, 5))
def test_rows_in_parts_are_the_whole(
    client: Client, monkeypatch: pytest.MonkeyPatch, n: int, part: int, offset: int
) -> None:
    monkeypatch.setattr(conversation, "_PART_ROWS", part)
    parts = list(client.rows(n, seed=7, offset=offset, deterministic=True))
    assert [len(one) for one in parts] == [part] * (n // part) + [n % part] * (n % part > 0)
    whole = client.sample(n=n, seed=7, offset=offset, deterministic=True)
    assert np.array_equal(np.concatenate([one.array for one in parts]), whole.array)
    assert np.array_equal(np.concatenate([one.numbers for one in parts]), whole.numbers)
    assert [label for one in parts for label in one.labels or ()] == whole.labels


def test_a_search_goes_on_where_it_was(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_SEARCHED_ROWS", 4)
    where = {"$label": {"in": [3, 5]}}
    parts = list(client.rows(10, seed=7, where=where))
    whole = client.sample(n=10, seed=7, where=where)
    assert [len(one) for one in parts] == [4, 4, 2]
    assert np.array_equal(np.concatenate([one.numbers for one in parts]), whole.numbers)
    assert set(whole.labels or ()) == {"digit 3", "digit 5"}
    assert whole.next_offset is not None


def test_paths_and_variations_are_those_of_the_server(client: Client, bundle: Path) -> None:
    opened = open_bundle(bundle)
    latent = np.linspace(-1, 1, 8, dtype=np.float32)
    path = client.interpolate([{"seed": 7, "row": 3}, {"latent": latent}], frames=5, label="digit 3", curve="linear")
    ends = [{"seed": 7, "row": 3}, {"latent": latent}]
    assert np.allclose(path.array, opened.interpolate(ends, 5, label=3, curve="linear"), atol=1e-5)
    assert (path.numbers.tolist(), path.labels) == ([0, 1, 2, 3, 4], ["digit 3"] * 5)
    assert len(path.images()) == 5
    rest = client.interpolate([{"seed": 7, "row": 3}, {"seed": 8}], offset=3, n=2, loop=True)
    assert (rest.numbers.tolist(), rest.seed) == ([3, 4], None)
    around = client.vary(7, 2, n=3, strength=0.3, variation_seed=9, offset=4)
    assert np.allclose(around.array, opened.vary(7, 2, 3, 0.3, variation_seed=9, offset=4), atol=1e-5)
    assert np.array_equal(client.vary(latent=latent, label=1).array, client.vary(latent=latent.tolist(), label=1).array)
    with pytest.raises(ServerError, match="422 strength"):
        client.vary(7, strength=2)


def test_whatever_holds_samples_is_scored(client: Client, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = client.sample(n=5, seed=7)
    expected = open_bundle(bundle).score(found.array, labels=found.labels)
    assert np.allclose(client.score(found), expected, atol=1e-5)
    assert np.allclose(client.score(found.array, labels=found.labels), expected, atol=1e-5)
    assert np.allclose(client.score(found.array.tolist(), labels=np.array(found.labels)), expected, atol=1e-5)
    of_files = client.score(found.images(), labels=found.labels)
    whole = client.sample(n=5, seed=7, deterministic=True)
    pixels = np.stack([np.asarray(image) for image in whole.images()])[:, None]
    assert np.allclose(client.score(pixels, labels=found.labels), of_files, atol=1e-5)
    assert np.allclose(client.score(found.array[:2], label=3), client.score(found.array, label=3)[:2], atol=1e-5)
    for name in ("_ARRAY_BYTES", "_JSON_BYTES"):
        monkeypatch.setattr(scored, name, 600)
    assert np.allclose(client.score(found), expected, atol=1e-5)
    assert np.allclose(client.score(found.images(), labels=found.labels), of_files, atol=1e-5)
    with pytest.raises(ServerError, match="labels: there are 2, and 5 samples"):
        client.score(found, labels=[1, 2])
    with pytest.raises(ServerError, match="422 samples"):
        client.score([])
    with pytest.raises(ServerError, match="cannot be sent"):
        client.score([object()], label=1)


def test_rows_without_an_end(client: Client) -> None:
    rows = client.rows()
    first, second = next(rows), next(rows)
    assert first.seed == second.seed
    assert second.numbers[0] == first.numbers[-1] + 1


def test_a_refusal_has_the_server_s_own_words(client: Client) -> None:
    with pytest.raises(ServerError, match=r"422 label: .* labels 0 to 9") as caught:
        client.sample(label=77)
    assert (caught.value.status, caught.value.problem["field"]) == (422, "label")
    with pytest.raises(ServerError, match="cannot be sent"):
        client.sample(label=object())  # type: ignore[arg-type]


def test_the_same_to_be_awaited(server: Server, client: Client) -> None:
    async def ask() -> None:
        async with AsyncClient(server.url, model="toy") as waiting:
            found = await asyncio.gather(*(waiting.sample(n=2, seed=seed) for seed in range(4)))
            for seed, one in enumerate(found):
                assert np.array_equal(one.array, client.sample(n=2, seed=seed).array)
            parts = [part.array async for part in waiting.rows(5, seed=1)]
            assert np.array_equal(np.concatenate(parts), client.sample(n=5, seed=1).array)
            assert await waiting.models() == client.models()
            assert np.array_equal((await waiting.vary(7, n=2)).array, client.vary(7, n=2).array)
            path = await waiting.interpolate([{"seed": 7}, {"seed": 8}], 3)
            assert np.array_equal(path.array, client.interpolate([{"seed": 7}, {"seed": 8}], 3).array)
            assert np.array_equal(await waiting.score(path), client.score(path))
            assert [one["model"] for one in await waiting.drift()] == [one["model"] for one in client.drift()]

    asyncio.run(ask())


# Servers that are not well.


def whole_request(line: socket.socket) -> bytes:
    """The next one, with its body."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += line.recv(1 << 16)
    head, _, body = asked.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]):
        body += line.recv(1 << 16)
    return head + b"\r\n\r\n" + body


@contextmanager
def in_front(server: Server, *faults: bytes | int) -> Iterator[str]:
    """A way to the server that meets its first connections with faults: an answer, or after so many bytes of the
    server's answer the end."""
    left = list(faults)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        ending = threading.Event()

        def serve() -> None:
            while not ending.is_set():
                try:
                    line, _ = listener.accept()
                except TimeoutError:
                    continue
                with line:
                    fault = left.pop(0) if left else None
                    asked = whole_request(line)
                    if isinstance(fault, bytes):
                        line.sendall(fault)
                        continue
                    with socket.create_connection(("127.0.0.1", server.port)) as inner:
                        inner.sendall(re.sub(rb"(?i)connection: keep-alive", b"Connection: close", asked))
                        passed = 0
                        while data := inner.recv(1 << 16):
                            data = data[: None if fault is None else fault - passed]
                            passed += len(data)
                            line.sendall(data)
                            if fault is not None and passed >= fault:
                                break

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ending.set()
        thread.join()


BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 17\r\nConnection: close\r\n\r\n"
    b'{"detail":"busy"}'
)


def test_it_comes_again_when_the_server_says(server: Server) -> None:
    with in_front(server, BUSY) as url, Client(url) as client:
        began = time.monotonic()
        assert client.models()
        assert time.monotonic() - began >= 1


def test_who_may_not_come_again_is_told(server: Server) -> None:
    refused = pytest.raises(ServerError, match="busy")
    with in_front(server, BUSY) as url, Client(url, retries=0) as client, refused as told:
        client.models()
    assert told.value.status == 429


@pytest.mark.parametrize("after", [0, 10, 400])
def test_an_answer_that_breaks_off_is_asked_for_again(server: Server, client: Client, after: int) -> None:
    with in_front(server, after, after) as url, Client(url, model="toy") as patient:
        assert np.array_equal(patient.sample(n=3, seed=7).array, client.sample(n=3, seed=7).array)


@pytest.mark.parametrize("n", [3_000, pytest.param(300_000, marks=pytest.mark.full)])
def test_rows_come_once_each_over_connections_that_break(server: Server, bundle: Path, n: int) -> None:
    """Answers that break off anywhere, and servers that are busy in between."""
    chance, whole = random.Random(0), 1 << 40
    faults = [chance.choice([0, 100, 2_000, 100_000, whole, whole]) for _ in range(n // 300)]
    with in_front(server, *faults) as url, Client(url, model="toy", retries=30) as client:
        parts = list(client.rows(n, seed=7, deterministic=True))
    assert np.array_equal(np.concatenate([one.numbers for one in parts]), np.arange(n))
    opened = open_bundle(bundle)
    for part in parts:
        rows = opened.sample(len(part), seed=7, offset=int(part.numbers[0]))
        assert np.allclose(part.array, rows, atol=1e-5)


def test_nobody_is_there() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", retries=1) as client, pytest.raises(ServerError, match="refused"):
        client.sample()


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ServerError):
        Client(url, retries=0).models()
