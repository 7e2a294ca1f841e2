"""Ten minutes at half of capacity, of mixed requests and clients, each answer compared with the engine's rows, while
workers are killed and the server is stopped and started again.

    python -m benchmarks soak [--seconds 600] [--short] [--against CHECKOUT]

Two workers serve pictures and a table, asked for in every form of answer, small and streamed, by clients that keep
their connections and by clients that do not. Three times a worker is killed by SIGKILL, once the server gets SIGTERM
and is started again, as an orchestrator would. A request that was lost is put down to the kill only where the worker
that was killed held its connection at that moment, by the kernel's own list.

Then 16 clients keep connections: answers a second before, 30 s after a kill, and after a start that they waited for.
CHECKOUT is another one of latentserve with its .venv, such as the commit before: measured first, for as long.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.figures import decimals
from benchmarks.runner import Results, table
from benchmarks.serving.edges.bundles import pack
from benchmarks.serving.edges.clients import Clients, Kept
from benchmarks.serving.edges.group import Group
from benchmarks.serving.edges.questions import questions
from latentserve.service.benching.requests import seeded

TITLE = "Soak"
SHORT = True

_ASKERS = 24  # of the closed loop that finds the capacity
_KILLS, _STOP = (0.15, 0.35, 0.55), 0.75  # of the time
_BACK_SECONDS = 30.0  # a worker that is not back by then is not
_KEPT = 16
_COLUMNS = (
    "right", "wrong", "lost", "killed", "crossed", "refused", "429", "500", "503", "504",
)  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, help="of the soak (default: 600; short: 60)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, measured before this one")
    parser.add_argument("--only-soak", action="store_true", help="without the clients that keep connections")


def measure(given: argparse.Namespace, results: Results) -> None:
    """`servers`: what was found, of the checkout before and of this one."""
    seconds = given.seconds or (60.0 if given.short else 600.0)
    results |= {"seconds": seconds, "servers": {}}
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        pack(Path(scratch), "digits", "showers")
        checkouts = {"before": given.against} if given.against else {}
        for name, checkout in {**checkouts, "now": None}.items():
            found = results["servers"][name] = {}
            with (
                Group([Path(scratch) / "digits", Path(scratch) / "showers"], 2, {}, checkout) as group,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                found |= runner.run(_soak(group, Path(scratch), seconds))
                results.save()
                if not given.only_soak:
                    pause = 10.0 if given.short else 30.0
                    found["kept"] = runner.run(_keep(group, pause, pause / 5))
            results.save()


async def _soak(group: Group, folder: Path, seconds: float) -> dict[str, Any]:
    """Counts by phase, faults in words, seconds until workers were back, and the exit status of the stop."""
    asked = questions(folder)
    finding = Clients(group.port, asked)
    await finding.closed_loop(_ASKERS, 2.0)
    capacity = await finding.closed_loop(_ASKERS, min(8.0, seconds / 6))
    finding.close()
    clients = Clients(group.port, asked)
    over = asyncio.Event()
    load = asyncio.create_task(clients.open_loop(capacity / 2, over))
    began, back = time.monotonic(), []

    async def until(share: float) -> None:
        await asyncio.sleep(max(0.0, began + share * seconds - time.monotonic()))

    for share in _KILLS:
        await until(share)
        back.append(await _kill(group, clients, seconds * 0.1))
    await until(_STOP)
    clients.phase = "stop"
    stopped = time.monotonic()
    status = await asyncio.to_thread(group.terminate)
    down = time.monotonic()
    group.start(wait=False)
    await asyncio.to_thread(group.wait_ready)
    up = time.monotonic()
    await asyncio.sleep(2.0)
    clients.phase = "calm"
    await until(1.0)
    over.set()
    await load
    clients.close()
    return {
        "capacity": capacity,
        "counts": {phase: dict(counts) for phase, counts in clients.counts.items()},
        "faults": clients.faults + finding.faults[:5],
        "back_seconds": back,
        "stop": {"status": status, "seconds": down - stopped, "start_seconds": up - down},
    }


async def _kill(group: Group, clients: Clients, phase_seconds: float) -> float | None:
    """kill -9 of the worker that holds most; seconds until another in its place holds a client's connection."""
    began = time.monotonic()
    holders = group.connections()
    worker = max(holders, key=lambda pid: len(holders[pid]))
    clients.phase = "kill"
    clients.held |= group.kill(worker)
    killed = time.monotonic()
    back = None
    while back is None and time.monotonic() < killed + _BACK_SECONDS:
        await asyncio.sleep(0.1)
        new = await asyncio.to_thread(group.connections)
        if any(held for pid, held in new.items() if pid not in holders):
            back = time.monotonic() - killed
    await asyncio.sleep(max(0.0, began + phase_seconds - time.monotonic()))
    clients.phase = "calm"
    return back


