"""An overpowering critic: it tells all apart, at no cost, and so has nothing to teach."""

from __future__ import annotations

from latentserve.training.supervising.equilibrium import EQUILIBRIUM
from latentserve.training.supervising.reading import Line, Reading, below

SHARE = 0.05  # of the critic's loss at equilibrium; "D loss goes to 0: failure mode" (ganhacks, 10)
SURE = 0.95  # its accuracy, on both sides


class Overpowering:
    """Early in a run a critic that wins is as it should be: it must do so for longer than others are given."""

    fault = "overpowering critic"
    patience = 4

    def __init__(self, loss: str) -> None:
        self._equilibrium = EQUILIBRIUM.get(loss)

    def read(self, line: Line) -> Reading | None:
        if self._equilibrium is None or "critic_loss" not in line:
            return None
        sure = min(line.get("real_accuracy", 0.0), line.get("fake_accuracy", 0.0)) > SURE
        left = line["critic_loss"] / self._equilibrium
        return below("critic_loss over that of equilibrium", left if sure else 1.0, SHARE, 3 * SHARE)
