"""Vanishing gradients: the generator is told nothing any more."""

from __future__ import annotations

import math
from statistics import median

from latentserve.training.supervising.reading import Line, Reading, below

RATIO = 1e-3  # of the healthy level, with a critic that is nearly always right (own)
SURE = 0.95  # its accuracy on fakes
NOTHING = 1e-10  # a norm that is none, whatever the critic thinks
SATURATION = 0.01  # of minimax: the generator's loss over the log 2 of equilibrium, which its gradient follows (own)
FIRST = 5  # lines that say what is healthy


class Vanishing:
    fault = "vanishing gradients"
    patience = 2

    def __init__(self, loss: str) -> None:
        self._minimax = loss == "minimax"
        self._first: list[float] = []

    def read(self, line: Line) -> Reading | None:
        if "generator_gradient_norm" not in line:
            return None
        norm = line["generator_gradient_norm"]
        if norm < NOTHING:
            return below("generator_gradient_norm", norm, NOTHING, NOTHING)
        if len(self._first) < FIRST:
            self._first.append(norm)
        sure = line.get("fake_accuracy", 0.0) > SURE
        if self._minimax and sure and "generator_loss" in line:
            left = -line["generator_loss"] / math.log(2)
            return below("generator_loss over that of equilibrium", left, SATURATION, 10 * SATURATION)
        ratio = norm / median(self._first)
        signal = "generator_gradient_norm over its first median"
        return below(signal, ratio if sure else max(ratio, RATIO), RATIO, 10 * RATIO)
