"""Packing: a critic that judges m samples at once sees whether they are too much alike.

"PacGAN: The power of two samples in generative adversarial networks" (Lin et al. 2018), section 2: the samples are
joined along their first axis (channels, columns), and nothing else changes.

A packed critic cannot score a row by itself, which is what one is exported for: a sample packed with copies of itself
would look like collapse to it. So the generator of a packed run is exported without its critic.
"""

import torch
from torch import Tensor, nn


class PackedCritic(nn.Module):
    """(samples [B, C, ...], label [B] int64) -> (score [B/m], features [B/m, d]): each is of m rows on end.

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
