"""What one process serves: its models, who asks for their samples, and what is done beside answering."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from latentserve.service import logs
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditLog
from latentserve.service.bundle import Bundle, read_bundles
from latentserve.service.credentials.opening import open_signer, open_trust
from latentserve.service.errors import NotReadyError
from latentserve.service.host.group import Group, Health
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.models import Models
from latentserve.service.sampling.cuda import lost_device
from latentserve.service.settings import Settings
from latentserve.service.upkeep import keep_up
from latentserve.service.watching import metrics

if TYPE_CHECKING:
    from latentserve.service.telemetry import Telemetry

_SWITCH_SECONDS = 0.0005


class Serving:
    """The models of this process: `load`, `start`, and at the end `stop`, each once.

    `group` is of the workers that this process is one of.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.group = Group()
        self.telemetry: Telemetry | None = None
        self.handler = SamplesHandler(settings)
        self._loaded = self._stopping = False
        self._upkeep: asyncio.Task[None] | None = None

    def load(self) -> None:
        """Verify, load, warm and probe every model; once. Raises LatentserveError, one line: the process cannot serve.

        Takes seconds to minutes, and no event loop.
        """
        if self._loaded:
            return
        logs.configure(self.settings.log_format)
        metrics.precreate()
        metrics.describe_worker(self.settings.workers, self.settings.watched_rows_per_second)
        bundles = read_bundles(self.settings.bundles, self.settings.trust)
        if self.settings.trusted_keys is not None:
            for bundle in bundles:
                _tell_signature(bundle)
        models = Models(bundles, self.settings, open_signer(self.settings))
        models.start()
        self.handler.models, self.handler.trust = models, open_trust(self.settings)
        self.handler.account = open_account(self.settings)
        self.telemetry = open_telemetry(self.settings)
        self._loaded = True
        _tune_process()

    def require_ready(self) -> None:
        """Raise NotReadyError unless every model may serve."""
        if (fault := next(self.faults(), None)) is not None:
            raise NotReadyError(fault)

    def start(self) -> None:
        """Keep an eye on what is under way, on the running event loop."""
        self._upkeep = asyncio.create_task(keep_up(self.handler, self.group))

    def stop(self) -> None:
        """Finish what is queued."""
        self._stopping = True
        if self._upkeep is not None:
            self._upkeep.cancel()
        self.handler.models.stop()
        if self.handler.account is not None:
            self.handler.account.close()
        if self.telemetry is not None:
            self.telemetry.stop()

    def health(self) -> Health:
        """How this process is, for whoever watches it."""
        fault = next(self.faults(), None)
        lasting = next(self.hung(), None) or (fault if self._upkeep is not None and not self._stopping else None)
        return Health(ready=fault is None, fault=lasting)

    def faults(self) -> Iterator[str]:
        """Why this process is not ready, a line for each model that is not."""
        if not self._loaded:
            yield "the models are being loaded"
        for model in self.handler.models:
            if model.fault is not None:
                yield f"model {model.name} {model.version}: {model.fault}"

    def hung(self) -> Iterator[str]:
        """Why this process should be replaced, a line for each thing that will not come back by itself."""
        if self._upkeep is None or self._stopping:
            return
        if (lost := lost_device()) is not None:
            yield lost
        if self._upkeep.done():
            yield "the rounds of deadlines and metrics have ended"
        for model in self.handler.models:
            if not model.alive:
                yield f"model {model.name} {model.version}: a thread of it has ended"
            if (seconds := model.sampler.running_seconds) > self.settings.hang_seconds:
                yield f"model {model.name} {model.version}: a call of the engine has been running for {seconds:.0f} s"


def open_account(settings: Settings) -> Account | None:
    """The account that is to be kept; None: none is. Raises AuditError: it cannot be."""
    if settings.audit is None:
        return None
    return Account(AuditLog(settings.audit), settings.audit_when_full, keep=settings.audit_keep)


def open_telemetry(settings: Settings) -> Telemetry | None:
    """What exports traces; None: nothing does. Raises TelemetryError."""
    if settings.telemetry is None:
        return None
    from latentserve.service.telemetry import (
        Telemetry,
        otlp_exporter,
    )  # takes as long as all else that a worker imports

    return Telemetry(otlp_exporter(settings.telemetry), settings.telemetry_share)


def _tell_signature(bundle: Bundle) -> None:
    """Who has signed it, where that is to be verified."""
    signature, manifest = bundle.signature, bundle.manifest
    verified = signature is not None and signature.verified
    logs.event(
        "signature",
        logging.INFO if verified else logging.WARNING,
        model=manifest.name,
        version=manifest.version,
        verified=verified,
        by=signature and signature.by,
        fingerprint=signature and signature.fingerprint,
        fault="not signed" if signature is None else signature.fault,
    )


def _tune_process() -> None:
    """Settle this process for low latency, now that everything is loaded."""
    # What is loaded stays: full collections need not look at it, and need not come often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # The scheduler's thread asks for the interpreter when a batch is done; at the default of 5 ms a busy event loop
    # would keep the engine waiting for longer than many batches take. At less than half of a millisecond the loop waits
    # less for the monitor and the encoders, but threads that change so often take 5 % more of the processor.
    sys.setswitchinterval(_SWITCH_SECONDS)
