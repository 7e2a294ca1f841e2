"""Features of a network that nobody has trained: convolutions with fixed random weights.

Random features see edges and textures well enough to tell distributions apart (Naeem et al. 2020, section 4.2), need no
labels, and are the same for everybody: the weights are drawn as latents are, by `docs/latents.md`.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from latentserve.service.bundle import Latent
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.evaluation.views import Samples

CHANNELS = (16, 32, 16)
DENSE = 64
_POOLED = 2  # places along each side at the end
_AT_ONCE = 500  # rows


class RandomNetwork:
    """Images [C, H, W] through 3x3 convolutions of stride 2 with ReLU, then means over quarters: 64 features. Anything
    else through one layer of 64 such units. Weights are normal with variance 2 / inputs (He et al. 2015)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._weights: list[Tensor] = []
        if len(shape) == 3:
            inputs = shape[0]
            for layer, outputs in enumerate(CHANNELS):
                drawn = _drawn(inputs * 9, outputs, layer)
                self._weights.append(drawn.reshape(outputs, inputs, 3, 3))
                inputs = outputs
        else:
            self._weights.append(_drawn(math.prod(shape), DENSE, 0))

    @torch.no_grad()
    def features(self, seen: Samples) -> NDArray[np.float64]:
        """Float64 [n, 64], of samples [n, ...] as a view shows them."""
        return torch.cat([self._of(part) for part in torch.split(torch.from_numpy(seen), _AT_ONCE)]).double().numpy()

    def _of(self, seen: Tensor) -> Tensor:
        if seen.ndim != 4:
            return F.relu(seen.flatten(1) @ self._weights[0].T)
        for weight in self._weights:
            seen = F.relu(F.conv2d(seen, weight, stride=2, padding=1))
        return F.adaptive_avg_pool2d(seen, _POOLED).flatten(1)


def _drawn(inputs: int, outputs: int, seed: int) -> Tensor:
    return torch.from_numpy(draw_latents(Latent(dim=inputs), seed, 0, outputs)) * math.sqrt(2 / inputs)
