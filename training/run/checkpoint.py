"""The whole state of a run in one safetensors file, written atomically, so that a resumed run continues exactly.

Tensors are named `generator.*`, `critic.*`, `average.*`, `generator_optimizer.<parameter>.<moment>` (and the critic's),
`best.<network>.*` where a supervisor may go back to them, and `rng`; counters travel as JSON in the header. The order
of the data needs no state: it is a function of the seed and of the images seen. Nothing is pickled.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from latentserve.training.data import Description
from latentserve.training.errors import RunError
from latentserve.training.files import replaced
from latentserve.training.supervising import Changes

FORMAT = "latentserve-checkpoint-1"


@dataclass
class State:
    """Everything that a step of training reads and changes, beside torch's global random state."""

    generator: nn.Module
    critic: nn.Module
    ema: nn.Module  # the generator's exponential moving average: what is looked at and exported
    generator_optimizer: Optimizer
    critic_optimizer: Optimizer
    images_seen: int = 0
    seconds: float = 0.0  # spent training, over all sittings
    augmentation: float = 0.0  # probability of each alteration of what the critic sees
    pretrained: list[str] = field(default_factory=list)  # SHA-256 of the files of weights that it began from
    changes: Changes = Changes()  # noqa: RUF009, it is frozen; what the supervisor changed
    best: dict[str, Tensor] = field(default_factory=dict)  # networks that it would go back to, if it acts
    tick: dict[str, Any] = field(default_factory=dict)  # what the tick that is under way has to report, as JSON
    scalers: dict[str, GradScaler] = field(default_factory=dict)  # of the players' costs, in float16
    parts: int | None = None  # of a batch, where memory was not enough for as few as the recipe says

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All of them, by their names in a file, where the EMA is the `average`."""
        return {"generator": self.generator, "critic": self.critic, "average": self.ema}

    def tensors(self) -> dict[str, Tensor]:
        """Weights and statistics of all networks, by network and name."""
        return {
            f"{network}.{name}": tensor
            for network, module in self.networks.items()
            for name, tensor in module.state_dict().items()
        }


def save(path: Path, state: State, dataset: Description) -> None:
    """Replace the checkpoint at `path` in one step: a reader, or a crash, meets the old one or the new one.

    Raises RunError naming a file that cannot be written.
    """
    tensors = _weights(state)
    for network in ("generator", "critic"):
        optimizer: Optimizer = getattr(state, f"{network}_optimizer")
        for name, parameter in getattr(state, network).named_parameters():
            for moment, tensor in optimizer.state[parameter].items():
                tensors[f"{network}_optimizer.{name}.{moment}"] = tensor
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    header = _header(state, dataset) | {"augmentation": state.augmentation, "tick": state.tick}
    parts = {} if state.parts is None else {"parts": state.parts}
    scales = {"scales": {player: one.state_dict() for player, one in state.scalers.items()}} if state.scalers else {}
    _write(path, tensors, header | {"changes": state.changes.to_json()} | parts | scales)


def save_networks(
    path: Path, state: State, dataset: Description, networks: Sequence[str], line: Mapping[str, float]
) -> None:
    """Write some networks alone, which `load_networks` reads, with what a line of statistics says of them.

    Raises RunError naming a file that cannot be written.
    """
    tensors = {name: tensor for name, tensor in state.tensors().items() if name.partition(".")[0] in networks}
    _write(path, tensors, _header(state, dataset) | {"line": dict(line)})


def load(path: Path, state: State, dataset: Description) -> None:
    """Set `state` and torch's global random state to what `path` holds. Raises RunError naming the file."""
    header, tensors = _read(path)
    if Description(**header["dataset"]) != dataset:
        raise RunError(f"{path}: this run was trained on other data than --data holds now")
    began = header.get("pretrained", [])
    if state.pretrained and state.pretrained != began:
        raise RunError(f"{path}: this run began from other weights than --init holds now")
    for name, network in state.networks.items():
        _fill(network, tensors, name, path)
    for player in ("generator", "critic"):
        optimizer: Optimizer = getattr(state, f"{player}_optimizer")
        of_parameter = {one: group for group in optimizer.param_groups for one in group["params"]}
        for name, parameter in getattr(state, player).named_parameters():
            prefix = f"{player}_optimizer.{name}."
            optimizer.state[parameter] = {
                moment: _moment(moment, tensor, parameter, of_parameter[parameter])
                for key, tensor in tensors.items()
                if key.startswith(prefix) and (moment := key.removeprefix(prefix))
            }
    torch.set_rng_state(tensors["rng"])
    state.images_seen, state.seconds = header["images_seen"], header["seconds"]
    state.augmentation = header.get("augmentation", 0.0)
    state.changes = Changes.from_json(header.get("changes", {}))
    state.tick = header.get("tick", {})
    state.parts = header.get("parts")
    for player, scaler in state.scalers.items():
        scaler.load_state_dict(header["scales"][player])
    state.best = {
        name: torch.empty_like(tensor).copy_(tensors[f"best.{name}"])
        for name, tensor in state.tensors().items()
        if f"best.{name}" in tensors
    }
    state.pretrained = began


def description(path: Path, dataset: Description) -> Description:
    """What the run at `path` knows of its data set, if there is one and it is this one; else what is known now.

    A table's transform that is fitted again on another machine may differ in its last bits, and weights belong to one.
    """
    known = Description(**read_header(path)["dataset"]) if path.exists() else dataset
    return known if known.sha256 == dataset.sha256 else dataset


def content(state: State) -> Iterator[memoryview]:
    """The bytes of the weights, and of torch's global random state."""
    for tensor in _weights(state).values():
        yield tensor.detach().cpu().contiguous().numpy().data


def load_networks(path: Path, **networks: nn.Module) -> None:
    """Fill networks by name (`generator`, `critic`, `average`). Raises RunError naming the file."""
    _, tensors = _read(path)
    for name, network in networks.items():
        _fill(network, tensors, name, path)


def read_header(path: Path) -> dict[str, Any]:
    """The counters of a checkpoint, and the `dataset` it was trained on. Raises RunError naming the file."""
    return _read(path, tensors=False)[0]


def _moment(name: str, tensor: Tensor, parameter: Tensor, group: Mapping[str, Any]) -> Tensor:
    """A tensor of a file as the optimiser itself would have made it: where its parameter is, in the same memory layout;
    but the number of steps is a scalar, and in memory where the optimiser counts there."""
    if name != "step":
        return torch.empty_like(parameter).copy_(tensor)
    counts_there = group.get("fused") or group.get("capturable")
    return tensor.to(parameter.device) if counts_there else tensor


def _header(state: State, dataset: Description) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "images_seen": state.images_seen,
        "seconds": state.seconds,
        "pretrained": state.pretrained,
        "dataset": dataset.to_json(),
    }


def _write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replaced(path) as partial:
        try:
            save_file(contiguous, partial, metadata={"latentserve": json.dumps(header)})
        except SafetensorError as error:
            raise OSError(" ".join(str(error).split())) from None


def _weights(state: State) -> dict[str, Tensor]:
    return {"rng": torch.get_rng_state()} | state.tensors()


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("latentserve", "{}"))
            content = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if header.get("format") != FORMAT:
        raise RunError(f"{path}: not a checkpoint of this version of latentserve")
    return header, content


def _fill(network: nn.Module, tensors: dict[str, Tensor], name: str, path: Path) -> None:
    prefix = f"{name}."
    own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    try:
        network.load_state_dict(own)
    except RuntimeError:
        raise RunError(f"{path}: its `{name}` does not fit the run's configuration") from None
