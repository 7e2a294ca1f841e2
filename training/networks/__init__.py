"""The networks. A generator maps (z [B, latent], label [B] int64) to a sample [B, *shape], of images in [-1, 1]; a
critic maps (sample, label) to (score [B], features [B, d]) and looks at each row by itself, so that it can score rows
in production whatever shares their batch. For data without labels there is no label. A table's networks know codes
[B, D] instead of its rows; what is exported of them knows rows."""

from types import ModuleType

import torch
from torch import nn

from latentserve.service.bundle import Column
from latentserve.training.data import Description
from latentserve.training.data.coding import Decode, Encode, RowCritic, RowGenerator
from latentserve.training.data.transform import TableTransform
from latentserve.training.game.packing import PackedCritic
from latentserve.training.networks import convolutional, dense, mixture, residual, tabular, waveform
from latentserve.training.networks.scale import ScaledCritic, ScaledGenerator
from latentserve.training.recipe.config import Config

FAMILIES: dict[str, ModuleType] = {
    "convolutional": convolutional,
    "dense": dense,
    "mixture": mixture,
    "residual": residual,
    "tabular": tabular,
    "waveform": waveform,
}


def require_shape(config: Config, dataset: Description) -> None:
    """See that the networks make samples of the data set's shape, without making them. Raises ConfigError."""
    with torch.device("meta"):
        build(config, dataset)


def build(config: Config, dataset: Description) -> tuple[nn.Module, nn.Module]:
    """Freshly initialised generator and critic for the samples and labels of a data set."""
    family = FAMILIES[config.network]
    shape, labels = dataset.shape, len(dataset.label_names)
    if dataset.transform is None:
        generator = family.Generator(config.latent, config.width, shape, labels)
    else:
        transform = TableTransform.from_json(dataset.transform)
        shape = [transform.width]
        names = [column.name for column in columns(dataset)]
        label_at = names.index(config.label) if config.label is not None else None
        generator = family.Generator(config.latent, config.width, transform, dataset.shares, label_at)
    if config.packing == 1:
        critic = family.Critic(config.width, shape, labels)
    else:
        packed = family.Critic(config.width, [config.packing * shape[0], *shape[1:]], 0)
        critic = PackedCritic(packed, shape, labels, config.packing)
    if dataset.kind in ("array", "audio") and dataset.mean is not None and dataset.std is not None:
        scale = (dataset.mean, dataset.std, shape)
        return ScaledGenerator(generator, *scale, bounded=dataset.kind == "audio"), ScaledCritic(critic, *scale)
    return generator, critic


def columns(dataset: Description) -> list[Column]:
    """A table's."""
    return [Column.model_validate(column) for column in dataset.columns or []]


def coding(dataset: Description) -> tuple[nn.Module, nn.Module]:
    """Between samples float32 [B, *shape] and what networks know, there and back: codes of a table, else the same."""
    if dataset.transform is None:
        return nn.Identity(), nn.Identity()
    transform = TableTransform.from_json(dataset.transform)
    return Encode(transform), Decode(transform)


def of_samples(generator: nn.Module, critic: nn.Module, dataset: Description) -> tuple[nn.Module, nn.Module]:
    """A pair that `build` made, as one that knows samples: a table's rows instead of their codes."""
    if dataset.transform is None:
        return generator, critic
    transform = TableTransform.from_json(dataset.transform)
    return RowGenerator(generator, transform), RowCritic(critic, transform)
