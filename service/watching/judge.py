"""The judge: one worker adds up what all of them counted, weighs it, and writes the verdict down for all.

Which worker that is, a lock on a file decides. The lock ends with its process; another worker then goes on from the
state that was written down.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.request import ARMS
from latentserve.service.watching.conditions import condition_bins
from latentserve.service.watching.detectors import (
    ASKED,
    CONDITIONS,
    DETECTORS,
    GENERATED,
    JOINT,
    LABELS,
    LATENTS,
    Detectors,
    layout,
)
from latentserve.service.watching.history import History
from latentserve.service.watching.ledger import Counts, Ledger
from latentserve.service.watching.recent import RecentCounts
from latentserve.service.watching.reference import Reference
from latentserve.service.watching.staleness import Staleness
from latentserve.service.watching.verdict import (
    LEAST_ROWS,
    NONFINITE_ROWS,
    OLD_SECONDS,
    RECORDED_ROWS,
    Symptoms,
    diagnose,
    differs,
    least_rows,
)
from latentserve.service.watching.workers import Notes, write_whole

ROUND_SECONDS = 2.0

_MOST_LABELS = 100  # whose counts are shown
_STATE, _VERDICT, _LOCK = "state.json", "verdict.json", "lock"


class Judge:
    """The verdict on one model. Each worker calls `hold` every ROUND_SECONDS; one of them does the work.

    Attributes:
        ledger: what this worker counts.
        history: how the evidence came to be what it is.
    """

    def __init__(self, folder: Path, manifest: Manifest, reference: Reference, rows_per_second: float) -> None:
        """`folder` is shared by the workers of a server, and this model's own."""
        self._layout = layout(manifest, reference)
        self.ledger = Ledger(folder, self._layout)
        self.history = History(folder / "history.json")
        self._folder = folder
        self._labels = manifest.labels or []
        self._conditions = list(zip(manifest.condition_places, condition_bins(manifest.conditions), strict=True))
        self._compared = bool(reference.cells)
        self._least = least_rows(reference.samples)
        self._real: Staleness | None = None
        self._detectors = Detectors(manifest, reference, rows_per_second)
        self._repeats, self._nonfinite = RecentCounts(LEAST_ROWS), RecentCounts(LEAST_ROWS)
        self._spots = RecentCounts(RECORDED_ROWS)
        self._probes, self._files, self._on_disk = (Notes(folder, kind) for kind in ("probes", "files", "disk"))
        self._lock: int | None = None
        self._judged, self._written = time.monotonic(), 0

    def hold(self) -> bool:
        """Judge if no other worker does; whether this one did. Where that fails, another worker may try."""
        if self._lock is None and not self._take_lock():
            return False
        try:
            self._judge()
        except BaseException:
            self._release()
            raise
        return True

    def _judge(self) -> None:
        total = self.ledger.total()
        self._detectors.weigh(total)
        self._repeats.note(*_sent(total))
        self._nonfinite.note(*_nonfinite(total))
        self._spots.note(*_spots(total))
        saved = (self._detectors, self._repeats, self._nonfinite, self._spots)
        write_whole(self._folder / _STATE, json.dumps([part.to_json() for part in saved]))
        verdict = {**asdict(diagnose(self._symptoms(total))), "judged": time.monotonic()}  # of the machine, for all
        write_whole(self._folder / _VERDICT, json.dumps(verdict))
        self.history.note(self._detectors.log_evidence())
        self.ledger.fold()  # what could be judged: counts that are damaged stay what can be taken away

    def verdict(self) -> dict[str, Any]:
        """What was written down last, by whichever worker: cause, sentence, evidence, and `age_seconds`, None where
        nothing was yet."""
        try:
            read: dict[str, Any] = json.loads((self._folder / _VERDICT).read_text())
            age = int(time.monotonic() - read.pop("judged"))
        except (OSError, ValueError, TypeError, KeyError):
            age = -1
        if age < 0:  # not yet, or by a machine that has started again since
            nothing = {name: np.zeros(shape) for name, shape in self._layout.items()}
            verdict = asdict(diagnose(self._symptoms(nothing)))
            if verdict["cause"] == "not_enough_samples":
                verdict["sentence"] = "Nothing was judged yet."
            return {**verdict, "age_seconds": None}
        if age > OLD_SECONDS:
            read["sentence"] += f" That was {age} seconds ago, and nothing was judged since: the log says why."
        return {**read, "age_seconds": age}

    def verdict_age(self) -> float:
        """Seconds since any worker judged; since this one started, where none did."""
        with suppress(OSError, ValueError, KeyError):
            file = self._folder / _VERDICT
            if (written := file.stat().st_mtime_ns) != self._written:
                self._judged = float(json.loads(file.read_text())["judged"])
                self._written = written
        return time.monotonic() - self._judged

    def log_evidence(self) -> dict[str, float]:
        """By detector, as far as this worker judges."""
        return self._detectors.log_evidence()

    @property
    def log_threshold(self) -> float:
        """Evidence at which an alarm is raised."""
        return self._detectors.log_threshold

    def report_probes(self, fault: str | None) -> None:
        """Say how this worker's golden probes fare: None, or what is wrong, in words."""
        self._probes.write(fault)

    def report_real(self, found: Staleness) -> None:
        """Say how far the real data of today is from that of the export."""
        self._real = found

    def report_files(self, fault: str | None, on_disk: str | None = None) -> None:
        """Say what is wrong with the bundle's files on disk, and which other bundle lies there, in words or None."""
        self._files.write(fault)
        self._on_disk.write(on_disk)

    def stop(self) -> None:
        """Let another worker judge."""
        self.report_probes(None)
        self.report_files(None)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> bool:
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._lock = handle
        self._restore()
        return True

    def _restore(self) -> None:
        """Go on from what the last judge wrote down, as far as it can be read."""
        try:
            detectors, repeats, nonfinite, spots = json.loads((self._folder / _STATE).read_text())
            self._detectors.restore(detectors)
            self._repeats.restore(repeats)
            self._nonfinite.restore(nonfinite)
            self._spots.restore(spots)
        except (OSError, ValueError, TypeError, KeyError):
            return

    def _symptoms(self, total: Counts) -> Symptoms:
        found = {name: suspicion for name in DETECTORS if (suspicion := self._detectors.suspicion(name)) is not None}
        faults, files, on_disk = self._probes.read(), self._files.read(), self._on_disk.read()
        sent, repeated = _sent(total)
        sent_lately, repeated_lately = self._repeats.since(sent, repeated)
        rows, nonfinite = _nonfinite(total)
        looked_at, nonfinite_lately = self._nonfinite.since(rows, nonfinite)
        recorded, differing = self._spots.since(*_spots(total))
        numbers: dict[str, Any] = {
            "rows": {arm: int(rows) for arm, rows in zip(ARMS, total["rows"], strict=True)},
            "log_evidence": self._detectors.log_evidence(),
            "log_threshold": round(self._detectors.log_threshold, 3),
            "rows_compared": {arm: int(rows) for arm, rows in zip(ARMS, total["compared"], strict=True)},
            "alarms": {name: asdict(suspicion) for name, suspicion in found.items()},
            "workers_whose_probes_fail": len(faults),
            "rows_not_finite": nonfinite,
            "rows_lately": looked_at,
            "rows_not_finite_lately": nonfinite_lately,
            "latents_sent": sent,
            "latents_repeated": repeated,
            "latents_sent_lately": sent_lately,
            "latents_repeated_lately": repeated_lately,
        }
        if left_out := self._detectors.left_out():
            numbers["left_out"] = left_out
        if nonfinite_lately >= NONFINITE_ROWS:
            numbers["not_finite_clears_at_row"] = self._nonfinite.forgotten_at(nonfinite)
        if recorded:
            numbers |= {"recorded_rows_lately": recorded, "recorded_rows_differing_lately": differing}
        if differs(recorded, differing):
            numbers["differing_clears_at_recorded_row"] = self._spots.forgotten_at(_spots(total)[1])
        if on_disk:
            numbers["on_disk"] = on_disk[0]
        if self._real is not None:
            numbers["real"] = self._real.numbers()
        if 0 < len(self._labels) <= _MOST_LABELS:
            numbers["labels"] = {name: int(rows) for name, rows in zip(self._labels, total["labels"], strict=True)}
        if self._conditions:
            numbers["conditions"] = {
                name: {where: int(rows) for where, rows in zip(bins.names, own, strict=False)}
                for (name, bins), own in zip(self._conditions, total["conditions"], strict=True)
            }
        return Symptoms(
            rows=rows,
            probe_fault=faults[0] if faults else None,
            files_fault=files[0] if files else None,
            on_disk=on_disk[0] if on_disk else None,
            looked_at=looked_at,
            nonfinite=nonfinite_lately,
            compared=self._compared,
            rows_compared=int(total["compared"].sum() + total["spots"][0]),
            recorded=recorded,
            differing=differing,
            least=self._least,
            generated=found.get(GENERATED) or found.get(JOINT),
            asked=found.get(ASKED),
            latents=found.get(LATENTS),
            labels=found.get(LABELS),
            conditions=found.get(CONDITIONS),
            sent=sent_lately,
            repeated=repeated_lately,
            real=str(self._real) if self._real is not None and self._real.moved else None,
            numbers=numbers,
        )


def _sent(total: Counts) -> tuple[int, int]:
    """Rows of latents that clients sent, and how many of them were there before."""
    repeated = int(total["repeated"][0])
    return int(total["sent"][0]) + repeated, repeated


def _spots(total: Counts) -> tuple[int, int]:
    """Rows made again of which spots were recorded, and how many of them differ."""
    rows, differing = total["spots"]
    return int(rows), int(differing)


def _nonfinite(total: Counts) -> tuple[int, int]:
    """Rows looked at, and how many of them hold values that are not finite."""
    return int(total["rows"].sum()), int(total["nonfinite"][0])
