"""What a recipe's `network` names: a generator and a critic that go together."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from latentserve.training.data.dataset import Kind


class Family(NamedTuple):
    """A generator, a critic, and what samples they are of. Anything with these attributes is one, such as a class.

    Attributes:
        generator: called with (latent, width, shape, labels): the dimension of z, the recipe's `width`, the shape of
            one sample, and how many labels there are, 0 for none. Of tables it is called with (latent, width,
            transform, shares, label_at), as `latentserve.training.networks.tabular.Generator` is.
        critic: called with (width, shape, labels).
        makes: the kinds of samples.
    """

    generator: Callable[..., nn.Module]
    critic: Callable[..., nn.Module]
    makes: tuple[Kind, ...]
