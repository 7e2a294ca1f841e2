"""One signal: the run length our evidence keeps, and its delay beside CUSUM and river."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.drift.detectors import cusum, ours
from benchmarks.drift.detectors.records import REFERENCE_ROWS, Plan, Record, answer, compared, kept
from benchmarks.drift.detectors.run_lengths import Integers, delays, mean_run_length
from benchmarks.environments import environment
from latentserve.service.watching.reference import BINS, Distribution

SHIFTS = (0.25, 0.5, 1.0)
_BETWEEN = (0.35, 0.7)  # the shifts that our bets are on
_SIGNALS = 12  # of a model, where evidence is averaged


@dataclass(frozen=True)
class Kind:
    """A signal: how it is drawn, and P(X < x) and P(X <= x)."""

    name: str

    def draw(self, rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
        """float64 [rows]."""
        if self.name == "heavy-tailed":
            return rng.standard_t(2, rows)
        normal = rng.normal(size=rows)
        if self.name == "half of it one value":
            return np.maximum(normal, 0)
        return normal + np.where(rng.random(rows) < 0.3, 5.0, 0.0) if self.name == "bimodal" else normal

    def chances(self, edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """P(X < edge) and P(X <= edge)."""
        if self.name == "heavy-tailed":
            at_most = stats.t.cdf(edges, 2)
        elif self.name == "bimodal":
            at_most = 0.7 * stats.norm.cdf(edges) + 0.3 * stats.norm.cdf(edges - 5)
        else:
            at_most = stats.norm.cdf(edges)
        return (np.where(edges > 0, at_most, 0.0) if self.name == "half of it one value" else at_most), at_most


KINDS = tuple(Kind(name) for name in ("normal", "heavy-tailed", "bimodal", "half of it one value"))


def run_lengths(plan: Plan) -> Iterator[Record]:
    """Streams without drift, over kinds of signals and sizes of references."""
    rng = np.random.default_rng(1)
    for reference_rows in (20_000, REFERENCE_ROWS):
        for kind in KINDS:
            masses = np.stack([_masses(kind, reference_rows, rng) for _ in range(plan.streams)])[:, None]
            for run_length, rows, block in ((1e3, 10_000, 1), (1e4, 30_000, 1), (1e6, 2_000_000, 20)):
                if run_length < 1e6 or (plan.long and kind in (KINDS[0], KINDS[3])):
                    own = masses[: plan.beside] if run_length == 1e6 else masses
                    first = ours.first_alarms_without_drift(own, reference_rows, run_length, rows, block, rng)
                    yield kept(kind.name, 1, reference_rows, run_length, rows, block, first)
        masses = rng.dirichlet(np.full(BINS, reference_rows / BINS), (plan.beside, _SIGNALS))
        for run_length, rows in ((1e3, 10_000), (1e4, 30_000)):
            first = ours.first_alarms_without_drift(masses, reference_rows, run_length, rows, 1, rng)
            yield kept("continuous", _SIGNALS, reference_rows, run_length, rows, 1, first)


def _masses(kind: Kind, rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    reference = Distribution.of(kind.draw(rng, rows))
    return ours.true_masses(reference, *kind.chances(reference.edges))


def _normal_streams(
    streams: int, before: tuple[int, int], after: int, shift: float, seed: int
) -> tuple[NDArray[np.float64], Integers]:
    """Values [streams, rows] that shift at a row drawn from `before`, and that row [streams]."""
    rng = np.random.default_rng(seed)
    change = rng.integers(*before, streams)
    values = rng.normal(size=(streams, before[1] + after))
    values += shift * (np.arange(values.shape[1]) >= change[:, None])
    return values, change


def _references(streams: int) -> list[Distribution]:
    rng = np.random.default_rng(2)
    return [Distribution.of(rng.normal(size=REFERENCE_ROWS)) for _ in range(streams)]


def beside_cusum(plan: Plan) -> Iterator[Record]:
    """One signal that shifts, watched alone and among others."""
    rng = np.random.default_rng(3)
    references = _references(plan.streams)
    for size in (*SHIFTS, *_BETWEEN):
        values, change = _normal_streams(plan.streams, (500, 1500), 1500, size, seed=4)
        bins = ours.bins_of(values, references, rng)[:, None]
        others = rng.dirichlet(np.full(BINS, REFERENCE_ROWS / BINS), (plan.streams, _SIGNALS - 1))
        drawn = np.empty((*others.shape[:2], values.shape[1]), np.int64)
        for stream, signal in np.ndindex(*others.shape[:2]):
            levels = np.cumsum(others[stream, signal])[:-1]
            drawn[stream, signal] = np.searchsorted(levels, rng.random(values.shape[1]))
        model = np.concatenate([bins, drawn], axis=1)
        promised = (1e4, 1e6)
        alone = ours.first_alarms(bins, REFERENCE_ROWS, promised)
        averaged = ours.first_alarms(model, REFERENCE_ROWS, promised)
        for run_length, one, twelve in zip(promised, alone, averaged, strict=True):
            # One CUSUM, and one of a bank of as many as there are signals, which together have the run length.
            for signals, first, own in ((1, one, run_length), (_SIGNALS, twelve, run_length * _SIGNALS)):
                limit = cusum.threshold(size / 2, own)
                theirs = cusum.first_alarms(values, size / 2, limit)
                yield {
                    "part": "CUSUM",
                    "signals": signals,
                    "shift": size,
                    "promised": run_length,
                    "streams": plan.streams,
                    **compared(delays(first, change), delays(theirs, change)),
                }


def beside_river(plan: Plan, scratch: Path) -> Iterator[Record]:
    """One signal that shifts. Raises AbsentError."""
    python = environment("river")
    rng = np.random.default_rng(5)
    given = {"null": rng.normal(size=(plan.beside, 20_000)), "null short": rng.normal(size=(plan.beside, 2000))}
    changes = {}
    for size in SHIFTS:
        given[f"shift {size}"], changes[1e4, size] = _normal_streams(plan.beside, (500, 1500), 20_000, size, seed=6)
        given[f"short shift {size}"], changes[1e3, size] = _normal_streams(plan.beside, (150, 300), 2000, size, seed=7)
    found = answer(python, "river_streams", given, scratch)
    references = _references(plan.beside)
    for run_length, prefix, peers in ((1e4, "", ("ADWIN", "PageHinkley")), (1e3, "short ", ("KSWIN",))):
        for size in SHIFTS:
            values, change = given[f"{prefix}shift {size}"], changes[run_length, size]
            bins = ours.bins_of(values[:, :4000], references, rng)[:, None]
            mine = delays(ours.first_alarms(bins, REFERENCE_ROWS, [run_length])[0], change)
            for peer in peers:
                yield {
                    "part": "river",
                    "peer": peer,
                    "setting": float(found[f"{peer} setting"]),
                    "peer_realised": asdict(mean_run_length(found[f"{peer} null"], int(2 * run_length))),
                    "shift": size,
                    "promised": run_length,
                    "streams": plan.beside,
                    **compared(mine, delays(found[f"{peer} shift {size}"], change)),
                }
