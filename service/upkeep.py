"""What a worker does beside answering: its metrics, the deadlines of who waits, and control samples."""

from __future__ import annotations

import asyncio
import logging
import time

from latentserve.service import logs
from latentserve.service.errors import one_line
from latentserve.service.host.group import Group
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.watching import metrics

_ROUND_SECONDS = 0.25
_CONTROL_SECONDS = 60.0


class _Rounds:
    """What is done in each round, and what of it is under way."""

    def __init__(self, handler: SamplesHandler, group: Group) -> None:
        self._handler, self._group = handler, group
        self._due = time.monotonic() + _CONTROL_SECONDS
        self._drawing: set[asyncio.Task[None]] = set()
        self._owing: dict[str, asyncio.Task[None]] = {}

    def turn(self) -> None:
        """Do one."""
        self._handler.waiting.look()
        self._draw_control()
        update_metrics(self._handler, self._group)
        logs.tell_left_out()

    def _draw_control(self) -> None:
        ready = [model for model in self._handler.models if model.fault is None]
        self._drawing = {task for task in self._drawing if not task.done()}
        if time.monotonic() > self._due:
            self._due = time.monotonic() + _CONTROL_SECONDS
            self._drawing |= {asyncio.create_task(model.draw_control()) for model in ready}
        for model in ready:
            before = self._owing.get(model.name)
            if (before is None or before.done()) and (rows := model.monitor.owed()):
                self._owing[model.name] = asyncio.create_task(model.draw_control(rows))


async def keep_up(handler: SamplesHandler, group: Group) -> None:
    """Do so until cancelled; a round that fails is told, and the next one comes."""
    rounds = _Rounds(handler, group)
    while True:
        try:
            rounds.turn()
        except Exception as error:  # a metrics file that cannot be written must not end the deadlines
            logs.event("upkeep-failed", logging.ERROR, error, kind="upkeep-failed", reason=one_line(error))
        await asyncio.sleep(_ROUND_SECONDS)


def update_metrics(handler: SamplesHandler, group: Group) -> None:
    """Say how much is under way in this worker, and what was done."""
    metrics.INFLIGHT.set(handler.inflight)
    metrics.CONNECTIONS.labels(worker=str(group.index)).set(group.connections)
    for model in handler.models:
        model.metrics.queue_rows.set(model.sampler.queued_rows)
        model.metrics.verdict_age.set(model.judge.verdict_age())
        model.metrics.flush()
