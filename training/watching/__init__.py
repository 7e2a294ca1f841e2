"""What is looked at once a tick, beside what steps report: samples, and what the critic makes of reals unseen."""

from latentserve.training.watching.held_out import held_out
from latentserve.training.watching.layers import layer_norms
from latentserve.training.watching.watch import Watch

__all__ = ["Watch", "held_out", "layer_norms"]
