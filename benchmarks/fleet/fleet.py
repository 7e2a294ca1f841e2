"""The fleet: replicas under load, and everything that watches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.faults import CASES
from benchmarks.fleet.load import Load
from benchmarks.fleet.prometheus import Prometheus, watching, write_rules
from benchmarks.fleet.replicas import Replica
from benchmarks.fleet.webhook import Webhook, webhook
from service.bundle import read_bundle


@dataclass(frozen=True)
class Fleet:
    """`replicas[i]` gets what `loads[i]` sends, and at first serves `bundle`."""

    folder: Path
    bundle: Path
    replicas: list[Replica]
    loads: list[Load]
    prometheus: Prometheus
    webhook: Webhook

    def inject(self, name: str, index: int, seed: int = 1) -> None:
        """A case of the injector, on one replica: another bundle, other traffic, or both."""
        case = CASES[name]
        if case.fault is not None:
            made = self.folder / f"faulty-{index}-{seed}-{name.replace(' ', '-')}"
            if not made.exists():
                case.fault(self.bundle, made, np.random.default_rng(seed))
            self.replicas[index].restart(made, ready=False)
        self.loads[index].send(case.traffic)


@contextmanager
def fleet(
    folder: Path, bundle: Path, *, replicas: int, workers: int, faster: float, rate: float, rows: int
) -> Iterator[Fleet]:
    """Replicas of this bundle, `rate` requests of `rows` rows a second to each. Everything is stopped at the end."""
    manifest = read_bundle(bundle).manifest
    with ExitStack() as stack:
        receiver = stack.enter_context(webhook())
        servers = [stack.enter_context(Replica(folder / f"replica-{index}", workers)) for index in range(replicas)]
        for server in servers:
            server.start(bundle)
        rules = write_rules(folder / "deploy", faster)
        for server in servers:
            server.wait()
        instances = [server.instance for server in servers]
        prometheus = stack.enter_context(watching(folder / "watching", rules, instances, receiver.port))
        loads = [stack.enter_context(Load(server.port, manifest, rate, rows)) for server in servers]
        yield Fleet(folder, bundle, servers, loads, prometheus, receiver)
