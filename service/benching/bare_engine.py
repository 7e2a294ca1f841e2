"""The engine alone: ONNX Runtime in a loop, which no server over it can beat."""

from __future__ import annotations

import time
from dataclasses import replace

from service.bundle import Bundle
from service.sampling.engine import Device, Engine
from service.sampling.request import RowsRequest

BATCHES = (1, 4, 16, 64, 128)

_TURNS = 3
_SLOW_SECONDS = 1.0  # of one call: larger batches are not tried


class BareEngine:
    """A bundle's generator on a device, called with latents (and labels) of its own priors, made beforehand.

    `threads`: of one call, on the CPU. `provider`: ONNX Runtime's name of what runs it.
    Raises RuntimeMissingError and BundleError, as Engine does.
    """

    def __init__(self, bundle: Bundle, threads: int, device: Device = "cpu") -> None:
        self._bundle = replace(bundle, critic=None)
        self._threads = threads
        self._device = device
        self._z, self._label = RowsRequest(n=BATCHES[-1]).inputs(bundle.manifest, 0, BATCHES[-1])
        self.provider = self._engine().provider

    def best_batch(self, seconds: float) -> int:
        """The batch size with the most samples a second, each tried three times for `seconds`, in turn."""
        rates: dict[int, list[float]] = {}
        for batch in BATCHES:
            rates[batch] = [self.samples_per_second(batch, seconds)]
            if batch / rates[batch][0] > _SLOW_SECONDS:
                break
        for _ in range(_TURNS - 1):
            for batch, measured in rates.items():
                measured.append(self.samples_per_second(batch, seconds))
        return max(rates, key=lambda batch: sorted(rates[batch])[_TURNS // 2])

    def samples_per_second(self, batch: int, seconds: float) -> float:
        """Of a session of its own, so that no thread of it spins while servers are measured."""
        engine = self._engine()
        z, label = self._z[:batch], None if self._label is None else self._label[:batch]
        engine.generate(z, label)
        began, rows = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds or not rows:
            engine.generate(z, label)
            rows += batch
        return rows / spent

    def _engine(self) -> Engine:
        return Engine(self._bundle, self._device, self._threads)
