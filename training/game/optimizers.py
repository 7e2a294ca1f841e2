"""What moves weights: the players' optimisers, which a recipe calls adam, rmsprop and sgd, and the generator's
exponential moving average (EMA), which is looked at and exported."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.swa_utils import get_ema_multi_avg_fn

from latentserve.training.recipe.config import Cosine, Grown, Optimisation


def build(chosen: Optimisation, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """An optimiser without memory. Its step size and decays are what `set_schedules` says before each step."""
    match chosen.optimizer:
        case "adam":  # Kingma & Ba 2015
            return Adam(parameters, eps=1e-8, fused=True)
        case "rmsprop":  # Tieleman & Hinton 2012
            return RMSprop(parameters, eps=1e-8, momentum=chosen.beta1 or 0)
        case "sgd":
            return SGD(parameters, momentum=chosen.beta1 or 0)


def set_schedules(
    optimizer: Optimizer, chosen: Optimisation, images_seen: int, images: int, grown: Sequence[Grown] = ()
) -> None:
    """Set what the schedules say after `images_seen` of a run's `images`, and the budgets that it had before."""

    def scheduled(schedule: Cosine | None) -> float:
        return schedule.at(images_seen, images, grown) if schedule else 0.0

    for group in optimizer.param_groups:
        group["lr"] = scheduled(chosen.lr)
        if chosen.optimizer == "adam":
            group["betas"] = (chosen.beta1, scheduled(chosen.beta2))
        elif chosen.optimizer == "rmsprop":
            group["alpha"] = scheduled(chosen.beta2)


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """The parameters that an optimiser changes and that have a gradient."""
    return [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Euclidean norm of all gradients that an optimiser would apply, float32 []: not finite where one of them is not.

    The same as torch.nn.utils.get_total_norm, in half its time on a CPU, where a small network's step is short.
    """
    norm: Tensor = vector_norm(torch.stack([vector_norm(one.grad) for one in parameters(optimizer)]))
    return norm


class Ema:
    """ema <- decay ema + (1 - decay) generator, over parameters and statistics; counters are copied.

    It is done at each step: to look for the tensors every time would take longer than to change them.
    """

    def __init__(self, ema: nn.Module, generator: nn.Module) -> None:
        pairs = list(zip(ema.state_dict().values(), generator.state_dict().values(), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._means, self._values = [mean for mean, _ in floats], [value for _, value in floats]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def update(self, half_life: float, images: int) -> None:
        """After a step of so many images; half of what it remembers is left after `half_life` images."""
        decay = ema_decay(half_life, images)
        get_ema_multi_avg_fn(decay)(self._means, self._values, 0)  # type: ignore[no-untyped-call]
        for mean, value in self._counters:
            mean.copy_(value)


def ema_decay(half_life: float, images: int) -> float:
    """Share of the average kept in a step of so many images."""
    return 0.5 ** (images / half_life) if half_life > 0 else 0.0