async def _keep(group: Group, pause: float, seconds: float) -> dict[str, Any]:
    """Answers a second of clients that keep connections, and how these lie on the workers: before, after a kill, and
    after a start that they waited for."""
    clients = Kept(group.port, seeded(1, model="digits")(7), _KEPT)

    async def measured() -> dict[str, Any]:
        rate = await clients.rate(seconds)
        held = await asyncio.to_thread(group.connections)
        return {"per_second": rate, "connections": sorted(map(len, held.values()))}

    await asyncio.sleep(pause / 5)
    found = {"before": await measured()}
    holders = group.connections()
    group.kill(max(holders, key=lambda pid: len(holders[pid])))
    await asyncio.sleep(pause)
    found["after a kill"] = await measured()
    await asyncio.to_thread(group.terminate)
    group.start(wait=False)
    await asyncio.to_thread(group.wait_ready)
    await asyncio.sleep(pause / 5)
    found["after a start"] = await measured()
    await clients.stop()
    return found


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    servers = {name: found for name, found in results["servers"].items() if "counts" in found}
    yield (
        f"{results['seconds']:g} s of requests evenly spaced at half of capacity, two workers; aims: nothing wrong, "
        "lost or 504, a worker back within 10 s under load, 0.95 of the answers a second."
    )
    rows = []
    for name, found in servers.items():
        for phase in ("calm", "kill", "stop"):
            counts = Counter(found["counts"].get(phase, {}))
            others = sorted(counts.keys() - set(_COLUMNS))
            more = ", ".join(f"{what} {counts[what]}" for what in others)
            rows.append((name, phase, *(f"{counts[what]:,}" for what in _COLUMNS), more))
    yield from ("", *table(("server", "while", *_COLUMNS, "others"), rows), "")
    yield (
        "`killed`: its connection was in the worker that was killed. `crossed`: a kept connection was closed before a "
        "byte of the answer, as the request was on its way. `refused`: no connection was made. "
        "Seconds until a worker is back, or the server is ready again, include all that it loads."
    )
    yield ""
    for name, found in servers.items():
        backs = ", ".join("not" if back is None else f"{back:.1f} s" for back in found["back_seconds"])
        stop = found["stop"]
        yield (
            f"{name}: capacity {found['capacity']:.0f} requests/s; back after kills: {backs}; SIGTERM: status "
            f"{stop['status']} after {stop['seconds']:.1f} s, ready {stop['start_seconds']:.1f} s after the start."
        )
        yield ""
    kept = [
        (
            name,
            when,
            f"{one['per_second']:.0f}",
            decimals(one["per_second"] / max(1.0, found["kept"]["before"]["per_second"]), 2, 0.95),
            " + ".join(map(str, one["connections"])),
        )
        for name, found in servers.items()
        for when, one in found.get("kept", {}).items()
    ]
    yield from table((f"{_KEPT} kept connections", "when", "answers/s", "over before", "connections by worker"), kept)
    yield ""
    for name, found in servers.items():
        yield from (f"- {name}: {fault}" for fault in found["faults"])
