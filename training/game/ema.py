"""The generator's exponential moving average (EMA): what is looked at and exported."""

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


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
