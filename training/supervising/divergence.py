"""Divergence: losses, or gradients, of another order of magnitude than those of a healthy run."""

from __future__ import annotations

from statistics import median

from latentserve.training.supervising.equilibrium import EQUILIBRIUM
from latentserve.training.supervising.reading import Line, Reading, above

LOSS = 100.0  # healthy losses lie within 0 and 10, a broken run's have three digits (README of gigagan-pytorch)
GRADIENT = 30.0  # "norms above 100: things are screwing up" (ganhacks, 10); here the mean of a tick over the run's own
FIRST = 5  # lines that say what its own is

# Times the critic's loss at equilibrium, where it knows nothing: a critic that is so much worse than that has lost its
# hold, and gradients that grow are no sharpening. Data of tight clusters need large ones (own).
LOST = 2.0


class Divergence:
    fault = "divergence"
    patience = 1

    def __init__(self, loss: str) -> None:
        self._equilibrium = EQUILIBRIUM.get(loss)
        self._first: dict[str, list[float]] = {"critic_gradient_norm": [], "generator_gradient_norm": []}

    def read(self, line: Line) -> Reading | None:
        """The worst of the losses and of the gradients."""
        readings = []
        losses = {loss: abs(line[loss]) for loss in ("critic_loss", "generator_loss") if loss in line}
        holds = self._equilibrium is not None and losses.get("critic_loss", 0.0) < LOST * self._equilibrium
        for signal, first in self._first.items():
            if signal not in line:
                continue
            if len(first) < FIRST:
                first.append(line[signal])
            ours = max(1.0, median(first)) if len(first) < FIRST else median(first)
            if ours > 0 and not holds:
                readings.append(above(f"{signal} over its first median", line[signal] / ours, GRADIENT, GRADIENT / 10))
        if self._equilibrium is not None:
            readings += [above(loss, size, LOSS, LOSS / 10) for loss, size in losses.items()]
        return max(readings, key=lambda reading: reading.value / reading.threshold, default=None)
