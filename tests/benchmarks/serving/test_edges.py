"""The clients of the benchmarks of a server's edges, beside servers of a few lines that fail in a known way; and, in
the long form, both benchmarks in their shortest."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.runner import main
from benchmarks.serving.edges.clients import Clients, Kept
from benchmarks.serving.edges.corpus import CORPUS
from benchmarks.serving.edges.corpus.hostile import Target, exchange, held, reset, unread
from benchmarks.serving.edges.line import Answer, Line, LostError
from benchmarks.serving.edges.questions import FORMS, Question

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _with_server(handle: Handler, ask: Callable[[int], Awaitable[object]]) -> object:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        return await asyncio.wait_for(ask(server.sockets[0].getsockname()[1]), 10)


def _ask(handle: Handler, ask: Callable[[int], Awaitable[object]]) -> object:
    return asyncio.run(_with_server(handle, ask))


def _says(*answers: bytes | None) -> Handler:
    """The answers to a connection's requests, one after the other; None: it closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            if answer is None:
                break
            with suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
        writer.close()

    return handle


class TestLine:
    def test_answers_come_whole_one_after_the_other(self) -> None:
        async def ask(port: int) -> list[Answer]:
            line = await Line.connect(port)
            assert line.is_open
            found = [await line.ask(GET, 5) for _ in range(2)]
            assert line.asked == 2
            await asyncio.sleep(0.02)
            assert not line.is_open
            return found

        assert [(one.status, one.body) for one in _ask(_says(OK, REFUSED), ask)] == [(200, b"{}"), (400, b"")]

    @pytest.mark.parametrize(("answer", "begun"), [(None, False), (OK[:-1], True)])
    def test_what_is_cut_is_lost(self, answer: bytes | None, begun: bool) -> None:
        async def ask(port: int) -> LostError:
            line = await Line.connect(port)
            with pytest.raises(LostError) as lost:
                await line.ask(GET, 5)
            return lost.value

        assert _ask(_says(answer), ask).begun is begun


class TestClients:
    def _counts(self, handle: Handler, held: bool = False, wrong: str | None = None) -> dict[str, int]:
        question = Question(FORMS[0], GET, lambda _answer: wrong)

        async def ask(port: int) -> dict[str, int]:
            clients = Clients(port, itertools.repeat(question))
            if held:
                clients.held = set(range(1 << 16))
            await clients.closed_loop(1, 0.2)
            clients.close()
            return dict(clients.counts["calm"])

        return _ask(handle, ask)

    def test_right_and_wrong(self) -> None:
        assert self._counts(_says(*[OK] * 1000)).keys() == {"right"}
        assert self._counts(_says(*[OK] * 1000), wrong="off by 1").keys() == {"wrong"}

    def test_a_lost_answer_is_lost_unless_its_worker_was_killed(self) -> None:
        connections = itertools.count()

        async def first_is_cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _says(OK[:-1] if next(connections) == 0 else OK)(reader, writer)

        assert self._counts(first_is_cut)["lost"] == 1
        connections = itertools.count()
        assert self._counts(first_is_cut, held=True)["killed"] == 1

    def test_other_statuses_are_counted(self) -> None:
        connections = itertools.count()

        async def first_is_refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _says(REFUSED if next(connections) == 0 else OK)(reader, writer)

        counts = self._counts(first_is_refused)
        assert counts["400"] == 1
        assert counts["right"] >= 1
        assert counts.keys() == {"400", "right"}


def test_kept_connections_are_asked_again_and_made_again_where_they_are_closed() -> None:
    async def ask(port: int) -> None:
        clients = Kept(port, GET, 2)
        while clients.answers <= 20:
            await clients.rate(0.02)
        await clients.stop()

    _ask(_says(*[OK] * 10), ask)


class TestHostile:
    @pytest.mark.parametrize(
        ("handle", "whole", "ended"),
        [
            (_says(REFUSED), False, "400"),
            (_says(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), False, "200"),
            (_says(REFUSED + OK), True, "400+200"),
            (_says(None), True, "closed"),
            (_says(b"SSH-2.0\r\n\r\n"), False, "no HTTP"),
            (_says(OK[:10]), False, "cut"),
        ],
    )
    def test_how_an_exchange_ends(self, handle: Handler, whole: bool, ended: str) -> None:
        assert _ask(handle, lambda port: exchange(Target(port, 5), GET, whole=whole)) == ended

    def test_a_reset_and_silence(self) -> None:
        async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            reset(writer)

        async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        assert _ask(resets, lambda port: exchange(Target(port, 5), GET)) == "reset"
        assert _ask(waits, lambda port: exchange(Target(port, 0.05), GET)) == "silence"
        assert _ask(waits, lambda port: held(Target(port, 5), GET, half_closed=True)) == "closed"

    def test_who_does_not_read_is_let_go_or_not(self) -> None:
        async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK + bytes(1 << 20))
            await reader.read()

        assert _ask(large, lambda port: unread(Target(port, 0.1), GET)) == "kept"
        assert _ask(_says(OK), lambda port: unread(Target(port, 0.1), GET)) == "let go"
        assert _ask(_says(REFUSED), lambda port: unread(Target(port, 0.1), GET)) == "400"

    def test_the_corpus_says_what_it_does_and_how_it_may_end(self) -> None:
        assert len(CORPUS) >= 40
        assert all(entry.about and entry.ends for entry in CORPUS.values())


@pytest.mark.full
def test_soak(tmp_path: Path) -> None:
    """Nothing is wrong or lost in its shortest form."""
    out = tmp_path / "soak"
    main(["soak", "--seconds", "20", "--only-soak", "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())["servers"]["now"]
    counts = found["counts"].values()
    assert sum(one.get("right", 0) for one in counts) > 100
    for what in ("wrong", "lost", "500", "504"):
        assert sum(one.get(what, 0) for one in counts) == 0, (what, found["faults"])
    assert found["stop"]["status"] == 0


@pytest.mark.full
def test_hostile(tmp_path: Path) -> None:
    """A few entries end as they should, and leave the server as it was."""
    out = tmp_path / "hostile"
    entries = ["smuggled requests", "endless header", "never continued", "half closed after the request"]
    main(["hostile", "--seconds", "1", "--only", *entries, "--out", str(out)])
    for record in json.loads(out.with_suffix(".json").read_text())["records"]:
        assert record["ends"].keys() <= CORPUS[record["entry"]].ends, record
        assert record["same_bytes"], record
        assert record["same_workers"], record
