"""The application in front of anything: errors, ids, draining, proxies, other origins' pages."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentserve.service import logs
from latentserve.service.errors import EngineError, InvalidError, LatentserveError
from latentserve.service.host.group import Group, Health
from latentserve.service.host.limits import ClientGone, RequestError
from latentserve.service.http import routes
from latentserve.service.http.application import Application
from latentserve.service.http.responses import StreamedResponse
from latentserve.service.serving import Serving
from latentserve.service.settings import Settings
from tests.counted import value

DRIFT = "/v1/drift"


async def nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    """BentoML's application, as far as it knows nothing."""
    await PlainTextResponse("Not Found", 404)(scope, receive, send)


def application(app: ASGIApp = nothing_else, group: Group | None = None, **settings: Any) -> Application:
    return Application(app, Serving(Settings(**settings)), group or Group())


def ask(app: ASGIApp, method: str, path: str, **options: Any) -> httpx.Response:
    client = options.pop("client", ("127.0.0.1", 5000))

    async def answered() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as http:
            return await http.request(method, path, **options)

    return asyncio.run(answered())


def counted(route: str, code: int) -> float:
    labels = {"model": "", "version": "", "route": route, "code": str(code)}
    return value("requests_total", **labels) or 0


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    return [record.fields for record in caplog.records if record.event == name]  # type: ignore[attr-defined]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Response]], None]:
    """Have `/v1/drift` answer something else."""

    def answer(by: Callable[[], Response]) -> None:
        async def drift(_self: object, _call: object) -> Response:
            return by()

        monkeypatch.setattr(routes.Routes, "_drift", drift)

    return answer


Answering = Callable[[Callable[[], Response]], None]


def fail(error: BaseException) -> Callable[[], Response]:
    def raising() -> Response:
        raise error

    return raising


# Errors.


def test_an_unexpected_error_is_a_problem_with_a_trace_in_the_log(
    answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    answering(fail(ZeroDivisionError("the clock has struck thirteen")))
    before = counted(DRIFT, 500)
    answer = ask(application(), "GET", DRIFT, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:problem-type:latentserve:internal"
    assert "thirteen" not in answer.text
    assert "mine" in answer.json()["detail"]
    assert answer.headers["X-Request-ID"] == "mine"
    assert counted(DRIFT, 500) == before + 1
    (line,) = events(caplog, "failed")
    assert line["request_id"] == "mine"
    assert line["detail"] == "the clock has struck thirteen"
    (record,) = [record for record in caplog.records if record.event == "failed"]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


def test_what_was_read_of_a_refused_request_goes_with_its_answer(answering: Answering) -> None:
    class Read(bytearray):
        pass

    seen: list[weakref.ref[Read]] = []

    def refuse() -> Response:
        read = Read(1 << 20)
        seen.append(weakref.ref(read))
        raise InvalidError("seed", "is none")

    answering(refuse)
    app = application()
    gc.collect()
    gc.disable()  # it comes too seldom for bodies of a megabyte
    try:
        assert ask(app, "GET", DRIFT).status_code == 422
        assert seen[0]() is None
    finally:
        gc.enable()


def test_a_request_that_meets_no_model_is_answered_at_once() -> None:
    answer = ask(application(), "POST", "/v1/samples", json={})
    assert answer.status_code in (500, 503)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (EngineError("out of memory"), 500, "engine"),
        (RequestError("a chunk has no end"), 400, "malformed-request"),
        (type("Late", (RequestError,), {"status": 408})("too late"), 408, "body-timeout"),
    ],
    ids=str,
)
def test_an_error_that_is_known(answering: Answering, error: Exception, status: int, slug: str) -> None:
    answering(fail(error))
    answer = ask(application(), "GET", DRIFT)
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:problem-type:latentserve:{slug}"


def test_bentomls_errors_are_its_own_where_they_say_something() -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b'{"error": "1 validation error"}', 400, media_type="application/json")(scope, receive, send)

    before = counted("/sample", 400)
    answer = ask(application(refuses), "POST", "/sample", json={})
    assert answer.json() == {"error": "1 validation error"}
    assert answer.headers["X-Request-ID"]
    assert counted("/sample", 400) == before + 1


def test_bentoml_gets_the_body_decoded() -> None:
    heard: dict[str, object] = {}

    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        heard.update(body=(await receive())["body"], headers=dict(scope["headers"]))
        await PlainTextResponse("ok")(scope, receive, send)

    coded = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert ask(application(listens), "POST", "/sample", content=gzip.compress(b"{}"), headers=coded).is_success
    assert heard["body"] == b"{}"
    assert b"content-encoding" not in heard["headers"]  # type: ignore[operator]
    refused = ask(application(listens), "POST", "/sample", content=b"x", headers={"Content-Encoding": "br"})
    assert (refused.status_code, refused.headers["Accept-Encoding"]) == (415, "gzip, deflate")


