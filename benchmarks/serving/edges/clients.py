"""Clients that go on through kills and restarts, look at every answer, and say what became of those that never came."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress

from benchmarks.serving.edges.line import Line, LostError
from benchmarks.serving.edges.questions import Question

_FRESH_SHARE = 0.2  # of the requests, over connections of their own
_ANSWER_SECONDS = 30.0
_PAUSE = 0.05
_FAULTS = 20  # are written down in words


class Clients:
    """Ask `questions` of a port, over kept and over fresh connections.

    What becomes of a request is counted in `counts[phase]`, `phase` being what was going on when it ended:
        right, wrong (of 200s); its status (of other answers); refused (no connection was made);
        killed (lost, its connection was in a worker that was killed); crossed (a kept connection was closed before a
        byte of the answer, as its request was on the way: asked again over a fresh one); lost (all else).
    `held` are ports of clients whose connections killed workers had.
    """

    def __init__(self, port: int, questions: Iterator[Question]) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.phase = "calm"
        self.held: set[int] = set()
        self.faults: list[str] = []
        self._port, self._questions = port, questions
        self._idle: deque[Line] = deque()
        self._random = random.Random(0)
        self._began = time.monotonic()

    async def closed_loop(self, askers: int, seconds: float) -> float:
        """Answers a second of so many that each ask again when they are answered."""
        end, before, began = time.monotonic() + seconds, self._right(), time.monotonic()

        async def ask() -> None:
            while time.monotonic() < end:
                await self._ask(next(self._questions))

        await asyncio.gather(*(ask() for _ in range(askers)))
        return (self._right() - before) / (time.monotonic() - began)

    async def open_loop(self, rate: float, over: asyncio.Event) -> None:
        """Ask evenly spaced, whatever the answers do, until it is over; then wait for what is under way."""
        due, asks = time.monotonic(), set[asyncio.Task[None]]()
        while not over.is_set():
            due += 1 / rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            ask = asyncio.create_task(self._ask(next(self._questions)))
            asks.add(ask)
            ask.add_done_callback(asks.discard)
        await asyncio.gather(*asks)

    def close(self) -> None:
        """Give up the kept connections."""
        for line in self._idle:
            line.close()
        self._idle.clear()

    def _right(self) -> int:
        return sum(counts["right"] for counts in self.counts.values())

    async def _ask(self, question: Question, fresh: bool | None = None) -> None:
        fresh = self._random.random() < _FRESH_SHARE if fresh is None else fresh
        try:
            line = (None if fresh else self._kept()) or await Line.connect(self._port)
        except OSError:
            self._count("refused", question)
            await asyncio.sleep(_PAUSE)
            return
        try:
            answer = await line.ask(question.request, _ANSWER_SECONDS)
        except TimeoutError:
            line.close()
            self._count("lost", question, f"no answer in {_ANSWER_SECONDS:g} s")
            return
        except LostError as error:
            line.close()
            kind = "killed" if line.port in self.held else "crossed" if line.asked and not error.begun else "lost"
            words = f"{error}, connection {'kept' if line.asked else 'fresh'}"
            self._count(kind, question, None if kind == "killed" else words)
            if kind == "crossed":
                await self._ask(question, fresh=True)
            return
        if fresh or not line.is_open:
            line.close()
        else:
            self._idle.append(line)
        if answer.status != 200:
            self._count(str(answer.status), question, answer.body[:200].decode(errors="replace"))
        else:
            fault = question.wrong(answer)
            self._count("wrong" if fault else "right", question, fault)

    def _kept(self) -> Line | None:
        """One that nobody uses, and that the server has not closed."""
        while self._idle:
            line = self._idle.pop()
            if line.is_open:
                return line
            line.close()
        return None

    def _count(self, what: str, question: Question, words: str | None = None) -> None:
        self.counts.setdefault(self.phase, Counter())[what] += 1
        if words and len(self.faults) < _FAULTS:
            at = time.monotonic() - self._began
            self.faults.append(f"{at:.1f} s, {self.phase}: {what}, {question.form.name}: {words}")


class Kept:
    """Clients that each keep a connection, and ask again when they are answered; where it is lost they connect again,
    until they can. `answers` so far."""

    def __init__(self, port: int, request: bytes, number: int) -> None:
        self.answers = 0
        self._port, self._request = port, request
        self._asks = [asyncio.create_task(self._ask()) for _ in range(number)]

    async def rate(self, seconds: float) -> float:
        """Answers a second, from now on for so long."""
        before, began = self.answers, time.monotonic()
        await asyncio.sleep(seconds)
        return (self.answers - before) / (time.monotonic() - began)

    async def stop(self) -> None:
        """Close the connections."""
        for ask in self._asks:
            ask.cancel()
        await asyncio.gather(*self._asks, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            with suppress(OSError, LostError, TimeoutError):
                line = await Line.connect(self._port)
                try:
                    while line.is_open:
                        answer = await line.ask(self._request, _ANSWER_SECONDS)
                        self.answers += answer.status == 200  # in one step: the others count meanwhile
                finally:
                    line.close()
            await asyncio.sleep(_PAUSE)
