"""Instance noise: what the critic sees of reals and fakes is blurred alike, less and less.

"Amortised MAP Inference for Image Super-resolution" (Sønderby et al. 2017), section 3.3.1. As long as it bridges the
gaps between clusters the critic sees how much lies in each, and the generator can move some over; what it has learnt
then is made sharper as the noise goes. Noise of one strength hides all that is finer, so each row has its own.
"""

import math

import torch
from torch import Tensor

RANGE = math.exp(2)  # from the weakest to the strongest


def draw(strongest: float, shape: tuple[int, ...]) -> Tensor:
    """Normal noise float32 [B, *], by chance from torch's global random state.

    A row's standard deviation is drawn evenly in its logarithm from a RANGE-th of `strongest` up to it.
    """
    strength = strongest * RANGE ** -torch.rand(shape[0], *[1] * (len(shape) - 1))
    return strength * torch.randn(shape)
