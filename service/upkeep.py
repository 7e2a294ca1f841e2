"""What a worker does beside answering: its metrics, the deadlines of who waits, and control samples."""

from __future__ import annotations

import asyncio
import time

from latentserve.service import logs
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.watching import metrics

_ROUND_SECONDS = 0.25
_CONTROL_SECONDS = 60.0


async def keep_up(handler: SamplesHandler) -> None:
    """Do so until cancelled."""
    due = time.monotonic() + _CONTROL_SECONDS
    drawing: set[asyncio.Task[None]] = set()
    owing: dict[str, asyncio.Task[None]] = {}
    while True:
        if time.monotonic() > due:
            due = time.monotonic() + _CONTROL_SECONDS
            drawing = {asyncio.create_task(model.draw_control()) for model in handler.models if model.fault is None}
        for model in handler.models:
            before = owing.get(model.name)
            if model.fault is None and (before is None or before.done()) and (rows := model.monitor.owed()):
                owing[model.name] = asyncio.create_task(model.draw_control(rows))
        update_metrics(handler)
        handler.waiting.look()
        logs.tell_left_out()
        await asyncio.sleep(_ROUND_SECONDS)
        drawing = {task for task in drawing if not task.done()}


def update_metrics(handler: SamplesHandler) -> None:
    """Say how much is under way in this worker, and what was done."""
    metrics.INFLIGHT.set(handler.inflight)
    for model in handler.models:
        model.metrics.queue_rows.set(model.sampler.queued_rows)
        model.metrics.flush()
