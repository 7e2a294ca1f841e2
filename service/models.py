"""The models a worker serves: each verified, loaded, warmed and probed, with its sampler, monitor and metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from service.bundle import Bundle
from service.errors import InvalidError, NotFoundError, NotReadyError
from service.sampling.engine import Engine
from service.sampling.sampler import Sampler
from service.settings import Settings
from service.watching.metrics import ModelMetrics
from service.watching.monitor import Monitor
from service.watching.reference import Reference
from service.watching.signals import signal_names

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # what a model runs on, and how well, is worth a line of a server's log


class Model:
    """One served bundle. `fault` is why it is not ready, or None."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.name, self.version = manifest.name, manifest.version
        self.engine = Engine(
            bundle, settings.device, settings.engine_threads, settings.max_batch, tensorrt=settings.tensorrt
        )
        names = signal_names(manifest.sample, has_critic=bundle.critic is not None)
        reference = Reference(0, {})
        if bundle.reference is not None:
            reference = Reference.from_bytes(bundle.reference, names)
        self.metrics = ModelMetrics(self.name, self.version, names, reference.signals)
        self.monitor = Monitor(self.engine, reference, self.metrics)
        self.sampler = Sampler(
            self.engine,
            settings.max_queue_rows,
            settings.max_unsent_bytes,
            self.monitor.offer,
        )
        self.fault: str | None = "is being warmed up"
        self.headers = [
            (b"latentserve-model", self.name.encode()),
            (b"latentserve-version", self.version.encode()),
        ]
        self.metrics.ready.set(0)
        self.metrics.describe(
            provider=self.engine.provider,
            precision=self.engine.precision,
            device="cpu" if self.engine.provider.startswith("CPU") else "cuda",
            runtime_version=self.engine.runtime_version,
            reference_samples=reference.samples,
        )

    def start(self) -> None:
        """Warm up, replay the golden probes, and take requests if they pass."""
        self.engine.warm_up()
        difference = self.probe()
        log.info(
            "model %s: golden probes off by at most %.3g (tolerance %.3g) on %s",
            self.name, difference, self.bundle.golden.tolerance, self.engine.provider,
        )  # fmt: skip
        self.monitor.start()
        self.sampler.start()

    def stop(self) -> None:
        """Finish what is queued, flush the counts."""
        self.fault = "is draining"
        self.sampler.stop()
        self.monitor.stop()
        self.metrics.flush()

    def probe(self) -> float:
        """Replay the golden probes: how far they are off at most. A mismatch makes the model not ready."""
        difference = self.engine.probe()
        tolerance = self.bundle.golden.tolerance
        matches = difference <= tolerance
        self.metrics.probe_runs["match" if matches else "mismatch"].inc()
        self.metrics.probe_error.set(difference)
        self.metrics.ready.set(int(matches))
        self.fault = None
        if not matches:
            self.fault = f"golden probes are off by {difference:.3g}, more than {tolerance:.3g}"
            log.error("model %s %s is not ready: its %s", self.name, self.version, self.fault)
        return difference

    def require_ready(self) -> None:
        """Raise NotReadyError unless the model may serve."""
        if self.fault is not None:
            raise NotReadyError(f"model {self.name} {self.version}: {self.fault}")


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
