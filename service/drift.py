"""Drift of a bundle without a server: its generator draws for nobody, the server's own monitor and judge look on."""

from __future__ import annotations

import math
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle
from latentserve.service.cores import whole_cores
from latentserve.service.errors import BundleError
from latentserve.service.packing.real import KEPT, Real, read_real
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import DRAWN_BYTES, SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.sampling.served_graph import Output
from latentserve.service.settings import Settings
from latentserve.service.watching.judge import Judge
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.reference import Reference, read_reference
from latentserve.service.watching.staleness import Staleness
from latentserve.service.watching.verdict import critic_fault, least_rows, probe_fault

ROWS = 20_000
SECONDS = 30.0

_BATCH = 256
_BATCH_BYTES = 16 << 20


def judge_bundle(
    bundle: Bundle, settings: Settings, real: Path | None = None, rows: int = ROWS, seconds: float = SECONDS
) -> dict[str, Any]:
    """The verdict on a bundle, as `GET /v1/drift` would give it.

    Its golden probes are replayed; if they match, `rows` are drawn, or as many as `seconds` allow, labels by the prior,
    and every one of them is looked at. `real` holds real samples of today. The evidence has the server's threshold, so
    that a false alarm comes in one of 100,000 times. Where the rows are too few for a verdict, its sentence says how
    long as many would take as are needed.

    Raises BundleError: the reference, the graphs or the real samples cannot be used, or no real ones are kept.
    """
    manifest = bundle.manifest
    reference = read_reference(bundle)
    today = None if real is None else _read(real, bundle, reference)
    engine = Engine(bundle, settings.device, whole_cores(), _BATCH, tensorrt=settings.tensorrt)
    engine.warm_up()
    fault = probe_fault(float(engine.probe().max()), bundle.golden.tolerance)
    fault = fault or critic_fault(float(engine.probe_critic().max()))
    with tempfile.TemporaryDirectory(prefix="latentserve-drift-") as folder:
        judge = Judge(Path(folder), manifest, reference, settings.watched_rows_per_second)
        judge.report_probes(fault)
        if today is not None:
            judge.report_real(_compare(engine, reference, today))
        drawn, took = _draw(engine, reference, judge, rows, seconds) if fault is None else (0, 0.0)
        judge.hold()
        verdict = judge.verdict()
        judge.stop()
    needed = least_rows(reference.samples)
    if verdict["cause"] == "not_enough_samples" and 0 < drawn < needed:
        verdict["sentence"] += (
            f" At {drawn / took:.3g} rows a second that takes about {needed * took / drawn:.0f} s here: "
            "give --seconds or --rows."
        )
    return {"model": manifest.name, "version": manifest.version, **verdict}


def _draw(engine: Engine, reference: Reference, judge: Judge, rows: int, seconds: float) -> tuple[int, float]:
    """Show the judge rows that the generator makes now, and those of which spots were recorded; how many of the first,
    and the seconds that they took."""
    manifest = engine.bundle.manifest
    metrics = ModelMetrics(manifest.name, manifest.version, metric_series(engine.bundle, reference))
    monitor = Monitor(engine, reference, metrics, judge.ledger, look_share=math.inf)

    def show(request: RowsRequest, limit: float) -> int:
        drawn = 0
        for start, size in _batches(engine, request.n, limit):
            inputs = request.inputs(manifest, start, size)
            wanted = monitor.wanted()
            outputs: tuple[Output, ...] = tuple({*wanted.outputs, request.output})
            began = time.perf_counter()
            made = dict(zip(outputs, engine.run(inputs, outputs), strict=True))
            took = time.perf_counter() - began
            monitor.offer(BatchDone([(request, start, size)], inputs, made, took, wanted.chosen))
            monitor.settle()
            judge.hold()
            drawn += size
        return drawn

    began = time.perf_counter()
    drawn = show(_request(rows), seconds)
    took = time.perf_counter() - began
    if (spots := reference.spots) is not None:
        show(spots.request(manifest, 0, len(spots)), seconds / 4)
    return drawn, took


def _read(real: Path, bundle: Bundle, reference: Reference) -> Real:
    if reference.real is None or reference.features is None:
        raise BundleError(
            f"{bundle.path}: keeps no real samples to compare with: give some at `export --data` or `pack --real`"
        )
    return read_real(real, bundle.manifest.sample)


def _compare(engine: Engine, reference: Reference, today: Real) -> Staleness:
    """Features of today's real samples beside those of the export's, and of the generator's."""
    manifest, head, stored = engine.bundle.manifest, reference.features, reference.real
    assert head is not None and stored is not None  # noqa: S101, PT018, `_read` has seen them
    space = head.space.mapper(manifest.sample, manifest.conditions)

    def features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Whatever was asked for: the features do not speak of it."""
        rows = len(samples)
        asked = RowsRequest(n=rows, labels=np.zeros(rows, np.int64)).inputs(manifest, 0, rows)
        of_critic = engine.criticise(samples, asked)[1] if head.space.source == "critic" else None
        return space.features(samples, of_critic)

    request = _request(KEPT)
    generated = [
        features(engine.generate(request.inputs(manifest, start, rows)))
        for start, rows in _batches(engine, KEPT, SECONDS / 3)
    ]
    samples = today[0]
    seen = [features(samples[start : start + rows]) for start, rows in _batches(engine, len(samples), math.inf)]
    return Staleness.of(head, np.concatenate(seen), stored.features, np.concatenate(generated))


def _request(rows: int) -> RowsRequest:
    return RowsRequest(n=rows, seed=secrets.randbelow(SEED_LIMIT), arm="control")


def _batches(engine: Engine, rows: int, seconds: float) -> Iterator[tuple[int, int]]:
    """The first row and the number of rows of each batch, one at least, until the time is over."""
    manifest = engine.bundle.manifest
    size = 4 * math.prod(manifest.sample.shape) + DRAWN_BYTES * manifest.latent.dim
    batch = min(engine.max_batch, max(4, _BATCH_BYTES // size))
    end = time.monotonic() + seconds
    for start in range(0, rows, batch):
        if start and time.monotonic() > end:
            return
        yield start, min(batch, rows - start)
