"""The networks. A generator maps (z [B, latent], label [B] int64) to a sample [B, *shape], of images in [-1, 1]; a
critic maps (sample, label) to (score [B], features [B, d]) and looks at each row by itself, so that it can score rows
in production whatever shares their batch. For data without labels there is no label; for data with conditions both take
a third input, condition [B, k] float32 in the data's units. A table's networks know codes [B, D] instead of its rows;
what is exported of them knows rows."""

from collections.abc import Iterable

import torch
from torch import nn

from latentserve.service.bundle import Column, Condition
from latentserve.service.errors import one_line
from latentserve.training.data import Description
from latentserve.training.data.transform import TableTransform
from latentserve.training.errors import ConfigError
from latentserve.training.networks import tabular
from latentserve.training.networks.conditions import ConditionedCritic, ConditionedGenerator, Unlabelled, joined
from latentserve.training.networks.family import Family, PackedCritic
from latentserve.training.networks.samples import Decode, Encode, RowCritic, RowGenerator, ScaledCritic, ScaledGenerator
from latentserve.training.recipe.choices import NETWORKS, resolve
from latentserve.training.recipe.config import Config

__all__ = ["Family", "build", "coding", "columns", "conditions", "of_samples", "require_fit", "with_room"]

ROOM = 64  # a latent that is chosen for a table is a multiple of it


def require_fit(config: Config, dataset: Description) -> None:
    """See that the networks make what the data set holds. Raises ConfigError naming the field to change."""
    kind = dataset.kind
    if config.augment and kind != "image":
        raise ConfigError(f"`augment`: is for images; {dataset.name} holds samples that are {kind}")
    makes = family_of(config).makes
    if kind not in makes:
        names = " or ".join(one if one == "audio" else f"{one}s" for one in makes)
        raise ConfigError(f"`network`: {config.network} makes {names}; {dataset.name} holds samples that are {kind}")
    if config.network in NETWORKS:
        with torch.device("meta"):
            build(config, dataset)
    else:
        _require_game(config, dataset)


def _require_game(config: Config, dataset: Description) -> None:
    """See that networks of somebody's own play with each other, and with the data."""
    rows, transform = 2 * config.packing, dataset.transform
    shape = [TableTransform.from_json(transform).width] if transform is not None else dataset.shape
    asked = [torch.zeros(rows, dtype=torch.int64)]
    if dataset.conditions:
        asked.append(torch.zeros(rows, len(dataset.conditions)))
    try:
        generator, critic = build(config, dataset)
        with torch.no_grad():
            sample = generator(torch.zeros(rows, config.latent), *asked)
            score, features = critic(torch.zeros(rows, *shape), *asked)
        shapes = [list(each.shape) for each in (sample, score, features)]
    except Exception as error:  # they are anybody's
        raise ConfigError(f"`network`: {config.network}: cannot be built and run: {one_line(error)}") from None
    if shapes[0] != [rows, *shape]:
        raise ConfigError(f"`network`: {config.network}: makes {shapes[0]} of {rows} z; {[rows, *shape]} is needed")
    if shapes[1] != [2] or len(shapes[2]) != 2 or shapes[2][0] != 2:
        gives = f"gives {shapes[1]} and {shapes[2]} for 2 samples; a score [2] and features [2, d] are needed"
        raise ConfigError(f"`network`: {config.network}: its critic {gives}")


def family_of(config: Config) -> Family:
    """What `network` names. Raises ConfigError where it is somebody's own and cannot be imported, or is no `Family`."""
    family: Family = resolve(NETWORKS.get(config.network, config.network), "network")
    needed = [name for name in Family._fields if name not in Family._field_defaults]
    for name in needed:
        if not hasattr(family, name):
            raise ConfigError(f"`network`: {config.network}: has no `{name}`; a Family has {', '.join(needed)}")
    return family


