"""Networks that begin from weights of an earlier training instead of at random, to be fine-tuned. Nothing is unpickled
but tensors."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from latentserve.service.errors import one_line
from latentserve.training import networks
from latentserve.training.data import Description
from latentserve.training.errors import WeightsError
from latentserve.training.recipe.config import Config
from latentserve.training.run.checkpoint import State

PICKLED = (".pt", ".pth")

Weights = dict[str, Tensor]  # a state dict


class Pretrained(NamedTuple):
    """Weights for some of the networks (`generator`, `critic`, `average`), and the SHA-256 of each file of them."""

    weights: dict[str, Weights]
    sha256: list[str]

    def fill(self, state: State) -> None:
        """Let a run that has not begun begin from them; its optimisers know nothing of before."""
        for name, weights in self.weights.items():
            state.networks[name].load_state_dict(weights)
        state.pretrained = self.sha256


def read(paths: Sequence[Path], config: Config, dataset: Description) -> Pretrained:
    """Weights for the networks that a configuration builds for a data set.

    A file holds one network's state dict, or several, named by prefixes (`generator.`, `critic.`, `average.`), as the
    checkpoint of a run does; what else is in it is left alone. It is safetensors, or what `torch.save` wrote (.pt,
    .pth), of which `torch.load(weights_only=True)` reads tensors alone. The averaged generator is the generator, and
    the other way round, where a file has only one of them.

    Raises:
        WeightsError: A file cannot be read or has no network's weights; or a tensor, the first of which is named, is
            missing, superfluous, of another shape, or not finite.
    """
    generator, critic = networks.build(config, dataset)
    networks_of = {"generator": generator, "critic": critic, "average": generator}
    weights: dict[str, Weights] = {}
    for path in paths:
        weights |= _assigned(path, read_tensors(path), networks_of)
    return Pretrained(weights, [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])


def _assigned(path: Path, tensors: Weights, networks_of: Mapping[str, nn.Module]) -> dict[str, Weights]:
    """Each network's part of a file, which fits it."""
    own = {name: _under(tensors, name) for name in networks_of}
    assigned = {name: part for name, part in own.items() if part}
    # Names may begin like that within a network, too: one that has all of a file's names is what the file is of.
    whole = [name for name in ("generator", "critic") if tensors.keys() == networks_of[name].state_dict().keys()]
    if whole or not assigned:
        shared = {name: len(tensors.keys() & networks_of[name].state_dict().keys()) for name in ("generator", "critic")}
        if not tensors:
            raise WeightsError(f"{path}: holds no tensors")
        if not any(shared.values()):
            raise WeightsError(f"{path}: `{next(iter(tensors))}` is no tensor of the configuration's networks")
        assigned = {whole[0] if whole else max(shared, key=lambda name: shared[name]): tensors}
    for name, part in assigned.items():
        _require_fit(path, name, part, networks_of[name].state_dict())
    for one, other in (("generator", "average"), ("average", "generator")):
        if one in assigned:
            assigned.setdefault(other, assigned[one])
    return assigned


def _require_fit(path: Path, name: str, weights: Weights, wanted: Weights) -> None:
    for key, tensor in wanted.items():
        if key not in weights:
            raise WeightsError(f"{path}: no `{key}`, which the configuration's {name} has")
        if weights[key].shape != tensor.shape:
            shapes = f"{list(weights[key].shape)}; the configuration's {name} has {list(tensor.shape)}"
            raise WeightsError(f"{path}: `{key}` is {shapes}")
        if not torch.isfinite(weights[key]).all():
            raise WeightsError(f"{path}: `{key}` of the {name} holds values that are not finite")
    if extra := [key for key in weights if key not in wanted]:
        raise WeightsError(f"{path}: `{extra[0]}`, which the configuration's {name} has not")


def _under(tensors: Weights, prefix: str) -> Weights:
    return {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}


def read_tensors(path: Path) -> Weights:
    """All tensors of a file of weights, by name. Raises WeightsError naming it."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix.lower() in PICKLED:
            return dict(_flat(torch.load(path, map_location="cpu", weights_only=True)))
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    except Exception as error:  # torch fails in its own ways on files that are something else
        raise WeightsError(f"{path}: torch reads no tensors alone from it: {one_line(error)}") from None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested dictionaries, by names with dots."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
