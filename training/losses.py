"""The games a generator and a critic play, and the penalty that keeps them stable. Scores are float32 [B], any real.

Each loss takes the scores of reals and of fakes and returns a scalar.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(NamedTuple):
    """What each player minimises, and when the critic is right, as functions of (scores of reals, of fakes).

    Attributes:
        critic: the critic's loss.
        generator: the generator's.
        right: which of the reals, and of the fakes, the critic takes for what they are, each bool [B]. Their means are
            its accuracies: 1 and 1 where it tells all apart, near 1/2 and 1/2 at equilibrium.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    right: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


# "Generative Adversarial Networks" (Goodfellow et al. 2014), section 3: the critic's score is the logit of being real,
# and the generator maximises log D(G(z)) instead of minimising log(1 - D(G(z))). The critic calls real what it scores
# above 0.
non_saturating = Loss(
    critic=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
    generator=lambda real, fake: F.softplus(-fake).mean(),
    right=lambda real, fake: (real > 0, fake < 0),
)

# "The GAN is dead; long live the GAN!" (Huang et al. 2024), equation 2, after Jolicoeur-Martineau 2018: a fake is
# judged against the real it is paired with. At equilibrium both losses are log 2. Only differences of scores mean
# something, so a real is taken for one where it scores above the mean of the fakes, and a fake where it scores below
# that of the reals (Jolicoeur-Martineau's relativistic average discriminator).
relativistic = Loss(
    critic=lambda real, fake: F.softplus(fake - real).mean(),
    generator=lambda real, fake: F.softplus(real - fake).mean(),
    right=lambda real, fake: (real > fake.mean(), fake < real.mean()),
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
