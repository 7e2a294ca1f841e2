"""A small application, for the workers of the supervisor's tests: it says which process answers, sleeps, fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from latentserve.service.host.group import Group, Health


def make(group: Group) -> ASGIApp:
    """`FAULTS`, a folder: a file `start` in it makes starts fail with its words, `slow` makes them wait, and `hold` the
    answers to `/hold`, until it is taken away; to `reached` a byte is added for each of `/sleep`, `/hold` and `/block`
    that has come.
    """
    faults = Path(os.environ["FAULTS"])
    told: list[str] = []

    def examine() -> Health:
        if told:
            return Health(ready=False, fault=told[0])
        return Health()

    group.examine = examine
    turned_away: list[int] = []
    group.turned_away = turned_away.append

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(faults, receive, send)
            return
        status = 503 if group.draining else 200
        path, _, seconds = scope["path"].partition("=")
        if path in ("/sleep", "/hold", "/block"):
            with (faults / "reached").open("ab") as reached:
                reached.write(b".")
        match path:
            case "/sleep":
                await asyncio.sleep(float(seconds))
            case "/hold":
                await _gone(faults / "hold")
            case "/block":
                time.sleep(float(seconds))  # noqa: ASYNC251 - a dead loop
            case "/fault":
                told.append("it was told that it is faulty")
        facts = {
            "pid": os.getpid(),
            "index": group.index,
            "workers": group.workers,
            "ready": group.ready,
            "connections": group.connections,
            "turned_away": sum(turned_away),
            "folder": str(Path.cwd()),
            "path": sys.path,
        }
        content = json.dumps(facts).encode()
        headers = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return application


async def _gone(file: Path) -> None:
    while file.exists():  # noqa: ASYNC110, ASYNC240 - it is another process that takes it away
        await asyncio.sleep(0.01)


async def _live(faults: Path, receive: Receive, send: Send) -> None:
    await receive()
    await _gone(faults / "slow")
    if (faults / "start").exists():
        await send({"type": "lifespan.startup.failed", "message": (faults / "start").read_text()})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if (faults / "stuck").exists():
        time.sleep(600)  # noqa: ASYNC251 - a call of an engine that does not come back
    await send({"type": "lifespan.shutdown.complete"})
