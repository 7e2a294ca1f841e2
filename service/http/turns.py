"""Long work beside the event loop, in turns: many bodies are read and answers written at once, and none waits for
another's end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator

from latentserve.service.encoding.document import Piece
from latentserve.service.sampling.pieces import Result, Steps
from latentserve.service.thread_pool import thread_pool

PIECE_BYTES = 1 << 18  # that are handed to the server at a time

_TURN_SECONDS = 0.004


class Turns:
    """Threads that do a few milliseconds of one piece of work and go on to the next: first come, first served, and who
    is not done yet queues again.

    Work is an iterator whose steps are short, and let go of the interpreter where they are not.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._executor = thread_pool(threads, name)

    async def result(self, steps: Steps[Result]) -> Result:
        """What they come to."""
        loop = asyncio.get_running_loop()
        while True:
            end = await loop.run_in_executor(self._executor, _steps, steps)
            if end is not None:
                return end[0]

    async def pieces(self, work: Iterator[Piece]) -> AsyncGenerator[Piece]:
        """What an iterator gives, small pieces joined and empty ones left out."""
        loop = asyncio.get_running_loop()
        ended = False
        while not ended:
            made, ended = await loop.run_in_executor(self._executor, _turn, work)
            for piece in made:
                yield piece


def _steps(steps: Steps[Result]) -> tuple[Result] | None:
    """What they come to, where that is in this turn."""
    until = time.perf_counter() + _TURN_SECONDS
    while time.perf_counter() < until:
        try:
            next(steps)
        except StopIteration as end:
            return (end.value,)
    return None


def _turn(work: Iterator[Piece]) -> tuple[list[Piece], bool]:
    """What is made in a turn, and whether it was the last."""
    until = time.perf_counter() + _TURN_SECONDS
    small: list[Piece] = []
    size = 0
    while size < PIECE_BYTES and time.perf_counter() < until:
        piece = next(work, None)
        if piece is None:
            return [b"".join(small)] if size else [], True
        if len(piece) >= PIECE_BYTES:  # a copy of it would take time and memory
            return [b"".join(small), piece] if size else [piece], False
        if piece:
            small.append(piece)
            size += len(piece)
    return [b"".join(small)] if size else [], False
