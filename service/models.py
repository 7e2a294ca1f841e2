"""The models a worker serves: each verified, loaded, warmed and probed, with its sampler, monitor and metrics."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.errors import BundleError, InvalidError, LatentserveError, NotFoundError, NotReadyError
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler
from latentserve.service.settings import Settings
from latentserve.service.watching.detectors import DETECTORS
from latentserve.service.watching.evidence import signal_tolerance
from latentserve.service.watching.judge import ROUND_SECONDS, Judge
from latentserve.service.watching.ledger import state_folder
from latentserve.service.watching.metrics import ModelMetrics, Watched
from latentserve.service.watching.monitor import Monitor, counted_signals
from latentserve.service.watching.reference import Reference, read_reference
from latentserve.service.watching.signals import LABEL_MARGIN
from latentserve.service.watching.verdict import probe_fault
from latentserve.service.watching.watch import FILE_SECONDS, PADDING_SECONDS, PROBE_SECONDS, Watch

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # what a model runs on, and how well, is worth a line of a server's log


_DRAINING = "is draining"
CONTROL_ROWS = 64
_MOST_LABELS = 64  # that have three series each
_MOST_LABELS_OF_A_TABLE = 8  # whose columns take the room


class Model:
    """One served bundle. `fault` is why it is not ready, or None."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.name, self.version = manifest.name, manifest.version
        self.engine = Engine(
            bundle, settings.device, settings.engine_threads, settings.max_batch, tensorrt=settings.tensorrt
        )
        reference = read_reference(bundle)
        self.judge = Judge(
            state_folder() / f"{self.name}-{self.version}", manifest, reference, settings.watched_rows_per_second
        )
        self.metrics = ModelMetrics(self.name, self.version, watched(bundle, reference))
        self.monitor = Monitor(self.engine, reference, self.metrics, self.judge.ledger)
        self.sampler = Sampler(
            self.engine,
            settings.max_queue_rows,
            settings.max_unsent_bytes,
            self.monitor.offer,
            self.monitor.wanted,
        )
        # Rounds of the judge are on a thread of their own: reading a large bundle again takes longer than a verdict
        # may be old.
        self._watches = (
            Watch([(ROUND_SECONDS, self._judge)]),
            Watch(
                [
                    (PROBE_SECONDS, self.probe),
                    (PADDING_SECONDS, self.probe_padding),
                    (FILE_SECONDS, self._read_again),
                ]
            ),
        )
        self._pooled = reference.pooled
        self._mismatches = 0
        self._suspect_sizes: set[int] = set()  # batch sizes at which golden probes did not match, as padding
        self.fault: str | None = "is being warmed up"
        self.headers = [
            (b"latentserve-model", self.name.encode()),
            (b"latentserve-version", self.version.encode()),
        ]
        self.metrics.ready.set(0)
        self.metrics.threshold.set(self.judge.log_threshold)
        self.metrics.describe(
            provider=self.engine.provider,
            precision=self.engine.precision,
            device="cpu" if self.engine.provider.startswith("CPU") else "cuda",
            runtime_version=self.engine.runtime_version,
            queue_limit_rows=settings.max_queue_rows,
        )
        self.metrics.describe_reference(reference.samples, manifest.created.timestamp(), worst_tolerance(reference))

    def start(self) -> None:
        """Warm up, replay the golden probes, and take requests if they pass."""
        self.engine.warm_up()
        self._mismatches = 1  # the first replay decides by itself
        difference = self._compare(np.arange(len(self.bundle.golden.z)), self.engine.probe())
        log.info(
            "model %s: golden probes off by at most %.3g (tolerance %.3g) on %s",
            self.name, difference, self.bundle.golden.tolerance, self.engine.provider,
        )  # fmt: skip
        self.monitor.start()
        self.sampler.start()
        for watch in self._watches:
            watch.start()

    def stop(self) -> None:
        """Finish what is queued, flush the counts."""
        self.fault = _DRAINING
        self.sampler.stop()
        self.monitor.stop()
        for watch in self._watches:
            watch.stop()
        self.judge.stop()
        self.metrics.flush()

    def probe(self) -> float:
        """Replay the golden probes, also in the batch sizes at which they did not match in padding: how far they are
        off at most. Two mismatches in a row make the model not ready, at load one; a match makes it ready again. An
        engine that cannot run them does not match."""
        probes = np.arange(len(self.bundle.golden.z))
        differences = np.zeros(len(probes))
        try:
            for batch in (0, *sorted(self._suspect_sizes)):
                differences = np.maximum(differences, self.engine.probe(batch))
        except BundleError as error:
            log.error("model %s %s: %s", self.name, self.version, error)
            differences = np.full(len(probes), np.inf)
        return self._compare(probes, differences)

    def probe_padding(self) -> None:
        """Look at the golden probes that rode in a batch's padding, if some did since the last time.

        A mismatch counts as a replay's, and a replay follows at once. A match is counted too, but it says nothing of
        the other probes and batch sizes, so it does not interrupt a row of mismatches.
        """
        padded = self.engine.probed_in_padding()
        if padded is None:
            return
        if (padded.differences <= self.bundle.golden.tolerance).all():
            self.metrics.count_probes(padded.probes.tolist(), [True] * len(padded.probes))
            return
        log.error(
            "model %s %s: golden probes are off by %.3g in the padding of a batch of %d",
            self.name, self.version, padded.differences.max(), padded.batch,
        )  # fmt: skip
        self._suspect_sizes.add(padded.batch)
        self._compare(padded.probes, padded.differences)
        self.probe()

    def _compare(self, probes: NDArray[np.int64], differences: NDArray[np.float64]) -> float:
        difference = float(differences.max())
        tolerance = self.bundle.golden.tolerance
        self.metrics.count_probes(probes.tolist(), (differences <= tolerance).tolist())
        self.metrics.probe_error.set(difference)
        if difference <= tolerance:
            self._mismatches = 0
            self._suspect_sizes.clear()
        else:
            self._mismatches += 1
        if self._mismatches == 1 or self.fault == _DRAINING:
            return difference
        self.fault = None
        if self._mismatches:
            self.fault = probe_fault(difference, tolerance)
            log.error("model %s %s is not ready: its %s", self.name, self.version, self.fault)
        self.metrics.ready.set(int(self.fault is None))
        self.judge.report_probes(self.fault)
        return difference

    async def draw_control(self) -> None:
        """Draw samples for nobody, so that there is something to judge without traffic, and by seeds that no client
        chose: every label alike, or as the prior has them where the reference knows them only together."""
        labels = None
        seed = secrets.randbelow(SEED_LIMIT)
        if self.bundle.manifest.labels is not None and not self._pooled:
            labels = (seed + np.arange(CONTROL_ROWS, dtype=np.int64)) % len(self.bundle.manifest.labels)
        with suppress(LatentserveError):  # a full queue is traffic enough
            await self.sampler.rows(RowsRequest(CONTROL_ROWS, seed, labels=labels, arm="control"))

    def _judge(self) -> None:
        if self.judge.hold():
            self.metrics.show_verdict(self.judge.verdict()["cause"], self.judge.log_evidence())

    def _read_again(self) -> None:
        """Are the bundle's files still those that were loaded? What runs is in memory, but would not start again."""
        fault = "the manifest is another"
        try:
            same = read_bundle(self.bundle.path).manifest == self.bundle.manifest
        except BundleError as error:
            same, fault = False, str(error)
        if not same:
            log.error("model %s %s: its files changed on disk: %s", self.name, self.version, fault)
        self.judge.report_files(same=same)

    def require_ready(self) -> None:
        """Raise NotReadyError unless the model may serve."""
        if self.fault is not None:
            raise NotReadyError(f"model {self.name} {self.version}: {self.fault}")


