"""Traces: what a collector is sent of a request, and of which."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.responses import PlainTextResponse

from latentserve.service.cli import cli
from latentserve.service.host.group import Group
from latentserve.service.http.application import Application
from latentserve.service.serving import Serving
from latentserve.service.settings import Settings
from latentserve.service.telemetry import Telemetry
from tests.server import Server

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def serving(bundle: Path) -> Iterator[Serving]:
    serving = Serving(Settings(bundles=(bundle,)))
    serving.load()
    yield serving
    serving.stop()


def spans_of(
    serving: Serving, share: float, *asked: dict[str, Any], headers: dict[str, str] | None = None
) -> list[ReadableSpan]:
    """The spans of some requests, asked one after the other."""
    exporter = InMemorySpanExporter()
    serving.telemetry = Telemetry(exporter, share)
    app = Application(PlainTextResponse("no", 404), serving, Group())

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as http:
            for body in asked:
                await http.post("/v1/samples", json=body, headers={"X-API-Key": "ls_secret", **(headers or {})})

    asyncio.run(ask())
    serving.telemetry.stop()
    serving.telemetry = None
    return list(exporter.get_finished_spans())


def test_a_request_has_a_span_and_its_parts_have_theirs(serving: Serving) -> None:
    spans = spans_of(serving, 1.0, {"n": 2, "seed": 7})
    (root,) = [span for span in spans if span.parent is None]
    parts = {span.name: span for span in spans if span.parent is not None}
    assert root.name == "POST /v1/samples"
    assert set(parts) == {"queue", "engine", "encode"}
    assert all(part.parent.span_id == root.context.span_id for part in parts.values())
    order = [root.start_time, *(parts[name].start_time for name in ("queue", "engine", "encode")), root.end_time]
    assert order == sorted(order)
    assert parts["queue"].end_time == parts["engine"].start_time
    told = dict(root.attributes or {})
    assert (told["http.response.status_code"], told["latentserve.model"], told["http.route"]) == (
        200,
        "toy",
        "/v1/samples",
    )
    assert not any("secret" in str(value) or "127.0.0.1" in str(value) for value in told.values())


@pytest.mark.parametrize("body", [{"n": 1000}, {"n": 3, "where": {"$label": {"in": [1, 2]}}}])
def test_a_large_answer_has_the_same_parts(serving: Serving, body: dict[str, Any]) -> None:
    assert {span.name for span in spans_of(serving, 1.0, body)} == {"POST /v1/samples", "queue", "engine", "encode"}


def test_what_is_refused_has_no_parts(serving: Serving) -> None:
    (span,) = spans_of(serving, 1.0, {"n": 0})
    assert dict(span.attributes or {})["http.response.status_code"] == 422


def test_who_sends_a_traceparent_decides(serving: Serving) -> None:
    asked = {"n": 1}
    traced = spans_of(serving, 0.0, asked, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    (root,) = [span for span in traced if span.name == "POST /v1/samples"]
    assert root.parent is not None
    assert (f"{root.context.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, SPAN)
    assert spans_of(serving, 1.0, asked, headers={"traceparent": f"00-{TRACE}-{SPAN}-00"}) == []
    assert spans_of(serving, 0.0, *[asked] * 20) == []


def test_a_server_sends_them_to_a_collector(
    start_server: Callable[..., Server], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this machine: no proxy of the environment stands between."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs latentserve[otel]")
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        server = start_server(bundle, telemetry=f"http://127.0.0.1:{collector.server_port}", telemetry_share=1)
        assert server.samples(n=1).status_code == 200
        server.wait_for(lambda: any(b"engine" in content for _, content in received))
        collector.shutdown()
    assert {path for path, _ in received} == {"/v1/traces"}


def test_a_collector_needs_a_url(bundle: Path) -> None:
    done = CliRunner().invoke(cli, ["serve", str(bundle)], env={"LATENTSERVE_TELEMETRY": "collector:4318"})
    assert "LATENTSERVE_TELEMETRY" in str(done.exception)
