"""Readiness: whether a model may serve, by its golden probes."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import BundleError
from latentserve.service.sampling.engine import Engine
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.verdict import critic_fault, probe_fault

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # what a model runs on, and how well, is worth a line of a server's log

PROBE_SECONDS = 60.0
PADDING_SECONDS = 1.0

_DRAINING = "is draining"


class Readiness:
    """Golden probes of one model in this worker, the critic's judgement of them, and what follows from both.

    Two mismatches in a row make the model not ready, at load one; a match makes it ready again.

    Attributes:
        fault: why the model is not ready, or None.
    """

    def __init__(self, engine: Engine, metrics: ModelMetrics, report: Callable[[str | None], None]) -> None:
        """`report` is told the fault, or None, whenever that was decided."""
        manifest = engine.bundle.manifest
        self._name = f"{manifest.name} {manifest.version}"
        self._engine = engine
        self._golden = engine.bundle.golden
        self._metrics = metrics
        self._report = report
        self._mismatches = 1  # the first replay decides by itself
        self._suspect_sizes: set[int] = set()  # batch sizes at which golden probes did not match, as padding
        self.fault: str | None = "is being warmed up"
        metrics.ready.set(0)

    def load(self) -> None:
        """Warm the engine up and replay the probes. Raises BundleError: the graphs do not run."""
        self._engine.warm_up()
        difference = self._compare(self._engine.probe(), self._engine.probe_critic())
        log.info(
            "model %s: golden probes off by at most %.3g (tolerance %.3g) on %s",
            self._name, difference, self._golden.tolerance, self._engine.provider,
        )  # fmt: skip

    def drain(self) -> None:
        """Take no more requests; for good."""
        self.fault = _DRAINING
        self._metrics.ready.set(0)

    def probe(self) -> float:
        """Replay the golden probes, also in the batch sizes at which they did not match in padding: how far they are
        off at most. An engine that cannot run them does not match. The critic judges what was recorded, so that it
        is known which of the two is another."""
        replayed, judged = np.zeros((2, len(self._golden.z)))
        try:
            for batch in (0, *sorted(self._suspect_sizes)):
                replayed = np.maximum(replayed, self._engine.probe(batch))
        except BundleError as error:
            log.error("model %s: %s", self._name, error)
            replayed[:] = np.inf
        try:
            judged = self._engine.probe_critic()
        except BundleError as error:
            log.error("model %s: %s", self._name, error)
            judged[:] = np.inf
        return self._compare(replayed, judged)

    def probe_padding(self) -> None:
        """Look at the golden probes that rode in a batch's padding, if some did since the last time.

        A mismatch counts as a replay's, and a replay follows at once. A match is counted too, but it says nothing of
        the other probes and batch sizes, so it does not interrupt a row of mismatches.
        """
        padded = self._engine.probed_in_padding()
        if padded is None:
            return
        if (padded.differences <= self._golden.tolerance).all():
            self._metrics.count_probes(padded.probes.tolist(), [True] * len(padded.probes))
            return
        log.error(
            "model %s: golden probes are off by %.3g in the padding of a batch of %d",
            self._name, padded.differences.max(), padded.batch,
        )  # fmt: skip
        self._suspect_sizes.add(padded.batch)
        self._compare(padded.differences, np.zeros(len(padded.probes)), padded.probes)
        self.probe()

    def _compare(
        self, replayed: NDArray[np.float64], judged: NDArray[np.float64], probes: NDArray[np.int64] | None = None
    ) -> float:
        """Decide by how far probes (all, or int64 [k]) are off, and the critic's judgement of them in tolerances."""
        difference = float(replayed.max())
        matches = (replayed <= self._golden.tolerance) & (judged <= 1)
        self._metrics.count_probes((np.arange(len(replayed)) if probes is None else probes).tolist(), matches.tolist())
        self._metrics.probe_error.set(difference)
        if matches.all():
            self._mismatches = 0
            self._suspect_sizes.clear()
        else:
            self._mismatches += 1
        if self._mismatches == 1 or self.fault == _DRAINING:
            return difference
        self.fault = probe_fault(difference, self._golden.tolerance) or critic_fault(float(judged.max()))
        if self.fault is not None:
            log.error("model %s is not ready: its %s", self._name, self.fault)
        self._metrics.ready.set(int(self.fault is None))
        self._report(self.fault)
        return difference
