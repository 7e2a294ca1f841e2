"""Evidence that labels (or bins of a condition) are asked for in another mix than the reference's, in the manner of
`evidence`."""

from __future__ import annotations

import json
import math

import numpy as np
from numpy.typing import ArrayLike

from latentserve.service.watching.alarm import Alarm, kept, raised
from latentserve.service.watching.evidence import LEAST, Floats, accumulate, read_state, write_state

_FACTORS = np.array([0.25, 0.5, 2.0, 4.0])  # of a label's share in the reference, in a bet
_MOST = 0.9  # of all labels that one of them is, in a bet
_LEAST_SHARE = 1e-9


def mix_bets(shares: Floats) -> tuple[Floats, Floats, Floats]:
    """Likelihood ratios of one label that is asked for more or less often, the others alike: log L of a row of that
    label, and of a row of any other, each float64 [labels, bets a label]; and the shares float64 [labels] themselves,
    of which none is quite 0."""
    masses = np.maximum(shares, _LEAST_SHARE)
    masses /= masses.sum()
    mass = masses[:, None]
    changed = np.minimum(_FACTORS * mass, np.maximum(_MOST, mass))
    return np.log(changed / mass), np.log1p(-changed) - np.log1p(-mass), masses


class MixEvidence:
    """The evidence of one model's labels; its alarm is raised, renewed and cleared as that of `Evidence` is."""

    def __init__(self, shares: Floats, threshold: float) -> None:
        """`shares` float64 [labels], two at least. `threshold`: the run length promised, in rows."""
        self._own, self._other, _ = mix_bets(shares)
        self._log_threshold = math.log(threshold)
        self._totals = np.zeros(len(shares))
        self._log_m = np.full(self._own.shape, -np.inf)
        self._rows = self._began = 0
        self.alarm: Alarm | None = None

    @property
    def log_value(self) -> float:
        """log M; -inf before the first row."""
        return float(np.logaddexp.reduce(self._log_m, axis=None)) - math.log(self._log_m.size)

    def observe(self, totals: ArrayLike) -> None:
        """Take the state of counters that only grow, rows by label; where one fell, they are only noted."""
        now = np.array(totals, np.float64)
        new, self._totals = now - self._totals, now
        rows = int(new.sum())
        if rows <= 0 or (new < 0).any():
            return
        if self.log_value <= math.log(self._rows + 1):  # no more than its starts alone would bring
            self._began = self._rows
        self._rows += rows
        gains = new[:, None] * self._own + (rows - new)[:, None] * self._other
        self._log_m = accumulate(self._log_m, math.log(rows), gains)
        if self.log_value < self._log_threshold:
            self.alarm = kept(self.alarm, self._rows)
            return
        loudest, bet = np.unravel_index(np.argmax(self._log_m), self._log_m.shape)
        less = bool(_FACTORS[bet] < 1)
        self.alarm = raised(self.alarm, self._rows, self._began, signal=int(loudest), less=less)
        self._log_m = np.full(self._own.shape, -np.inf)

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        log_m, rows = np.maximum(self._log_m, LEAST), [self._rows, self._began]
        return write_state(log_m=log_m, totals=self._totals, rows=rows, alarm=self.alarm)

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
