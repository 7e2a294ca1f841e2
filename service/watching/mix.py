"""Evidence that labels are asked for in another mix than the reference's, in the manner of `evidence`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
from numpy.typing import ArrayLike

from latentserve.service.watching.alarm import Alarm, kept, raised
from latentserve.service.watching.evidence import LEAST, Floats, accumulate, log_mean, read_state, tolerant

_FACTORS = (0.25, 0.5, 2.0, 4.0)  # of a label's share in the reference, in a bet
_MOST = 0.9  # of all labels that one of them is, in a bet
_LEAST_SHARE = 1e-9
_EXACT = 1e15  # rows: the mix is known, not measured


def mix_bets(shares: Floats) -> tuple[Floats, Floats]:
    """log likelihood ratios [bets, labels]: one label asked for more or less often, the others alike; and the shares
    float64 [labels] themselves, of which none is quite 0."""
    masses = np.maximum(shares, _LEAST_SHARE)
    masses /= masses.sum()
    ratios = []
    for label, mass in enumerate(masses):
        for factor in _FACTORS:
            changed = min(factor * mass, max(_MOST, mass))
            ratio = np.full(len(masses), (1 - changed) / (1 - mass))
            ratio[label] = changed / mass
            ratios.append(ratio)
    return tolerant(np.array(ratios), masses, _EXACT, len(ratios)), masses


class MixEvidence:
    """The evidence of one model's labels; its alarm is raised, renewed and cleared as that of `Evidence` is."""

    def __init__(self, shares: Floats, threshold: float) -> None:
        """`shares` float64 [labels], two at least. `threshold`: the run length promised, in rows."""
        self._bets, self._masses = mix_bets(shares)
        self._log_weights = np.full(len(self._bets), -math.log(len(self._bets)))
        self._log_threshold = math.log(threshold)
        self._totals = np.zeros(len(shares))
        self._log_m = np.full(len(self._bets), -np.inf)
        self._rows = self._began = 0
        self.alarm: Alarm | None = None

    @property
    def log_value(self) -> float:
        """log M; -inf before the first row."""
        return float(log_mean(self._log_m, self._log_weights))

    def observe(self, totals: ArrayLike) -> None:
        """Take the state of counters that only grow, rows by label; where one fell, they are only noted."""
        now = np.asarray(totals, np.float64)
        new, self._totals = now - self._totals, now
        rows = int(new.sum())
        if rows <= 0 or (new < 0).any():
            return
        if self.log_value <= math.log(self._rows + 1):  # no more than its starts alone would bring
            self._began = self._rows
        self._rows += rows
        self._log_m = accumulate(self._log_m, math.log(rows), self._bets @ new)
        if self.log_value < self._log_threshold:
            self.alarm = kept(self.alarm, self._rows)
            return
        loudest = int(np.argmax(np.abs(new / rows - self._masses)))
        self.alarm = raised(self.alarm, Alarm(self._rows, self._began, signal=loudest))
        self._log_m = np.full(len(self._bets), -np.inf)

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        state = {
            "log_m": np.maximum(self._log_m, LEAST).tolist(),
            "totals": self._totals.tolist(),
            "rows": [self._rows, self._began],
            "alarm": asdict(self.alarm) if self.alarm else None,
        }
        return json.dumps(state, allow_nan=False)

    def restore(self, text: str) -> bool:
        """Go on from a saved state. False, with nothing changed, if it is damaged or of other labels."""
        try:
            state = json.loads(text)
            log_m, totals = (read_state(state[k], getattr(self, f"_{k}").shape) for k in ("log_m", "totals"))
            rows, began = (int(number) for number in state["rows"])
            alarm = Alarm(**state["alarm"]) if state["alarm"] else None
        except (ValueError, KeyError, TypeError):
            return False
        self._log_m, self._totals = np.where(log_m > LEAST, log_m, -np.inf), totals
        self._rows, self._began, self.alarm = rows, began, alarm
        return True
