"""The engine alone: ONNX Runtime in a loop, which no server over it can beat."""

from __future__ import annotations

import time
from typing import Any

from latentserve.service.bundle import Bundle
from latentserve.service.bundle.files import GENERATOR
from latentserve.service.sampling.engine import require_runtime
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sessions import CPU, Device, open_session

BATCHES = (1, 4, 16, 64, 128)
DEVICE_BATCHES = (*BATCHES, 256, 512, 1024)

_TURNS = 3
_SLOW_SECONDS = 1.0  # of one call: larger batches are not tried


class BareEngine:
    """A bundle's generator as it is, called with inputs of its own priors, made beforehand.

    Samples come back to the host's memory, as they must to be sent. `threads` are those of one call, on the CPU;
    `provider` is ONNX Runtime's name of what runs it. Raises RuntimeMissingError and BundleError.
    """

    def __init__(self, bundle: Bundle, threads: int, device: Device = "cpu") -> None:
        self._generator = bundle.generator
        self._beside = bundle.beside
        self._threads = threads
        self._device = device
        self.provider = str(self._session().get_providers()[0])
        self._batches = BATCHES if self.provider == CPU else DEVICE_BATCHES
        self._inputs = RowsRequest(n=self._batches[-1]).inputs(bundle.manifest, 0, self._batches[-1])

    def best_batch(self, seconds: float) -> int:
        """The batch size with the most samples a second, each tried three times for `seconds`, in turn."""
        rates: dict[int, list[float]] = {}
        for batch in self._batches:
            try:
                rates[batch] = [self.samples_per_second(batch, seconds)]
            except Exception:
                if not rates:
                    raise
                break  # too many rows for the memory there is
            if batch / rates[batch][0] > _SLOW_SECONDS:
                break
        for _ in range(_TURNS - 1):
            for batch, measured in rates.items():
                measured.append(self.samples_per_second(batch, seconds))
        return max(rates, key=lambda batch: sorted(rates[batch])[_TURNS // 2])

    def samples_per_second(self, batch: int, seconds: float) -> float:
        """Of a session of its own, so that no thread of it spins while servers are measured."""
        session = self._session()
        feed = self._inputs.take(slice(batch)).feed()
        session.run(["sample"], feed)
        began, rows = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds or not rows:
            session.run(["sample"], feed)
            rows += batch
        return rows / spent

    def _session(self) -> Any:
        runtime = require_runtime()
        return open_session(
            runtime,
            self._generator,
            GENERATOR,
            self._device,
            self._threads,
            spinning=True,
            files=self._beside,
        )
