"""What families of networks have in common: what they are made of, and how labels enter them, embedded beside z and by
projection into the critic's score."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentserve.training.data.dataset import Kind


class Family(NamedTuple):
    """A generator, a critic, and what samples they are of. Anything with these attributes is one, such as a class.

    Attributes:
        generator: called with (latent, width, shape, labels): the dimension of z, the recipe's `width`, the shape of
            one sample, and how many labels there are, 0 for none. Of tables it is called with (latent, width,
            transform, shares, label_at), as `latentserve.training.networks.tabular.Generator` is.
        critic: called with (width, shape, labels).
        makes: the kinds of samples.
        conditions: whether numbers may be joined to z, before its own; anything without this attribute is taken for
            one of which they may.
        sizes: fields of a recipe that both are called with by name, too, where it states them; may be missing.
    """

    generator: Callable[..., nn.Module]
    critic: Callable[..., nn.Module]
    makes: tuple[Kind, ...]
    conditions: bool = True
    sizes: tuple[str, ...] = ()


def hidden(*widths: int) -> list[nn.Module]:
    """Fully connected layers from the first of these widths through all others, each with a leaky ReLU."""
    return [layer for sizes in pairwise(widths) for layer in (nn.Linear(*sizes), nn.LeakyReLU(0.2))]


class LabelledGenerator(nn.Module):
    """(z [B, latent], label [B] int64) -> sample, by `layers` of z and the label's embedding on end."""

    layers: nn.Module

    def __init__(self, labels: int, embedding: int) -> None:
        """`embedding` numbers for each of the `labels`; of 0 labels there is none."""
        super().__init__()
        self.embedding = nn.Embedding(labels, embedding) if labels else None

    def joined(self, z: Tensor, label: Tensor | None) -> Tensor:
        """What there is to begin from, [B, latent + embedding]."""
        return z if self.embedding is None else torch.cat([z, self.embedding(label)], dim=1)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        sample: Tensor = self.layers(self.joined(z, label))
        return sample


class ProjectionCritic(nn.Module):
    """(sample, label [B] int64) -> (score [B], features [B, d]), with the features that `layers` give.

    The label enters by projection: score = w·features + <embedding(label), features> (Miyato & Koyama 2018).
    """

    layers: nn.Module

    def project(self, features: int, labels: int) -> None:
        """Make what scores so many features; called once `layers` are there."""
        self.score = nn.Linear(features, 1)
        self.embedding = nn.Embedding(labels, features) if labels else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=features**-0.5)

    def features(self, sample: Tensor) -> Tensor:
        """[B, d]."""
        features: Tensor = self.layers(sample)
        return features

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.features(sample)
        score = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(label) * features).sum(1)
        return score, features


class PackedCritic(nn.Module):
    """(samples [B, C, ...], label [B] int64) -> (score [B/m], features [B/m, d]): each is of m rows on end, and sees
    whether they are too much alike.

    "PacGAN: The power of two samples in generative adversarial networks" (Lin et al. 2018), section 2: the samples are
    joined along their first axis (channels, columns), and nothing else changes. Such a critic cannot score a row by
    itself, which is what one is exported for: a sample packed with copies of itself would look like collapse to it.

    The labels enter by projection as in an unpacked critic, each from an embedding of its place in the pack.
    """

    first: Tensor  # row of the embedding at which the labels of each place begin, int64 [m]

    def __init__(self, critic: nn.Module, shape: list[int], labels: int, packing: int) -> None:
        """`critic` takes samples [B/m, m C, ...] without labels; `shape` is that of one sample."""
        super().__init__()
        self.critic = critic
        self.packed_shape = (packing * shape[0], *shape[1:])
        self.packing = packing
        self.embedding: nn.Embedding | None = None
        if labels:
            with torch.no_grad():
                width = critic(torch.zeros(1, *self.packed_shape))[1].shape[1]
            self.embedding = nn.Embedding(packing * labels, width)
            nn.init.normal_(self.embedding.weight, std=(packing * width) ** -0.5)
            self.register_buffer("first", torch.arange(packing) * labels, persistent=False)

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        score, features = self.critic(sample.reshape(-1, *self.packed_shape))
        if self.embedding is not None and label is not None:
            places = label.reshape(-1, self.packing) + self.first
            score = score + (self.embedding(places).sum(1) * features).sum(1)
        return score, features
