"""What is looked at once a tick, beside what steps report: samples, and what the critic makes of reals unseen."""

from training.watching.held_out import held_out
from training.watching.layers import layer_norms
from training.watching.watch import Watch

__all__ = ["Watch", "held_out", "layer_norms"]
