"""Samples by GET: what caches, pages and readers of addresses make of them."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.encoding.compressed import zstd
from tests.conftest import make_shower
from tests.server import Server

IMG = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"  # of a browser's <img>
COLUMNS = [Column(name="share", type="float64", decimals=2), Column(name="count", type="int64")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, shower_bundle: Path) -> Iterator[Server]:
    """Pictures and a table of labels and conditions; small answers are kept."""
    folder = tmp_path_factory.mktemp("bundles")
    table = make_shower(folder / "table", "table", sample=SampleSpec(kind="table", shape=[2], columns=COLUMNS))
    with Server(shower_bundle, table, cache_bytes=1 << 20) as running:
        yield running


@pytest.fixture(scope="module")
def versions(server: Server) -> dict[str, str]:
    return {model["name"]: model["version"] for model in server.http.get("/v1/models").json()["models"]}


@pytest.fixture(scope="module")
def get(server: Server, versions: dict[str, str]) -> Callable[..., httpx.Response]:
    """A sample of a pinned version."""

    def ask(model: str, seed: object, method: str = "GET", headers: Any = (), **query: object) -> httpx.Response:
        path = f"/v1/models/{model}/versions/{versions[model]}/samples/{seed}"
        return server.http.request(method, path, params=query, headers=dict(headers))

    return ask


Get = Callable[..., httpx.Response]


def test_it_is_what_post_gives(server: Server, get: Get) -> None:
    fields = {"n": 3, "offset": 4, "truncation": 0.5, "label": "photon", "format": "npy"}
    answer = get("shower", 7, **fields, **{"condition.energy": 50})
    posted = server.samples(model="shower", seed=7, **fields, condition={"energy": 50}, deterministic=True)
    assert answer.content == posted.content
    told = {name: value for name, value in answer.headers.items() if name.startswith("latentserve-")}
    assert told == {name: value for name, value in posted.headers.items() if name.startswith("latentserve-")}
    assert (told["latentserve-seed"], json.loads(told["latentserve-labels"])) == ("7", ["photon"] * 3)


def test_a_page_shows_it_and_readers_read_it(server: Server, versions: dict[str, str], get: Get) -> None:
    """By nothing but its address, as `<img src>` and `pandas.read_csv` have it."""
    picture = get("shower", 7, headers={"Accept": IMG})
    assert picture.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (8, 8)
    url = f"{server.url}/v1/models/table/versions/{versions['table']}/samples/7"
    frame = pd.read_csv(f"{url}?n=500")
    assert (list(frame), len(frame)) == (["share", "count"], 500)
    assert "$row" in pd.read_csv(f"{url}?address=true")
    parquet = pytest.importorskip("pyarrow", reason="needs latentserve[tables]") and f"{url}?n=500&format=parquet"
    assert pd.read_parquet(parquet).equals(frame)
    assert get("table", 7, headers={"Accept": "application/json"}).json()["n"] == 1


def test_caches_are_told_how_long_and_by_what(server: Server, get: Get) -> None:
    pinned = get("shower", 7).headers
    assert pinned["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (pinned["Vary"], pinned["Accept-Ranges"]) == ("Accept, Accept-Encoding", "bytes")
    loose = server.http.get("/v1/models/shower/samples/7").headers
    assert loose["Cache-Control"] == "public, max-age=60"
    assert loose["ETag"] == pinned["ETag"]
    refused = get("shower", "x")
    assert refused.status_code == 422
    assert "Cache-Control" not in refused.headers


def test_a_tag_says_all_that_an_answer_depends_on(get: Get) -> None:
    asked: list[dict[str, object]] = [
        {}, {"n": 2}, {"offset": 1}, {"truncation": 0.5}, {"label": "photon"}, {"condition.energy": 50},
        {"condition.energy": 51}, {"format": "npy"}, {"format": "npy", "dtype": "uint8"},
    ]  # fmt: skip
    answers = [get("shower", 7, **query) for query in asked] + [get("shower", 8)]
    assert len({answer.headers["ETag"] for answer in answers}) == len(answers)
    same = [get("shower", 7, **query).headers["ETag"] for query in ({"n": 1, "offset": 0}, {"format": "png"})]
    assert same == [answers[0].headers["ETag"]] * 2
    assert get("shower", 7, label="1").headers["ETag"] == answers[4].headers["ETag"]


def test_what_a_client_has_is_not_sent_again(get: Get) -> None:
    tag = get("shower", 7).headers["ETag"]
    for had in (tag, f"W/{tag}", f'"x", {tag}', f'"a,b",W/{tag} , "y"', "*"):
        for method in ("GET", "HEAD"):
            answer = get("shower", 7, method, headers={"If-None-Match": had})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
            assert answer.headers["Cache-Control"].endswith("immutable")
            assert answer.headers["Vary"] == "Accept, Accept-Encoding"
            assert "Content-Type" not in answer.headers
    for other in ('"x"', tag.strip('"'), "", ",", '"', "W/", f'"{tag}'[:-1], tag.upper() + "x"):
        assert get("shower", 7, headers={"If-None-Match": other}).status_code == 200
    assert get("shower", 8, headers={"If-None-Match": tag}).status_code == 200
    assert get("shower", -1, headers={"If-None-Match": "*"}).status_code == 422


def test_an_answer_that_is_not_the_one_that_is_meant_is_not_sent(get: Get) -> None:
    tag = get("shower", 7).headers["ETag"]
    for method in ("GET", "HEAD"):
        for meant in (tag, f'"x", {tag}', f'W/"x",{tag}', "*"):
            assert get("shower", 7, method, headers={"If-Match": meant}).status_code == 200
        for other in ('"x"', f"W/{tag}", tag.strip('"'), ""):
            answer = get("shower", 7, method, headers={"If-Match": other})
            assert answer.status_code == 412
            assert answer.headers["Content-Type"] == "application/problem+json"
    both = {"If-Match": '"x"', "If-None-Match": tag}
    assert get("shower", 7, headers=both).status_code == 412
    assert get("shower", 7, headers=both | {"If-Match": tag}).status_code == 304
    part = {"If-Match": tag, "Range": "bytes=0-3"}
    assert get("shower", 7, headers=part).status_code == 206
    # Nothing says when an answer was modified, so dates are passed over.
    assert get("shower", 7, headers={"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}).status_code == 200


def test_head_tells_the_headers_and_makes_nothing(server: Server, get: Get) -> None:
    server.wait_for(lambda: server.metric("inflight_requests") == 0)
    before = server.metric("samples_total", model="shower")
    for form in ("png", "webp", "npy", "raw"):
        head = get("shower", 99, "HEAD", format=form)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Latentserve-Seed"] == "99"
        assert ("Content-Length" in head.headers) == (form in ("npy", "raw"))
    large = get("table", 99, "HEAD", format="csv", n=1_000_000)
    assert "Content-Length" not in large.headers
    assert large.headers["Accept-Ranges"] == "none"
    made = server.metric("samples_total", model="shower")
    whole = get("shower", 99, format="npy")
    assert head.headers["Cache-Control"] == whole.headers["Cache-Control"]
    assert int(get("shower", 99, "HEAD", format="npy").headers["Content-Length"]) == len(whole.content)
    assert made == before


def test_methods_and_bodies(server: Server, get: Get) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = get("shower", 7, method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    whole = get("shower", 7)
    path = str(whole.request.url)
    assert server.http.request("GET", path, content=b'{"n": 5}').content == whole.content


@pytest.mark.parametrize("query", [{}, {"format": "npy"}, {"format": "json", "n": 500}, {"format": "npy", "n": 3000}])
def test_parts_are_of_the_whole(get: Get, query: dict[str, object]) -> None:
    """Of small answers, and of those that are sent in pieces."""
    headers = {"Accept-Encoding": "identity"}
    whole = get("shower", 7, headers=headers, **query)
    size, tag = len(whole.content), whole.headers["ETag"]
    for asked, start, stop in (
        ("bytes=0-9", 0, 10), ("bytes=5-", 5, size), ("bytes=-7", size - 7, size), (f"bytes=-{size + 5}", 0, size),
        (f"BYTES = {size - 1} - {size}99", size - 1, size), ("bytes=,0-0,", 0, 1),
    ):  # fmt: skip
        for only_if in ({}, {"If-Range": tag}):
            answer = get("shower", 7, headers={**headers, "Range": asked, **only_if}, **query)
            assert (answer.status_code, answer.content) == (206, whole.content[start:stop]), asked
            assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
            assert answer.headers["Content-Length"] == str(stop - start)
            for name in ("ETag", "Content-Type", "Cache-Control", "Latentserve-Seed", "Accept-Ranges"):
                assert answer.headers[name] == whole.headers[name]
    for asked, only_if in (
        ("bytes=9-0", {}), ("bytes=-", {}), ("x", {}), ("bytes=0-1,4-5", {}), ("rows=0-1", {}), ("bytes=1", {}),
        (f"bytes=0-{'9' * 50}", {}), ("bytes=a-b", {}), ("", {}),
        ("bytes=0-9", {"If-Range": '"x"'}), ("bytes=0-9", {"If-Range": f"W/{tag}"}),
        ("bytes=0-9", {"If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ):  # fmt: skip
        answer = get("shower", 7, headers={**headers, "Range": asked, **only_if}, **query)
        assert (answer.status_code, answer.content) == (200, whole.content), asked
        assert "Content-Range" not in answer.headers
    for asked in (f"bytes={size}-", "bytes=-0", f"bytes={size + 3}-{size + 9}"):
        answer = get("shower", 7, headers={**headers, "Range": asked}, **query)
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{size}"), asked
        assert answer.headers["Content-Type"] == "application/problem+json"
    had = get("shower", 7, headers={**headers, "Range": "bytes=0-1", "If-None-Match": tag}, **query)
    assert had.status_code == 304


def test_what_is_read_in_parts_is_made_once(server: Server, get: Get) -> None:
    def made() -> float:
        return server.metric("samples_total", model="table", arm="client")

    time.sleep(1.2)  # what others asked for is counted a second later
    before = made()
    head = get("table", 4711, "HEAD", format="parquet", n=700)
    size = int(head.headers["Content-Length"])
    parts = [get("table", 4711, headers={"Range": f"bytes={at}-{at + 999}"}, format="parquet", n=700).content
             for at in range(0, size, 1000)]  # fmt: skip
    server.wait_for(lambda: made() >= before + 700)
    assert b"".join(parts) == get("table", 4711, format="parquet", n=700).content
    server.wait_for(lambda: made() >= before + 1400)
    time.sleep(1.2)
    assert made() == before + 1400


def test_compressed_text_has_no_parts(get: Get) -> None:
    zipped = get("table", 7, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-9"}, n=5000)
    assert (zipped.status_code, zipped.headers["Accept-Ranges"]) == (200, "none")
    assert get("table", 7, headers={"Accept-Encoding": "identity", "Range": "bytes=0-9"}, n=5000).status_code == 206


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("models/nobody/samples/7", 404, None),
        ("models/shower/versions/0123456789ab/samples/7", 404, None),
        ("models/shower/versions//samples/7", 404, None),
        (f"models/{'x' * 5000}/samples/7", 404, None),
        ("models/shower/samples/7/8", 404, None),
        ("models/shower/samples/", 422, "seed"),
        ("models/shower/samples/9007199254740992", 422, "seed"),
        ("models/shower/samples/1.0", 422, "seed"),
        ("models/shower/samples/%D9%A3", 422, "seed"),
        ("models/shower/samples/7?seed=8", 422, "seed"),
        ("models/shower/samples/7?model=table", 422, "model"),
        ("models/shower/samples/7?deterministic=true", 422, "deterministic"),
        ("models/shower/samples/7?n=0", 422, "n"),
        ("models/shower/samples/7?n=1&n=2", 422, "n"),
        ("models/shower/samples/7?colour=red", 422, "colour"),
        ("models/shower/samples/7?label=muon", 422, "label"),
        ("models/shower/samples/7?condition.energy=101", 422, "condition.energy"),
        ("models/shower/samples/7?latents=1", 422, "latents"),
        ("models/shower/samples/7?format=tiff", 422, "format"),
        ("models/shower/samples/7?format=csv", 406, None),
        ("models/shower/samples/7?n=2000000", 413, None),
        ("models/shower/samples/9007199254740991?offset=9007199254740991&n=2", 422, "offset"),
    ],
)
def test_what_is_refused(server: Server, path: str, status: int, field: str | None) -> None:
    answer = server.http.get(f"/v1/{path}")
    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "ETag" not in answer.headers


def test_small_answers_are_kept_and_given_again(server: Server, get: Get) -> None:
    def outcome(name: str) -> float:
        return server.metric("cache_requests_total", outcome=name)

    time.sleep(1.2)  # the counters are at most a second behind
    hits, misses, held = outcome("hit"), outcome("miss"), server.metric("cache_bytes")
    first = get("shower", 12345, format="npy", n=3)
    again = [get("shower", 12345, format="npy", n=3) for _ in range(3)]
    assert {answer.content for answer in again} == {first.content}
    plain = {name: value for name, value in first.headers.items() if name not in ("x-request-id", "date")}
    assert {name: again[0].headers[name] for name in plain} == plain
    assert len({answer.headers["X-Request-ID"] for answer in (first, *again)}) == 4
    server.wait_for(lambda: (outcome("hit"), outcome("miss")) == (hits + 3, misses + 1))
    server.wait_for(lambda: held < server.metric("cache_bytes") <= 1 << 20)
    for seed in range(1000, 1300):  # more than there is room for
        get("shower", seed, n=64, format="npy", dtype="float32")
    assert server.metric("cache_bytes") <= 1 << 20
    assert get("shower", 12345, format="npy", n=3).content == first.content
    server.wait_for(lambda: outcome("miss") == misses + 302)


def test_text_is_compressed_for_those_who_take_it(server: Server, get: Get) -> None:
    def raw(codings: str, **query: object) -> httpx.Response:
        return get("table", 7, headers={"Accept-Encoding": codings}, **query)

    whole = raw("identity", n=5000)
    assert "Content-Encoding" not in whole.headers
    zipped = raw("gzip, deflate, br", n=5000)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.content == whole.content  # as the client decoded it
    assert zipped.headers["ETag"] != whole.headers["ETag"]
    assert "Content-Encoding" not in raw("gzip;q=0, *;q=0", n=5000).headers
    assert "Content-Encoding" not in raw("gzip", n=5).headers
    assert "Content-Encoding" not in raw("gzip", n=5000, format="npy").headers
    with server.http.stream("GET", str(zipped.request.url), headers={"Accept-Encoding": "gzip"}) as answer:
        sent = b"".join(answer.iter_raw())
    assert gzip.decompress(sent) == whole.content
    assert len(sent) < len(whole.content) / 2
    for codings, taken in (
        ("gzip, deflate, br, zstd", "zstd"), ("gzip, zstd;q=0.9", "gzip"), ("*", "zstd"), ("zstd;q=0, *", "gzip"),
        ("deflate, zstd;q=0", "deflate"), ("br, zstd;q=0.1", "zstd"), ("br", None), ("identity, *;q=0", None),
    ):  # fmt: skip
        with server.http.stream("GET", str(zipped.request.url), headers={"Accept-Encoding": codings}) as answer:
            sent = b"".join(answer.iter_raw())
        assert answer.headers.get("Content-Encoding") == taken, codings
        if taken == "zstd":
            assert zstd.decompress(sent) == whole.content
            assert len(sent) < len(whole.content) / 2
    posted = server.http.post("/v1/samples?format=ndjson", json={"model": "table", "n": 3000, "seed": 1})
    assert posted.headers["Content-Encoding"] == "gzip"
    assert len(posted.content.splitlines()) == 3000


def test_bit_for_bit_whatever_it_is_asked_with(get: Get) -> None:
    rows = np.load(io.BytesIO(get("shower", 7, n=300, format="npy").content))
    for offset in (0, 63, 64, 299):
        one = np.load(io.BytesIO(get("shower", 7, offset=offset, format="npy").content))
        assert np.array_equal(one[0], rows[offset])
