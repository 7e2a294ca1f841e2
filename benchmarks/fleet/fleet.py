"""The fleet: replicas under load, whatever is done to one of them, and who watches them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.drift.faults import CASES
from benchmarks.fleet.load import Load, mixed
from benchmarks.fleet.prometheus import Prometheus, Rules, watching
from benchmarks.fleet.replicas import Replica
from benchmarks.fleet.webhook import Notice, Webhook, webhook
from latentserve.service.bundle import read_bundle

CAUSE_NAMED = "LatentserveCauseNamed"


@dataclass(frozen=True)
class Fleet:
    """`replicas[i]` gets what `loads[i]` sends, and at first serves `bundle`."""

    folder: Path
    bundle: Path
    replicas: list[Replica]
    loads: list[Load]
    stack: ExitStack  # of what runs

    def inject(self, name: str, index: int, seed: int = 1) -> None:
        """A case of the injector, on one replica: another bundle, other traffic, or both."""
        case = CASES[name]
        if case.fault is not None:
            self.replicas[index].restart(self.faulty(name, seed), ready=False)
        self.loads[index].send(case.traffic)

    def faulty(self, name: str, seed: int = 1) -> Path:
        """The bundle of a case that has one of its own."""
        fault = CASES[name].fault
        assert fault is not None
        made = self.folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
        if not made.exists():
            fault(self.bundle, made, np.random.default_rng(seed))
        return made

    def heal(self, index: int) -> None:
        """Start a replica again, as at first; what it remembers of its faults is gone."""
        self.loads[index].send(mixed)
        self.replicas[index].restart(self.bundle)

    def replace(self, index: int, prometheus: Prometheus) -> None:
        """Start another replica; when it is ready it takes the place of this one, which is stopped."""
        old = self.replicas[index]
        new = self.stack.enter_context(old.successor())
        new.start(self.bundle)
        new.wait()
        self.replicas[index] = new
        self.loads[index].port = new.port
        prometheus.scrape([replica.instance for replica in self.replicas])
        old.stop()

    def names(self, notice: Notice, name: str, index: int) -> bool:
        """Whether an alert says that this case befell this replica."""
        wanted = {"alertname": CAUSE_NAMED, "instance": self.replicas[index].instance, "cause": CASES[name].cause}
        return wanted.items() <= notice.labels.items()

    @contextmanager
    def watched(self, rules: Rules, replicas: slice = slice(None)) -> Iterator[tuple[Prometheus, Webhook]]:
        """Prometheus and Alertmanager that know nothing yet, and the webhook that is told."""
        instances = [replica.instance for replica in self.replicas[replicas]]
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            webhook() as receiver,
            watching(Path(folder) / "watching", rules, instances, receiver.port) as prometheus,
        ):
            yield prometheus, receiver


@contextmanager
def fleet(folder: Path, bundle: Path, *, replicas: int, workers: int, rate: float, rows: int) -> Iterator[Fleet]:
    """Replicas of this bundle, `rate` requests of `rows` rows a second to each. Everything is stopped at the end."""
    manifest = read_bundle(bundle).manifest
    with ExitStack() as stack:
        servers = [stack.enter_context(Replica(folder / f"replica-{index}", workers)) for index in range(replicas)]
        for server in servers:
            server.start(bundle)
        for server in servers:
            server.wait()
        loads = [stack.enter_context(Load(server.port, manifest, rate, rows)) for server in servers]
        yield Fleet(folder, bundle, servers, loads, stack)
