"""A real Prometheus that scrapes, which asks for gzip."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.fleet.panels.scene import prometheus
from deploy import names
from tests.fleet import tool
from tests.server import Server

pytestmark = pytest.mark.full

SCRAPE = 1.0
SECONDS = 30.0
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"


def test_a_scrape_is_what_is_shown(server: Server, tmp_path: Path) -> None:
    tool("prometheus")
    server.samples(model="toy", n=5, seed=1).raise_for_status()
    with prometheus(tmp_path / "prometheus", [], SCRAPE, {names.JOB: [server.port]}) as url:
        end = time.monotonic() + SECONDS
        while (now := _value(url, f'sum({names.SAMPLES}{{arm="client"}})')) is None or now < 5:
            assert time.monotonic() < end, now
            time.sleep(0.2)
        assert _value(url, "up") == 1
        shown = _series(server)
        # What a scrape adds to the server's own counts apart.
        assert _value(url, f'count({{job="{names.JOB}", __name__=~"latentserve_.+"}})') == pytest.approx(shown, abs=2)


def test_a_scrape_may_be_compressed(server: Server) -> None:
    asked = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
    with httpx.stream("GET", f"{server.url}/metrics", headers=asked) as answer:
        content = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    text = gzip.decompress(content).decode()
    assert len(content) < len(text) / 5
    assert "latentserve_requests_total{" in text


def _series(server: Server) -> int:
    text = httpx.get(f"{server.url}/metrics").text
    return sum(line.startswith("latentserve_") for line in text.splitlines())


def _value(url: str, query: str) -> float | None:
    found = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else None
