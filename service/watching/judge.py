"""The judge: one worker adds up what all of them counted, weighs it, and writes the verdict down for all.

Which worker that is, a lock on a file decides. The lock ends with its process; another worker then goes on from the
state that was written down.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.request import ARMS
from latentserve.service.watching.detectors import (
    ASKED,
    DETECTORS,
    GENERATED,
    JOINT,
    LABELS,
    LATENTS,
    Detectors,
    layout,
)
from latentserve.service.watching.inputs import Lately
from latentserve.service.watching.ledger import Counts, Ledger
from latentserve.service.watching.reference import Reference
from latentserve.service.watching.staleness import Staleness
from latentserve.service.watching.verdict import LEAST_ROWS, Facts, judge, least_rows

ROUND_SECONDS = 2.0

_MOST_LABELS = 100  # whose counts are shown
_STATE, _VERDICT, _LOCK, _CHANGED = "state.json", "verdict.json", "lock", "changed"


class Judge:
    """The verdict on one model. Each worker calls `hold` every ROUND_SECONDS; one of them does the work."""

    def __init__(self, folder: Path, manifest: Manifest, reference: Reference, rows_per_second: float) -> None:
        """`folder` is shared by the workers of a server, and this model's own."""
        self.ledger = Ledger(folder, layout(manifest, reference))
        self._folder = folder
        self._labels = manifest.labels or []
        self._compared = bool(reference.cells)
        self._least = least_rows(reference.samples)
        self._real: Staleness | None = None
        self._detectors = Detectors(manifest, reference, rows_per_second)
        self._lately = Lately(LEAST_ROWS)
        self._fault = folder / f"probes-{os.getpid()}"
        self._lock: int | None = None

    def hold(self) -> bool:
        """Judge if no other worker does; whether this one did."""
        if self._lock is None and not self._take_lock():
            return False
        total = self.ledger.total()
        self._detectors.weigh(total)
        self._lately.note(*_sent(total))
        state = {"detectors": self._detectors.to_json(), "lately": self._lately.to_json()}
        _write(self._folder / _STATE, json.dumps(state))
        _write(self._folder / _VERDICT, json.dumps(asdict(judge(self._facts(total)))))
        return True

    def verdict(self) -> dict[str, Any]:
        """What was written down last, by whichever worker: cause, sentence, evidence."""
        try:
            read: dict[str, Any] = json.loads((self._folder / _VERDICT).read_text())
        except (OSError, ValueError):  # not yet
            read = asdict(judge(self._facts(self.ledger.total())))
        return read

    def log_evidence(self) -> dict[str, float]:
        """By detector, as far as this worker judges."""
        return self._detectors.log_evidence()

    @property
    def log_threshold(self) -> float:
        """Evidence at which an alarm is raised."""
        return self._detectors.log_threshold

    def report_probes(self, fault: str | None) -> None:
        """Say how this worker's golden probes fare: None, or what is wrong, in words."""
        if fault is None:
            self._fault.unlink(missing_ok=True)
        else:
            _write(self._fault, fault)

    def report_real(self, found: Staleness) -> None:
        """Say how far the real data of today is from that of the export."""
        self._real = found

    def report_files(self, *, same: bool) -> None:
        """Say whether the bundle's files on disk are those that were loaded."""
        if same:
            (self._folder / _CHANGED).unlink(missing_ok=True)
        else:
            (self._folder / _CHANGED).touch()

    def stop(self) -> None:
        """Let another worker judge."""
        self.report_probes(None)
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
            state = json.loads((self._folder / _STATE).read_text())
            self._detectors.restore(state["detectors"])
            self._lately.restore(state["lately"])
        except (OSError, ValueError, TypeError, KeyError):
            return

    def _facts(self, total: Counts) -> Facts:
        found = {name: suspicion for name in DETECTORS if (suspicion := self._detectors.suspicion(name)) is not None}
        faults = list(self._probe_faults())
        sent, repeated = _sent(total)
        sent_lately, repeated_lately = self._lately.since(sent, repeated)
        numbers: dict[str, Any] = {
            "rows": {arm: int(rows) for arm, rows in zip(ARMS, total["rows"], strict=True)},
            "log_evidence": self._detectors.log_evidence(),
            "log_threshold": round(self._detectors.log_threshold, 3),
            "alarms": {name: asdict(suspicion) for name, suspicion in found.items()},
            "workers_whose_probes_fail": len(faults),
            "rows_not_finite": int(total["nonfinite"][0]),
            "latents_sent": sent,
            "latents_repeated": repeated,
            "latents_sent_lately": sent_lately,
            "latents_repeated_lately": repeated_lately,
        }
        if left_out := self._detectors.left_out():
            numbers["left_out"] = left_out
        if self._real is not None:
            numbers["real"] = self._real.numbers()
        if 0 < len(self._labels) <= _MOST_LABELS:
            numbers["labels"] = {name: int(rows) for name, rows in zip(self._labels, total["labels"], strict=True)}
        return Facts(
            rows=int(total["rows"].sum()),
            probe_fault=faults[0] if faults else None,
            files_changed=(self._folder / _CHANGED).exists(),
            nonfinite=numbers["rows_not_finite"],
            compared=self._compared,
            least=self._least,
            generated=found.get(GENERATED) or found.get(JOINT),
            asked=found.get(ASKED),
            latents=found.get(LATENTS),
            labels=found.get(LABELS),
            sent=sent_lately,
            repeated=repeated_lately,
            real=str(self._real) if self._real is not None and self._real.moved else None,
            numbers=numbers,
        )

    def _probe_faults(self) -> Iterator[str]:
        """Of the workers that live; a killed one leaves its own behind."""
        for file in sorted(self._folder.glob("probes-*")):
            if not file.suffix and Path("/proc", file.name.removeprefix("probes-")).exists():
                with suppress(FileNotFoundError):  # they pass again, since a moment ago
                    yield file.read_text()


def _sent(total: Counts) -> tuple[int, int]:
    """Rows of latents that clients sent, and how many of them were there before."""
    repeated = int(total["repeated"][0])
    return int(total["sent"][0]) + repeated, repeated


def _write(path: Path, text: str) -> None:
    """Whole or not at all: others read it at any time."""
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(text)
    part.replace(path)
