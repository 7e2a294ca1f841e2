"""The games a generator and a critic play, and the penalty that keeps them stable. Scores are float32 [B], any real.

Each loss takes the scores of reals and of fakes and returns a scalar.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(NamedTuple):
    """What each player minimises, as functions of (scores of reals, scores of fakes)."""

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


# "Generative Adversarial Networks" (Goodfellow et al. 2014), section 3: the critic's score is the logit of being real,
# and the generator maximises log D(G(z)) instead of minimising log(1 - D(G(z))).
non_saturating = Loss(
    critic=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
    generator=lambda real, fake: F.softplus(-fake).mean(),
)

# "The GAN is dead; long live the GAN!" (Huang et al. 2024), equation 2, after Jolicoeur-Martineau 2018: a fake is
# judged against the real it is paired with. At equilibrium both losses are log 2.
relativistic = Loss(
    critic=lambda real, fake: F.softplus(fake - real).mean(),
    generator=lambda real, fake: F.softplus(real - fake).mean(),
)

LOSSES = {"non-saturating": non_saturating, "relativistic": relativistic}


def zero_centred_penalty(score: Tensor, sample: Tensor) -> Tensor:
    """Squared norm of each row's input gradient, float32 [B]: R1 on reals, R2 on fakes.

    "Which Training Methods for GANs do actually Converge?" (Mescheder et al. 2018), section 4.1. The critic's loss
    takes gamma / 2 times its mean.

    Args:
        score: [B], computed from `sample` by a critic that looks at each row by itself.
        sample: [B, ...], with requires_grad.
    """
    (gradient,) = torch.autograd.grad(score.sum(), sample, create_graph=True)
    return gradient.square().flatten(1).sum(1)
