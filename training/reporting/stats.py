"""Statistics of a run: what is reported from anywhere within a step, its means, and a line of `stats.jsonl` a tick."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from latentserve.training.distributed import Ranks
from latentserve.training.files import append_lines, read_lines, replace_lines
from latentserve.training.reporting.metrics import Sink

FOLD = 64  # steps whose reports are added up together: adding up costs as much for one as for all of them

_collector: ContextVar[dict[str, list[Tensor]] | None] = ContextVar("_collector", default=None)


def report(name: str, value: Tensor) -> None:
    """Add the mean of a tensor of any shape to the statistics of this step.

    It comes into `stats.jsonl` under its name, averaged over the finite steps of a tick and over ranks. Outside of a
    step of training it does nothing, and it never changes what is computed.
    """
    collected = _collector.get()
    if collected is not None:
        collected[name].append(value.detach().float().mean())


@contextmanager
def collecting() -> Iterator[dict[str, Tensor]]:
    """Collect what is reported within the block; after it, the dictionary has a mean of each name, float32 []."""
    collected: dict[str, list[Tensor]] = defaultdict(list)
    means: dict[str, Tensor] = {}
    token = _collector.set(collected)
    try:
        yield means
    finally:
        _collector.reset(token)
    means |= {name: torch.stack(values).mean() for name, values in collected.items()}


class Means:
    """Means of what steps report, collected once a tick; until then it stays on its device and nobody waits for it."""

    def __init__(self, sums: Mapping[str, tuple[float, int]] = MappingProxyType({})) -> None:
        """Go on from what `sums` said."""
        self._pending: dict[str, list[Tensor]] = defaultdict(list)
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        for name, (total, count) in sums.items():
            self._sums[name], self._counts[name] = total, count

    def add(self, **values: Tensor) -> None:
        """Add numbers or truths."""
        for name, value in values.items():
            pending = self._pending[name]
            if pending and pending[-1].shape != value.shape:
                self._fold(name)  # a batch is cut into more parts than before
            pending.append(value.detach())
            if len(pending) == FOLD:
                self._fold(name)

    def sums(self, ranks: Ranks = Ranks()) -> dict[str, tuple[float, int]]:  # noqa: B008, it is frozen
        """The sum and the number of what was added on all ranks since the last `collect`, to go on from elsewhere."""
        for name in self._pending:
            self._fold(name)
        both = [[float(total), self._counts[name]] for name, total in self._sums.items()]
        totals = torch.tensor(both, dtype=torch.float64)
        ranks.add_up([totals])
        return {name: (total, int(count)) for name, (total, count) in zip(self._sums, totals.tolist(), strict=True)}

    def collect(self, ranks: Ranks = Ranks()) -> dict[str, float]:  # noqa: B008, it is frozen
        """The means since the last call, over what was added on all ranks, which are then forgotten."""
        means = {name: total / count for name, (total, count) in self.sums(ranks).items()}
        self._pending.clear()
        self._sums.clear()
        self._counts.clear()
        return means

    def _fold(self, name: str) -> None:
        pending = self._pending[name]
        if pending:
            values = torch.stack(pending)
            self._sums[name] += values.sum(dtype=torch.float64)
            self._counts[name] += values.numel()
            pending.clear()


class Stats:
    """`stats.jsonl`: one line a tick, each a flat JSON object that begins with `images`; whatever else shows a run,
    a sink, is told the same lines.

    images                    real images shown to the critic, over all sittings
    seconds                   spent training, over all sittings
    timestamp                 end of the tick's last step, in whole seconds since 1970
    images_per_second         over the tick
    seconds_per_kimg          the same as seconds for a thousand images
    memory                    bytes: the most that tensors on the GPU took in the tick; without a GPU, that the process
                              has taken so far (`ru_maxrss`)
    parts                     that a rank's share of a batch goes through the networks in, where memory made them more
                              than the recipe's
    gamma lr beta2 ema_half_life    what the schedules said at the end of the tick (of the generator's optimiser)
    nonfinite_steps           steps of the tick that were left out because a loss or a gradient was not finite
    data_seconds              of the tick, spent waiting for data
    actions                   times that the supervisor has changed the run, before this line
    diversity                 of samples of the averaged generator: `latentserve.training.watching.space.diversity`
    frechet                   distance of those samples, with their labels, from reals:
                              `latentserve.training.watching.space.Space`
    frechet_floor             of as many other reals: what chance makes of it, on average over ways to split them
    frechet_floor_deviation   standard deviation over those ways
    real_frechet              of as many reals, those shown last
    effective_rank            of the critic's features of the samples, over that of reals
    held_out_score held_out_accuracy    the critic's, of reals that are never shown to it
    held_out_gap              how much lower those score than reals shown last, over the lead of the latter over fakes
                              (Karras et al. 2020, equation 1): 0 where the critic has learnt, 1 by heart
    shown_lead held_out_lead  how far the critic puts reals shown last, and those, above fakes, E[sign(D(x) - D(G(z)))]
                              over all pairs: 1 where it tells all apart, 0 where it cannot
    <player>_gradient_norm/<layer>    of the gradient that the last step applied to one layer

    and means over the tick's other steps:

    critic_loss generator_loss    without penalties
    real_score fake_score     the critic's, in its own unit
    real_accuracy fake_accuracy    shares that the critic took for what they are:
                              `latentserve.training.game.losses.Loss.right`
    critic_gradient_norm generator_gradient_norm    Euclidean, over all of a player's parameters, penalties included,
                              before it is clipped
    r1 r2                     zero-centred gradient penalties of reals and of fakes, without their weight gamma / 2
    gradient_penalty          of wasserstein-gp: the one-centred one between reals and fakes, without its weight

    With `augment` there is, too:

    augmentation              probability of each alteration of what the critic sees, at the end of the tick

    A field that has no finite value is left out of its line.
    """

    def __init__(self, path: Path, images_seen: int, sinks: Sequence[Sink] = ()) -> None:
        """Open for appending after `images_seen`; later lines, left by a sitting that was not saved, are dropped."""
        self.path = path
        self._sinks = sinks
        kept = [line for line in self.read() if line["images"] <= images_seen]
        replace_lines(path, kept)
        self._show(kept)

    def append(self, line: Mapping[str, float]) -> None:
        """Write a line."""
        append_lines(self.path, [line])
        self._show([line])

    def read(self) -> list[dict[str, Any]]:
        return read_stats(self.path)

    def _show(self, lines: Iterable[Mapping[str, float]]) -> None:
        for line in lines:
            for sink in self._sinks:
                sink(line)


def as_line(images: float, **values: float) -> dict[str, float]:
    """What is finite, as it is written: whole numbers stay as they are, others are kept to six digits."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    rounded = {name: value if isinstance(value, int) else float(f"{value:.6g}") for name, value in finite.items()}
    return {"images": images} | rounded


def read_stats(path: Path) -> list[dict[str, Any]]:
    """The lines of a `stats.jsonl`, if there is one."""
    return [json.loads(line) for line in read_lines(path)]
