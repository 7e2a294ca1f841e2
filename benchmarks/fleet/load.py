"""Clients of one replica: requests by a Poisson clock from a thread, each over a connection of its own.

A new connection each time, so that every worker of the replica gets some.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np

from benchmarks.drift.faults import Traffic
from benchmarks.drift.faults.traffic import Body, label_mix, requested_truncation, without_seed
from latentserve.service.benching.requests import RAW, SAMPLES, Address, ask, post
from latentserve.service.bundle import Manifest
from latentserve.service.sampling.latents import draw_latents

_ANSWER_SECONDS = 30.0
_IDLE_SECONDS = 0.1
_SEEDS_APART = 10**9  # no two streams of traffic ask for the same sample: it would be no new evidence
_streams = itertools.count(1)


def mixed(manifest: Manifest, rows: int, seed: int) -> Iterator[Body]:
    """Healthy: seeds of the server's and of the client's, latents of the prior, labels as the reference has them."""
    latents = (
        {"model": manifest.name, "latents": draw_latents(manifest.latent, seed, offset, rows).tolist()}
        for offset in itertools.count(step=rows)
    )
    kinds = [without_seed(manifest, rows, seed), requested_truncation(manifest, rows, seed), latents]
    if manifest.labels:
        shares = manifest.label_prior or [1.0] * len(manifest.labels)
        kinds.append(label_mix(manifest, rows, seed + _SEEDS_APART // 2, shares))
    return (next(kind) for kind in itertools.cycle(kinds))


class Load:
    """`rate` requests a second of `rows` rows each, 0: none; rate, port and traffic may change at any time."""

    def __init__(self, port: int, manifest: Manifest, rate: float, rows: int) -> None:
        self.rate = rate
        self.statuses: Counter[int] = Counter()  # of the answers; 0: no answer
        self.port = port
        self._manifest = manifest
        self._rows = rows
        self._random = np.random.default_rng(port)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"load-{port}", daemon=True)
        self.send(mixed)

    def send(self, traffic: Traffic) -> None:
        """From the next request on."""
        self._bodies = traffic(self._manifest, self._rows, next(_streams) * _SEEDS_APART)

    def _loop(self) -> None:
        due = time.monotonic()
        while True:
            if self.rate == 0:
                if self._stopping.wait(_IDLE_SECONDS):
                    return
                continue
            due = max(due + self._random.exponential(1 / self.rate), time.monotonic() - 1.0)
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            request = post(SAMPLES, json.dumps(next(self._bodies)).encode(), RAW)
            status = 0
            with suppress(OSError, http.client.HTTPException):
                status = ask(Address(self.port), request, _ANSWER_SECONDS)[0]
            self.statuses[status] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