def with_room(config: Config, dataset: Description, overrides: Iterable[str] = ()) -> tuple[Config, str | None]:
    """The same with a latent that is large enough for a table, where the recipe's is not, and what there is to say of
    it; None: nothing is changed. A latent that `overrides` state, as `--set` takes them, stays what it is."""
    stated = any(override.partition("=")[0].strip() == "latent" for override in overrides)
    if stated or dataset.transform is None or config.network != "tabular":
        return config, None
    transform = TableTransform.from_json(dataset.transform)
    needed = tabular.least_latent(transform)
    if config.latent >= needed:
        return config, None
    room = -(-needed // ROOM) * ROOM
    said = f"{room} instead of {config.latent}: {tabular.told(transform)}; --set latent=N for another"
    return config.model_copy(update={"latent": room}), said


def build(config: Config, dataset: Description) -> tuple[nn.Module, nn.Module]:
    """Freshly initialised generator and critic for the samples, labels and conditions of a data set."""
    family = family_of(config)
    shape, labels, asked = dataset.shape, len(dataset.label_names), conditions(dataset)
    if asked and not getattr(family, "conditions", True):
        raise ConfigError(
            f"`network`: {config.network} is for data without conditions; conditions=false leaves them out"
        )
    latent = config.latent + (joined(asked) if asked else 0)
    sizes = {name: value for name, value in config.sizes.items() if name in getattr(family, "sizes", ())}
    if unused := config.sizes.keys() - sizes.keys():
        raise ConfigError(f"`{min(unused)}`: means nothing to the network {config.network}")
    if dataset.transform is None:
        generator = family.generator(latent, config.width, shape, labels, **sizes)
    else:
        transform = TableTransform.from_json(dataset.transform)
        shape = [transform.width]
        names = [column.name for column in columns(dataset)]
        label_at = names.index(config.label) if config.label is not None else None
        of_table = (config.width, transform, dataset.shares, label_at)
        if asked:
            with torch.device("meta"):  # z has to be large enough without what is joined to it
                family.generator(config.latent, *of_table)
        generator = family.generator(latent, *of_table)
    if config.packing == 1:
        critic = family.critic(config.width, shape, labels, **sizes)
    else:
        packed = family.critic(config.width, [config.packing * shape[0], *shape[1:]], 0, **sizes)
        critic = PackedCritic(packed, shape, labels, config.packing)
    if dataset.kind in ("array", "audio") and dataset.mean is not None and dataset.std is not None:
        scale = (dataset.mean, dataset.std, shape)
        generator = ScaledGenerator(generator, *scale, bounded=dataset.kind == "audio")
        critic = ScaledCritic(critic, *scale)
    if asked:
        return ConditionedGenerator(generator, asked), ConditionedCritic(critic, asked, shape, config.packing)
    return generator, critic


def columns(dataset: Description) -> list[Column]:
    """A table's."""
    return [Column.model_validate(column) for column in dataset.columns or []]


def conditions(dataset: Description) -> list[Condition]:
    """What samples are made for; none for most data."""
    return [Condition.model_validate(condition) for condition in dataset.conditions or []]


def coding(dataset: Description) -> tuple[nn.Module, nn.Module]:
    """Between samples float32 [B, *shape] and what networks know, there and back: codes of a table, else the same."""
    if dataset.transform is None:
        return nn.Identity(), nn.Identity()
    transform = TableTransform.from_json(dataset.transform)
    return Encode(transform), Decode(transform)


def of_samples(generator: nn.Module, critic: nn.Module, dataset: Description) -> tuple[nn.Module, nn.Module]:
    """A pair that `build` made, as one that knows samples, a table's rows instead of their codes, and takes what there
    is of label and condition, in this order."""
    if dataset.transform is not None:
        transform = TableTransform.from_json(dataset.transform)
        generator, critic = RowGenerator(generator, transform), RowCritic(critic, transform)
    if dataset.conditions and not dataset.label_names:
        return Unlabelled(generator), Unlabelled(critic)
    return generator, critic
