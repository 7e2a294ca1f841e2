"""What is looked at once a tick, beside what steps report: samples, and what the critic makes of reals unseen."""

from latentserve.training.watching.watch import Watch, held_out, layer_norms

__all__ = ["Watch", "held_out", "layer_norms"]
