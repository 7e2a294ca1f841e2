"""Everybody else: clients of a row each, and somebody who asks whether the server is alive."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import uvloop

from benchmarks.serving.edges.line import Line, LostError
from latentserve.service.benching.requests import get, seeded

_LINES = 16
_LIVE_SECONDS = 0.02  # between two questions whether the server is alive, half of them over fresh connections
_ANSWER_SECONDS = 20.0
_PAUSE = 0.05


@dataclass(frozen=True)
class Others:
    """What they saw.

    Attributes:
        answers, failed: of requests for a row.
        p50_ms, p99_ms: of the answers.
        silence_ms: the longest that somebody waited for /livez, from when it was due.
        words: of the first failures.
    """

    answers: int
    failed: int
    p50_ms: float
    p99_ms: float
    silence_ms: float
    words: list[str]


def watch(port: int, seconds: float) -> Others:
    """What everybody else sees for so long."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_watch(port, seconds))


async def _watch(port: int, seconds: float) -> Others:
    end = time.perf_counter() + seconds
    latencies: list[float] = []
    silences: list[float] = [0.0]
    words: list[str] = []
    failed = 0
    row, live = seeded(1, model="digits"), get("/livez", "*/*")

    async def asker(number: int) -> None:
        nonlocal failed
        line: Line | None = None
        while (began := time.perf_counter()) < end:
            number += _LINES
            try:
                line = line or await Line.connect(port)
                answer = await line.ask(row(number), _ANSWER_SECONDS)
                if answer.status != 200:
                    raise LostError(True, False)
                latencies.append(time.perf_counter() - began)
                if line.is_open:
                    continue
            except (OSError, LostError, TimeoutError) as error:
                failed += 1
                words.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE)
            if line is not None:
                line.close()
                line = None
        if line is not None:
            line.close()

    async def ask_whether_alive(due: float, line: Line | None) -> None:
        own = line
        try:
            own = own or await Line.connect(port)
            await own.ask(live, _ANSWER_SECONDS)
        except (OSError, LostError, TimeoutError) as error:
            words.append(f"/livez: {type(error).__name__}: {error}")
            if own is not None:
                own.close()  # what comes on it later answers nobody's question
        silences.append(time.perf_counter() - due)
        if own is not None and own is not line:
            own.close()

    async def probe() -> None:
        asks, due = set[asyncio.Task[None]](), time.perf_counter()
        kept: Line | None = None
        turn = 0
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            turn += 1
            if turn % 2:
                ask = asyncio.create_task(ask_whether_alive(due, None))
                asks.add(ask)
                ask.add_done_callback(asks.discard)
            else:
                with suppress(OSError):
                    kept = kept if kept is not None and kept.is_open else await Line.connect(port)
                    await ask_whether_alive(due, kept)
            due = max(due + _LIVE_SECONDS, time.perf_counter() - 1.0)
        await asyncio.gather(*asks)
        if kept is not None:
            kept.close()

    await asyncio.gather(probe(), *(asker(number) for number in range(_LINES)))
    p50, p99 = np.quantile(latencies, [0.5, 0.99]) * 1e3 if latencies else (float("inf"), float("inf"))
    return Others(len(latencies), failed, float(p50), float(p99), max(silences) * 1e3, words[:3])