def watched(bundle: Bundle, reference: Reference) -> Watched:
    """What there is to count of a bundle."""
    labels = bundle.manifest.labels or []
    if len(labels) > (_MOST_LABELS_OF_A_TABLE if bundle.manifest.sample.columns else _MOST_LABELS):
        labels = []
    signals = counted_signals(bundle, reference)
    return Watched(
        signals=signals,
        binned=reference.signals,
        probes=len(bundle.golden.z),
        components=0 if reference.features is None else reference.features.size,
        labels=labels,
        classified=labels if LABEL_MARGIN in signals else (),
        detectors=DETECTORS,
    )


def worst_tolerance(reference: Reference) -> float | None:
    """Of the evidence on generated samples, that of the signal with the smallest reference; None without a reference.

    A bet of standard deviation s under the reference loses ln(1 + tolerance * s) a row.
    """
    if not reference.signals:
        return None
    return float(signal_tolerance(reference.signal_rows, len(reference.cells)).max())


class Models:
    """The models of this worker, by name."""

    def __init__(self, bundles: Sequence[Bundle], settings: Settings) -> None:
        self._models = {bundle.manifest.name: Model(bundle, settings) for bundle in bundles}

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

    def alive(self, hang_seconds: float) -> bool:
        """Whether no engine call has been running for longer than this."""
        return all(model.sampler.running_seconds <= hang_seconds for model in self._models.values())

    @property
    def ready(self) -> bool:
        """Whether every model may serve."""
        return all(model.fault is None for model in self._models.values())

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