@pytest.mark.parametrize("begin", [True, False])
def test_bentomls_unexpected_errors_are_problems(begin: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        if begin:
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
        raise ZeroDivisionError

    answer = ask(application(breaks), "GET", "/docs.json")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:problem-type:latentserve:internal"
    assert "Content-Security-Policy" in answer.headers
    assert len(events(caplog, "failed")) == 1


def test_what_nobody_knows_is_counted_once() -> None:
    """BentoML is not asked: it would be imported for that, which takes seconds."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    before = counted("other", 404)
    answer = ask(application(asked), "GET", "/nope")
    assert answer.json()["detail"] == "GET /nope: no such route"
    assert counted("other", 404) == before + 1
    assert ask(application(asked), "GET", "/healthz").status_code == 200


# Counts of what broke.


async def one_request(app: ASGIApp, send: Callable[[Message], Awaitable[None]], path: str = DRIFT) -> None:
    async def receive() -> Message:
        await asyncio.sleep(3600)
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "server": ("127.0.0.1", 1)}
    await app(scope, receive, send)


async def breaking(error: Exception) -> AsyncGenerator[bytes]:
    yield b"half"
    raise error


async def endless() -> AsyncGenerator[bytes]:
    while True:
        yield b"more"


@pytest.mark.parametrize(
    ("chunks", "taken", "status"),
    [
        (lambda: breaking(EngineError("gone")), None, 500),
        (lambda: breaking(ZeroDivisionError()), None, 500),
        (endless, ClientGone("the client has closed the connection"), 499),
        (endless, ClientDisconnect(), 499),
    ],
)
def test_a_stream_that_breaks_is_no_200(
    answering: Answering, chunks: Callable[[], AsyncGenerator[bytes]], taken: Exception | None, status: int
) -> None:
    answering(lambda: StreamedResponse([], chunks(), lambda: None, 5))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 3 and taken is not None:
            raise taken

    before = {code: counted(DRIFT, code) for code in (200, 499, 500)}
    asyncio.run(one_request(application(), send))
    assert sent[0]["status"] == 200
    assert not any(message.get("more_body") is False for message in sent[1:])
    after = {code: counted(DRIFT, code) for code in before}
    assert after == {**before, status: before[status] + 1}


def test_a_body_that_never_ends_is_408_under_any_server() -> None:
    app = Application(nothing_else, Serving(Settings(body_seconds=0.05)))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask_slowly() -> None:
        async def receive() -> Message:
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b" ", "more_body": True}

        scope = {"type": "http", "method": "POST", "path": "/v1/samples", "headers": [], "server": None}
        await app(scope, receive, send)

    asyncio.run(ask_slowly())
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["type"] == "urn:problem-type:latentserve:body-timeout"


# Start, stop, health.


def test_while_draining_what_comes_new_is_sent_away() -> None:
    app = application(group=Group(draining=True))
    for path in ("/v1/models", "/docs.json", "/v1/nope"):
        answer = ask(app, "GET", path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Connection"] == "close"
        assert "draining" in answer.json()["detail"]
    assert ask(app, "GET", "/livez").status_code == 200
    assert ask(app, "GET", "/metrics").status_code == 200
    ready = ask(app, "GET", "/readyz")
    assert ready.status_code == 503
    assert "draining" in ready.json()["detail"]


def test_the_port_of_the_metrics_answers_nothing_else() -> None:
    app = application(metrics_port=3001)
    here, there = "http://127.0.0.1:3001", "http://127.0.0.1:3000"
    for path in ("/livez", "/metrics"):
        assert ask(app, "GET", f"{here}{path}").status_code == ask(app, "GET", f"{there}{path}").status_code == 200
    assert ask(app, "GET", f"{here}/readyz").status_code == 503
    for path in ("/v1/models", "/v1/samples", "/sample", "/", "/v1/nope"):
        before = counted("other", 404)
        answer = ask(app, "GET", f"{here}{path}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
        assert counted("other", 404) == before + 1
    assert ask(app, "GET", f"{there}/v1/models").status_code == 200
    # A server of BentoML's listens on one port, whatever this setting is.
    alone = Application(nothing_else, Serving(Settings(metrics_port=3001)))
    assert ask(alone, "GET", f"{here}/v1/models").status_code == 200


def test_readiness_is_the_groups() -> None:
    alone, with_others = Group(), Group(others=1)
    app, other = application(group=alone), application(group=with_others)
    assert with_others.examine() == Health(ready=False)
    assert ask(other, "GET", "/readyz").status_code == 200
    answer = ask(app, "GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the models are being loaded"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_failure_to_load_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda _format: None)  # the log is pytest's
    app = application(bundles=["/nowhere"])
    sent: list[Message] = []

    async def live() -> None:
        async def receive() -> Message:
            return {"type": "lifespan.startup"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app({"type": "lifespan"}, receive, send)

    asyncio.run(live())
    assert sent == [{"type": "lifespan.startup.failed", "message": "/nowhere: no such bundle folder"}]


# Methods.


@pytest.mark.parametrize("path", ["/v1/models", DRIFT, "/metrics", "/readyz", "/livez", "/v1/models/toy"])
def test_what_is_read_is_asked_for_by_get_head_or_options(path: str) -> None:
    app = application()
    options = ask(app, "OPTIONS", path)
    assert (options.status_code, options.headers["Allow"], options.content) == (204, "GET, HEAD, OPTIONS", b"")
    refused = ask(app, "DELETE", path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert ask(app, "HEAD", path).status_code == ask(app, "GET", path).status_code


# Who asks, and from where.


def test_a_trace_and_an_id_are_answered() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = ask(application(), "GET", "/livez", headers={"X-Request-ID": "mine", "traceparent": trace})
    assert (answer.headers["X-Request-ID"], answer.headers["traceparent"]) == ("mine", trace)
    assert "traceparent" not in ask(application(), "GET", "/livez", headers={"traceparent": "00-no"}).headers


@pytest.mark.parametrize(
    ("server", "status"),
    [
        (("127.0.0.1", 3000), 200),
        (("::1", 3000), 200),
        (None, 200),
        (("/run/latentserve.sock", None), 200),
        (("192.0.2.1", 3000), 403),
        (("::ffff:192.0.2.1", 3000), 403),
    ],
)
def test_other_machines_are_refused(server: tuple[str, int | None] | None, status: int) -> None:
    app = application()

    async def reached(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "server": server}, receive, send)

    assert ask(reached, "GET", "/v1/models").status_code == status
    assert ask(reached, "GET", "/metrics").status_code == status
    assert ask(reached, "GET", "/livez").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/gan/v1/models"])
def test_a_root_path_may_be_there_or_not(path: str) -> None:
    assert ask(application(root_path="/gan"), "GET", path).status_code == 200


@pytest.mark.parametrize("path", ["/docs.json", "/gan/docs.json"])
def test_bentoml_hears_of_the_root_path(path: str) -> None:
    heard: dict[str, str] = {}

    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        heard.update(path=scope["path"], root_path=scope["root_path"])
        await PlainTextResponse("ok")(scope, receive, send)

    assert ask(application(listens, root_path="/gan"), "GET", path).status_code == 200
    assert heard == {"path": "/gan/docs.json", "root_path": "/gan"}


def test_the_client_behind_a_trusted_proxy_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "latentserve")
    app = application(trusted_proxies=["127.0.0.1"], access_log=True)
    ask(app, "GET", "/livez", headers={"X-Forwarded-For": "203.0.113.9"})
    ask(app, "GET", "/livez", headers={"X-Forwarded-For": "203.0.113.9"}, client=("192.0.2.7", 1))
    assert [line["client"] for line in events(caplog, "answered")] == ["203.0.113.9", "192.0.2.7"]


def test_pages_of_origins_that_are_named_may_ask() -> None:
    app = application(cors_origins=["https://gallery.example"])
    origin = {"Origin": "https://gallery.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-request-id"}
    preflight = ask(app, "OPTIONS", "/v1/samples", headers=origin | asked)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://gallery.example"
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type,x-request-id"
    answer = ask(app, "GET", "/v1/models", headers=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://gallery.example"
    assert "Latentserve-Seed" in answer.headers["Access-Control-Expose-Headers"]
    # An error says why to them too, and an answer without an origin is not for everybody's cache.
    assert ask(app, "GET", "/v1/nope", headers=origin).headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert ask(app, "GET", "/v1/models").headers["Vary"] == "Origin"


def test_pages_of_other_origins_may_not_ask() -> None:
    for app in (application(), application(cors_origins=["https://gallery.example"])):
        answer = ask(app, "GET", "/v1/models", headers={"Origin": "https://elsewhere.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers


# The log.


def test_refusals_are_logged_and_answers_only_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "latentserve")
    ask(application(), "GET", "/livez")
    assert not caplog.records
    ask(application(access_log=True), "GET", "/livez")
    ask(application(), "GET", "/v1/gone")
    assert [line["status"] for line in events(caplog, "answered")] == [200]
    assert [line["status"] for line in events(caplog, "refused")] == [404]


def test_an_error_of_ours_has_no_trace(answering: Answering, caplog: pytest.LogCaptureFixture) -> None:
    answering(fail(LatentserveError("known")))
    ask(application(), "GET", DRIFT)
    (record,) = [record for record in caplog.records if record.event == "failed"]
    assert record.exc_info is None
