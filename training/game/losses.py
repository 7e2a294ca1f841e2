"""The games a generator and a critic play, and the penalties that keep them stable. Scores are float32 [B], any real.

Each loss takes the scores of reals and of fakes and returns a scalar to be minimised. Below D is the critic's score, G
the generator, x a real, and s the logistic function; log s(y) = -softplus(-y) and log(1 - s(y)) = -softplus(y).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import vector_norm

from latentserve.training.recipe.choices import LOSSES, resolve


class Loss(NamedTuple):
    """What each player minimises, and when the critic is right, as functions of (scores of reals, of fakes).

    Attributes:
        critic: the critic's loss.
        generator: the generator's.
        right: which of the reals, and of the fakes, the critic takes for what they are, each bool [B]. Their means are
            its accuracies: 1 and 1 where it tells all apart, near 1/2 and 1/2 at equilibrium.
        paired: whether the generator's loss looks at reals, too.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    right: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    paired: bool = False


def beyond(threshold: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Right where scores have a zero of their own: above the threshold is real."""
    return lambda real, fake: (real > threshold, fake < threshold)


def beyond_the_others(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Right where only differences of scores mean something: a real is taken for one where it scores above the mean of
    the fakes, and a fake where it scores below that of the reals (Jolicoeur-Martineau 2018, section 4.2)."""
    return real > fake.mean(), fake < real.mean()


def lead(real: Tensor, fake: Tensor) -> Tensor:
    """How far reals score above fakes, whatever the scores' unit: E[sign(D(x) - D(G(z)))] over all pairs of scores [n]
    and [m], float64 []. 1 where the critic tells all apart, 0 where it cannot (2 AUC - 1)."""
    return (real[:, None] - fake[None, :]).sign().double().mean()


# "Generative Adversarial Networks" (Goodfellow et al. 2014), equation 1:
#   min over G, max over D of  E log s(D(x)) + E log(1 - s(D(G(z)))).
# The generator's gradient vanishes where the critic is sure of its fakes.
minimax = Loss(
    critic=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
    generator=lambda real, fake: -F.softplus(fake).mean(),
    right=beyond(0),
)

# The same paper, section 3: the generator maximises E log s(D(G(z))) instead of minimising E log(1 - s(D(G(z)))).
non_saturating = Loss(
    critic=minimax.critic,
    generator=lambda real, fake: F.softplus(-fake).mean(),
    right=beyond(0),
)

# "Wasserstein GAN" (Arjovsky et al. 2017), equation 2 and algorithm 1:
#   max over D, K-Lipschitz, of  E D(x) - E D(G(z)),  which the generator minimises.
# What keeps D Lipschitz is not here: weights clipped after each step, or `gradient_penalty`.
wasserstein = Loss(
    critic=lambda real, fake: fake.mean() - real.mean(),
    generator=lambda real, fake: -fake.mean(),
    right=beyond_the_others,
)

# "Least Squares Generative Adversarial Networks" (Mao et al. 2017), equation 9 with the targets 0 (fake) and 1 (real):
#   min over D of  1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2,  min over G of  1/2 E (D(G(z)) - 1)^2.
least_squares = Loss(
    critic=lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
    generator=lambda real, fake: (fake - 1).square().mean() / 2,
    right=beyond(0.5),
)

# "Geometric GAN" (Lim & Ye 2017); "Spectral Normalization for GANs" (Miyato et al. 2018), equations 16 and 17:
#   min over D of  E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))),  min over G of  -E D(G(z)).
hinge = Loss(
    critic=lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
    generator=lambda real, fake: -fake.mean(),
    right=beyond(0),
)

# "The GAN is dead; long live the GAN!" (Huang et al. 2024), equation 2, after Jolicoeur-Martineau 2018: a fake is
# judged against the real it is paired with. At equilibrium both losses are log 2.
#   min over D of  E softplus(D(G(z)) - D(x)),  min over G of  E softplus(D(x) - D(G(z))).
relativistic = Loss(
    critic=lambda real, fake: F.softplus(fake - real).mean(),
    generator=lambda real, fake: F.softplus(real - fake).mean(),
    right=beyond_the_others,
    paired=True,
)


def loss_named(name: str) -> Loss:
    """The one that a recipe calls so."""
    loss: Loss = resolve(LOSSES[name].loss, "loss")
    return loss


def zero_centred_penalty(score: Tensor, sample: Tensor) -> Tensor:
    """Squared norm of each score's input gradient, float32 [B]: R1 on reals, R2 on fakes.

    "Which Training Methods for GANs do actually Converge?" (Mescheder et al. 2018), section 4.1. The critic's loss
    takes gamma / 2 times its mean.

    Args:
        score: [B], computed from `sample` by a critic that looks at each row by itself.
        sample: [B, ...], with requires_grad; [m B, ...] where each score is of m rows on end.
    """
    return _input_gradient(score, sample).square().sum(1)


def one_centred_penalty(score: Tensor, sample: Tensor) -> Tensor:
    """How far each score's input gradient is from a norm of 1, squared, float32 [B]; shapes as above.

    "Improved Training of Wasserstein GANs" (Gulrajani et al. 2017), equation 3. The critic's loss takes lambda times
    its mean, over samples `between` reals and fakes.
    """
    norm: Tensor = vector_norm(_input_gradient(score, sample), dim=1)
    return (norm - 1).square()


def between(real: Tensor, fake: Tensor, place: Tensor) -> Tensor:
    """place x + (1 - place) G(z), row by row: samples [B, ...] on the lines from fakes (0) to reals (1).

    The same paper, algorithm 1, line 6; `place` [B] is drawn from U[0, 1].
    """
    return torch.lerp(fake, real, place.reshape(-1, *[1] * (real.dim() - 1)))


def _input_gradient(score: Tensor, sample: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(score.sum(), sample, create_graph=True)
    flat: Tensor = gradient.reshape(len(score), -1)
    return flat
