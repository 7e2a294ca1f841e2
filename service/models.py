"""The models a worker serves: each verified, loaded, warmed and probed, with its sampler, monitor and metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress

from latentserve.service.bundle import Bundle
from latentserve.service.encoding.signed import Signer
from latentserve.service.errors import InvalidError, LatentserveError, NotFoundError, NotReadyError
from latentserve.service.sampling.cuda import lost_device
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.sampler import Sampler
from latentserve.service.sampling.unsent import Unsent
from latentserve.service.settings import Settings
from latentserve.service.state import state_folder
from latentserve.service.watching.control import CONTROL_ROWS, Control
from latentserve.service.watching.disk import FILE_SECONDS, FilesOnDisk
from latentserve.service.watching.evidence import signal_tolerance
from latentserve.service.watching.judge import ROUND_SECONDS, Judge
from latentserve.service.watching.metrics import FILES, JUDGE, PADDING, PROBES, ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.periodic import PeriodicTasks
from latentserve.service.watching.readiness import PADDING_SECONDS, PROBE_SECONDS, Readiness
from latentserve.service.watching.reference import Reference, read_reference

log = logging.getLogger(__name__)


class Model:
    """One served bundle, with everything that serves and watches it."""

    def __init__(
        self, bundle: Bundle, settings: Settings, unsent: Unsent | None = None, signer: Signer | None = None
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.name, self.version = manifest.name, manifest.version
        self.producer = settings.aigc_producer  # whom its answers name
        self.signer, self.signs_always = signer, settings.c2pa_always
        self.engine = Engine(
            bundle,
            settings.device,
            settings.engine_threads,
            settings.max_batch,
            spinning=True,
            tensorrt=settings.tensorrt,
        )
        reference = read_reference(bundle)
        self.judge = Judge(
            state_folder() / f"{self.name}-{self.version}", manifest, reference, settings.watched_rows_per_second
        )
        self.metrics = ModelMetrics(self.name, self.version, metric_series(bundle, reference))
        self.monitor = Monitor(self.engine, reference, self.metrics, self.judge.ledger)
        self.sampler = Sampler(
            self.engine,
            settings.max_queue_rows,
            unsent,
            self.monitor.offer,
            self.monitor.wanted,
        )
        self.readiness = Readiness(self.engine, self.metrics, self.judge.report_probes)
        files = FilesOnDisk(bundle, self.judge.report_files, settings.trust)
        # The judge has a thread of its own: hashing a large bundle takes longer than a verdict may be old.
        self._periodic = (
            PeriodicTasks([(JUDGE, ROUND_SECONDS, self._judge)], self.metrics.count_failure),
            PeriodicTasks(
                [
                    (PROBES, PROBE_SECONDS, self.readiness.probe),
                    (PADDING, PADDING_SECONDS, self.readiness.probe_padding),
                    (FILES, FILE_SECONDS, files.look),
                ],
                self.metrics.count_failure,
            ),
        )
        self._control = Control(manifest, reference)
        self.label_texts = [json.dumps(label).encode() for label in manifest.labels or ()]  # for headers: ASCII
        self.headers = [
            (b"latentserve-model", self.name.encode()),
            (b"latentserve-version", self.version.encode()),
        ]
        self.metrics.threshold.set(self.judge.log_threshold)
        self.metrics.describe(
            provider=self.engine.provider,
            precision=self.engine.precision,
            device="cpu" if self.engine.provider.startswith("CPU") else "cuda",
            runtime_version=self.engine.runtime_version,
            queue_limit_rows=settings.max_queue_rows,
        )
        self.metrics.describe_signature(bundle.signature is not None and bundle.signature.verified)
        self.metrics.describe_reference(reference.samples, manifest.created.timestamp(), worst_tolerance(reference))

    def start(self) -> None:
        """Warm up, replay the golden probes, and take requests if they pass."""
        self.readiness.load()
        self.monitor.start()
        self.sampler.start()
        for tasks in self._periodic:
            tasks.start()

    def stop(self) -> None:
        """Finish what is queued, flush the counts."""
        self.readiness.drain()
        self.sampler.stop()
        self.monitor.stop()
        for tasks in self._periodic:
            tasks.stop()
        self.judge.stop()
        self.metrics.flush()

    @property
    def fault(self) -> str | None:
        """Why it is not ready, or None."""
        return lost_device() or self.readiness.fault

    @property
    def alive(self) -> bool:
        """Whether all that serves and watches it, once started, still runs."""
        return self.sampler.alive and all(tasks.alive for tasks in self._periodic)

    def require_ready(self) -> None:
        """Raise NotReadyError unless the model may serve."""
        if (fault := self.fault) is not None:
            raise NotReadyError(f"model {self.name} {self.version}: {fault}")

    async def draw_control(self, rows: int = CONTROL_ROWS) -> None:
        """Draw control samples, so that there is something to judge whatever clients ask, or do not."""
        for request in self._control.requests(rows):
            with suppress(LatentserveError):  # a full queue is traffic enough
                async for _ in self.sampler.stream(request):
                    pass

    def _judge(self) -> None:
        if self.judge.hold():
            self.metrics.show_verdict(self.judge.verdict()["cause"], self.judge.log_evidence())
        else:  # gauges of a worker that judges no more would stand for ever
            self.metrics.show_verdict(None, {})


def worst_tolerance(reference: Reference) -> float | None:
    """Of the evidence on generated samples, that of the signal with the smallest reference; None without a reference.

    A bet of standard deviation s under the reference loses ln(1 + tolerance * s) a row.
    """
    if not reference.signals:
        return None
    return float(signal_tolerance(reference.signal_rows, len(reference.cells)).max())


class Models:
    """The models of this worker, by name, and what it keeps in memory for all their clients: `unsent`."""

    def __init__(self, bundles: Sequence[Bundle], settings: Settings, signer: Signer | None = None) -> None:
        self.unsent = Unsent(settings.max_unsent_bytes)
        self._models = {bundle.manifest.name: Model(bundle, settings, self.unsent, signer) for bundle in bundles}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def start(self) -> None:
        """Start every model."""
        for model in self._models.values():
            model.start()

    def stop(self) -> None:
        """Stop every model."""
        for model in self._models.values():
            model.stop()

    def find(self, name: str | None, version: str | None) -> Model:
        """The model asked for; without a name the only one. Raises NotFoundError, InvalidError."""
        if name is None:
            if len(self._models) > 1:
                raise InvalidError("model", f"is needed, one of {', '.join(self._models)}")
            (model,) = self._models.values()
        elif (found := self._models.get(name)) is not None:
            model = found
        else:
            raise NotFoundError(f"model: {name!r} is not served here; {', '.join(self._models)} is")
        if version is not None and version != model.version:
            raise NotFoundError(f"version: {model.name} is served in version {model.version}, not {version!r}")
        return model
