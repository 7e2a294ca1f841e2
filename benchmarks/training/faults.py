"""Faults that runs are given, and the names by which a supervisor may call them: the list was written before the runs.

`mendable` says whether a supervisor that sees statistics alone could do better than no supervisor: by another step
size, another game, another random stream, or by keeping the best it had. Where the data are wrong from the start, or
no gradient arrives, it can only say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from latentserve.training import networks
from latentserve.training.data import Dataset, Description, digits
from latentserve.training.game import optimizers
from latentserve.training.game.step import Cost, Game, update
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop
from latentserve.training.run.checkpoint import State

# A run small enough to be made by the hundred: 63 lines of stats.jsonl.
TINY = (
    "width=64",
    "images=40000",
    "batch=64",
    "tick=640",
    "snapshot=5000",
    "lr={start: 2e-3, end: 2e-4}",
    "ema_half_life={start: 0, end: 1000}",
    "threads=1",
)
PLAIN = ("loss=non-saturating", "gamma={start: 0, end: 0}", "beta1=0.5", "lr={start: 5e-4, end: 1e-4}")
# Adam would scale the smallest gradient up again: the generator takes plain steps.
SATURATING = (
    "loss=minimax",
    "gamma={start: 0, end: 0}",
    "optimizer=sgd",
    "beta1=0.5",
    "beta2=null",
    "lr={start: 5e-2, end: 5e-2}",
    "critic={optimizer: adam, lr: {start: 2e-4, end: 2e-5}, beta1: 0.5, beta2: {start: 0.9, end: 0.99}}",
)

DISTINCT = 40  # images that are left, as copies
PRETRAINING, PRETRAINING_LR = 150, 2e-2  # steps of the critic alone: its logits of fakes end below -100
BAD_BATCHES, BAD_SINCE = 25, 0.15  # on end; share of the images before them


class Clock:
    """How far the run is, which faults in the middle of it ask; each step asks for its rows first."""

    images_seen = 0


@dataclass(frozen=True)
class Fault:
    """One way to spoil a run.

    Attributes:
        accepted: names of faults, any of which says what is wrong.
        mendable: whether the supervised run is to be better.
        overrides: of the recipe `digits`, beside TINY.
        since: share of the images after which it begins.
        data: makes the spoilt data of the training data.
        inject: spoils the loop while it runs.
    """

    accepted: tuple[str, ...]
    mendable: bool
    overrides: tuple[str, ...] = ()
    since: float = 0.0
    data: Callable[[Dataset, int], Dataset] = lambda dataset, seed: dataset
    inject: Callable[[Config, Dataset, Clock], Any] | None = None


def duplicated(dataset: Dataset, seed: int) -> Dataset:
    """As many images as before, few of them different."""
    kept = np.random.default_rng(seed).permutation(len(dataset))[:DISTINCT]
    return dataset.subset(np.resize(kept, len(dataset)))


def unlabelled(dataset: Dataset, seed: int) -> Dataset:
    """The same images; of what class they are is known to nobody."""
    none = np.zeros_like(dataset.labels)
    return Dataset(dataset.name, dataset.samples, none, [], dataset.kind, dataset.stored_range)


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The same images, with one another's labels."""
    labels = np.random.default_rng(seed).permutation(dataset.labels)
    return Dataset(dataset.name, dataset.samples, labels, dataset.label_names, dataset.kind, dataset.stored_range)


class WithBad(Dataset):
    """Rows from `len` on are those before, lost in memory."""

    def __len__(self) -> int:
        return len(self.labels) // 2


def with_bad(dataset: Dataset, seed: int) -> Dataset:
    samples = np.concatenate([dataset.samples, np.full_like(dataset.samples, np.nan)])
    bad = WithBad(dataset.name, samples, np.tile(dataset.labels, 2), dataset.label_names)
    bad.__dict__["description"] = dataset.description
    return bad


@contextmanager
def bad_batches(config: Config, dataset: Dataset, clock: Clock) -> Iterator[None]:
    """BAD_BATCHES batches on end are not numbers, while there is still much to learn."""
    begin = int(BAD_SINCE * config.images)
    with _rows(lambda rows, at: rows + len(dataset) * (begin <= at < begin + BAD_BATCHES * config.batch), clock):
        yield


