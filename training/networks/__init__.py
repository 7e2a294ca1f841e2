"""The networks. A generator maps (z [B, latent], label [B] int64) to a sample [B, *shape], of images in [-1, 1]; a
critic maps (sample, label) to (score [B], features [B, d]) and looks at each row by itself, so that it can score rows
in production whatever shares their batch. For data without labels there is no label."""

from types import ModuleType

import torch
from torch import nn

from training.config import Config
from training.data import Description
from training.networks import convolutional, dense, mixture, residual, waveform
from training.networks.scale import ScaledCritic, ScaledGenerator
from training.packing import PackedCritic

FAMILIES: dict[str, ModuleType] = {
    "convolutional": convolutional,
    "dense": dense,
    "mixture": mixture,
    "residual": residual,
    "waveform": waveform,
}


def require_shape(config: Config, dataset: Description) -> None:
    """See that the networks make samples of the data set's shape, without making them. Raises ConfigError."""
    with torch.device("meta"):
        build(config, dataset)


def build(config: Config, dataset: Description) -> tuple[nn.Module, nn.Module]:
    """Freshly initialised generator and critic for the images and labels of a data set."""
    family = FAMILIES[config.network]
    shape, labels = dataset.shape, len(dataset.label_names)
    generator = family.Generator(config.latent, config.width, shape, labels)
    if config.packing == 1:
        critic = family.Critic(config.width, shape, labels)
    else:
        packed = family.Critic(config.width, [config.packing * shape[0], *shape[1:]], 0)
        critic = PackedCritic(packed, shape, labels, config.packing)
    if dataset.kind in ("array", "audio") and dataset.mean is not None and dataset.std is not None:
        scale = (dataset.mean, dataset.std, shape)
        return ScaledGenerator(generator, *scale, bounded=dataset.kind == "audio"), ScaledCritic(critic, *scale)
    return generator, critic