@contextmanager
def missing_classes(config: Config, dataset: Dataset, clock: Clock) -> Iterator[None]:
    """After a third of the run, half of the classes come no more; the run has no labels to tell by."""
    kept = np.flatnonzero(digits.load("train").labels < 5)
    with _rows(lambda rows, at: kept[rows % len(kept)] if at >= config.images // 3 else rows, clock):
        yield


@contextmanager
def zeroed_gradients(config: Config, dataset: Dataset, clock: Clock) -> Iterator[None]:
    """After a third of the run no gradient reaches the generator."""

    def without(costs: Any, *given: Any) -> Any:
        for cost in costs:
            lost = "generator_loss" in cost.statistics and clock.images_seen >= config.images // 3
            yield Cost(cost.total * 0.0, cost.statistics) if lost else cost

    with (
        _rows(lambda rows, at: rows, clock),
        patch.object(loop, "update", lambda optimizer, costs, *given: update(optimizer, without(costs), *given)),
    ):
        yield


@contextmanager
def saturated_critic(config: Config, dataset: Dataset, clock: Clock) -> Iterator[None]:
    """The critic begins sure of itself, after PRETRAINING steps against the untrained generator."""
    construct = loop.construct

    def saturated(config: Config, description: Description, device: torch.device) -> State:
        state = construct(config, description, device)
        game = Game(config, state.generator, state.critic, device)
        labels = torch.from_numpy(dataset.labels)
        for step in range(PRETRAINING):
            optimizers.set_schedules(state.critic_optimizer, config.critic_optimisation, 0, config.images)
            state.critic_optimizer.param_groups[0]["lr"] = PRETRAINING_LR
            rows = loop.batch_rows(len(dataset), config.batch, config.seed + 1, step * config.batch)
            parts = game.parts(torch.from_numpy(dataset.take(rows.numpy())), labels[rows], 0.0)
            update(state.critic_optimizer, (game.critic_cost(part, 0.0, False) for part in parts), 1, None)
        state.critic_optimizer = optimizers.build(config.critic_optimisation, state.critic.parameters())
        return state

    with patch.object(loop, "construct", saturated):
        yield


@contextmanager
def wide_critic(config: Config, dataset: Dataset, clock: Clock) -> Iterator[None]:
    """The critic's layers are ten times as wide."""
    build = networks.build

    def unequal(config: Config, description: Description) -> Any:
        wide = config.model_copy(update={"width": 10 * config.width})
        return build(config, description)[0], build(wide, description)[1]

    with patch.object(networks, "build", unequal):
        yield


FAULTS = {
    "learning rates x30": Fault(
        ("divergence", "worse quality", "mode collapse", "non-finite values"), True, ("lr={start: 6e-2, end: 6e-3}",)
    ),
    "batches of NaN": Fault(("non-finite values",), True, since=BAD_SINCE, data=with_bad, inject=bad_batches),
    "duplicated data": Fault(("overfitting critic", "mismatched data"), False, data=duplicated),
    "gradients zeroed": Fault(("vanishing gradients",), False, since=1 / 3, inject=zeroed_gradients),
    "minimax, critic saturated": Fault(
        ("vanishing gradients", "overpowering critic"), True, SATURATING, inject=saturated_critic
    ),
    "half of the classes missing": Fault(
        ("changed data", "mode collapse", "worse quality"), True, since=1 / 3, data=unlabelled, inject=missing_classes
    ),
    "labels shuffled": Fault(("mismatched data",), False, data=shuffled),
    "critic 10x wider": Fault(
        ("overpowering critic", "overfitting critic", "worse quality"), True, PLAIN, inject=wide_critic
    ),
}


# What the faulty runs would be like without their faults.
HEALTHY = {
    "none": Fault((), False),
    "none; no labels": Fault((), False, data=unlabelled),
    "none; non-saturating, no penalties": Fault((), False, PLAIN),
    "none; generator by SGD": Fault((), False, SATURATING),
}


@contextmanager
def _rows(changed: Callable[[NDArray[np.int64], int], NDArray[np.int64]], clock: Clock) -> Iterator[None]:
    """Change which rows a batch has, as a function of the images seen."""
    batch_rows = loop.batch_rows

    def rows(count: int, batch: int, seed: int, images_seen: int) -> torch.Tensor:
        clock.images_seen = max(clock.images_seen, images_seen)
        return torch.from_numpy(changed(batch_rows(count, batch, seed, images_seen).numpy(), images_seen))

    with patch.object(loop, "batch_rows", rows):
        yield
