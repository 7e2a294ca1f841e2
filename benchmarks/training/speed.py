"""How much of a bare PyTorch loop's speed is left to our loop, with the same networks, losses and optimisers?

    python -m benchmarks training-speed [--against CHECKOUT]

The bare loop holds the data in memory as float32 and does for each batch: draw rows, latents and noise; the critic's
loss, backward, step; the generator's, for the same fakes; the averaged weights. It has no schedules, no statistics, no
check of anything, no checkpoints and nothing to look at, and is not bound to deterministic kernels. Ours is `train` of
`latentserve.training.run.loop` as the recipe has it, with a line of statistics a tick, which a supervisor reads, and a
checkpoint, samples and curves a snapshot. Both run in one process and take turns, a few steps each, so that whatever
else the machine does meets both.
`--data` is a folder of MNIST; without it the recipe `mnist` trains on random bytes of its shape, which take as long.

CHECKOUT is another one of latentserve with its .venv, such as the commit before: then `latentserve train` of both is
timed too, processes that take turns, by the seconds that `stats.jsonl` gives between its first line and its last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.commands import latentserve
from benchmarks.figures import decimals, figure, shown
from benchmarks.runner import Results, table
from latentserve.training.data import Dataset, load
from latentserve.training.game import optimizers
from latentserve.training.game.augmentation import instance_noise
from latentserve.training.game.losses import loss_named, zero_centred_penalty
from latentserve.training.game.optimizers import ema_decay
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop
from latentserve.training.run.loop import construct, train
from latentserve.training.run.steering import Steering
from latentserve.training.watching import Watch

TITLE = "Speed of training"
AIM = 0.95

Record = dict[str, Any]

# Images that each loop sees: a whole run, or where that is long as many as lie between two snapshots.
RECIPES = {"digits": 300_000, "mnist": 50_000, "ring": 320_000}
TURN = 0.5  # seconds that each loop runs before it is the other's turn, about
TIMES = 3  # that each checkout trains
WARM = 20  # steps of each before the first turn


class Bare:
    """The recipe as somebody would write it who wants nothing but the weights."""

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.config, self.loss = config, loss_named(config.loss)
        state = construct(config, dataset.description, torch.device("cpu"))
        self.generator, self.critic, self.average = state.generator, state.critic, state.ema
        self.of_generator, self.of_critic = state.generator_optimizer, state.critic_optimizer
        optimizers.set_schedules(self.of_generator, config.generator_optimisation, 0, config.images)
        optimizers.set_schedules(self.of_critic, config.critic_optimisation, 0, config.images)
        self.samples, self.labels = torch.from_numpy(dataset.take(slice(None))), torch.from_numpy(dataset.labels)
        self.weights = [(mean, now) for mean, now in zip(*self._states(), strict=True) if mean.is_floating_point()]
        self.decay = ema_decay(config.ema_half_life.end, config.batch)

    def _states(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return list(self.average.state_dict().values()), list(self.generator.state_dict().values())

    def step(self) -> None:
        config = self.config
        rows = torch.randint(len(self.samples), (config.batch,))
        real, label = self.samples[rows], self.labels[rows]
        fake = self.generator(torch.randn(config.batch, config.latent), label)

        seen_real, seen_fake = real, fake
        if config.noise.start > 0:
            seen_real = real + instance_noise(config.noise.start, real.shape)
            seen_fake = fake + instance_noise(config.noise.start, real.shape)
        critic_real = seen_real.detach().requires_grad_(config.penalised)
        critic_fake = seen_fake.detach().requires_grad_(config.penalised)
        real_score, fake_score = self.critic(critic_real, label)[0], self.critic(critic_fake, label)[0]
        loss = self.loss.critic(real_score, fake_score)
        if config.penalised:
            penalties = zero_centred_penalty(real_score, critic_real) + zero_centred_penalty(fake_score, critic_fake)
            loss = loss + config.gamma.start / 2 * penalties.mean()
        self.of_critic.zero_grad()
        loss.backward()
        self.of_critic.step()

        self.critic.requires_grad_(False)
        fake_score = self.critic(seen_fake, label)[0]
        real_score = fake_score
        if self.loss.paired:
            with torch.no_grad():
                real_score = self.critic(seen_real, label)[0]
        loss = self.loss.generator(real_score, fake_score)
        self.of_generator.zero_grad()
        loss.backward()
        self.of_generator.step()
        self.critic.requires_grad_(True)

        with torch.no_grad():
            torch._foreach_lerp_([mean for mean, _ in self.weights], [now for _, now in self.weights], 1 - self.decay)


class Clock(NamedTuple):
    """What a turn took, in seconds."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Clock:
        return cls(time.perf_counter(), time.process_time())

    def since(self, other: Clock) -> Clock:
        return Clock(self.wall - other.wall, self.processor - other.processor)


class Turns:
    """Asked by our loop after each step whether to stop; lets the bare one catch up after every few."""

    def __init__(self, bare: Bare, steps: int) -> None:
        """`steps` is how many each of them does after warming up."""
        self.bare, self.steps = bare, steps
        self.turn = 0  # steps of a turn; not known yet
        self.done = -WARM
        self.ours: list[Clock] = []
        self.theirs: list[Clock] = []
        self.sizes: list[int] = []
        self.began = Clock.now()

    def __call__(self) -> bool:
        self.done += 1
        if self.done < 0:
            return False
        if self.done == 0:
            started = Clock.now()
            self._catch_up(WARM)
            self.turn = max(1, round(TURN * WARM / Clock.now().since(started).wall))
        elif self.done % self.turn == 0 or self.done == self.steps:
            self.ours.append(Clock.now().since(self.began))
            started = Clock.now()
            size = (self.done - 1) % self.turn + 1
            self._catch_up(size)
            self.theirs.append(Clock.now().since(started))
            self.sizes.append(size)
        else:
            return False
        self.began = Clock.now()
        return self.done >= self.steps

    def _catch_up(self, steps: int) -> None:
        torch.use_deterministic_algorithms(False)
        for _ in range(steps):
            self.bare.step()
        torch.use_deterministic_algorithms(True)


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds of each call that looks at a run in training, or at what the supervisor says of it."""
    spent: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*given, **named)
            spent.append(time.perf_counter() - began)
            return result

        return call

    with (
        patch.object(Watch, "look", timed(Watch.look)),
        patch.object(Steering, "see", timed(Steering.see)),
        patch.object(loop, "layer_norms", timed(loop.layer_norms)),
    ):
        yield spent


def take_turns(recipe: str, data: Path | None, overrides: tuple[str, ...], images: int) -> Record:
    """Both loops, over so many images."""
    config = load_config(recipe, (*overrides, "supervise='act'"))
    needs_data = recipe == "mnist"
    folder = data if needs_data else None
    dataset = random_mnist() if needs_data and data is None else load(config.data, folder)
    held_out = None if needs_data and data is None else load(config.data, folder, "test")
    return {"recipe": recipe} | in_turns(config, dataset, held_out, images)


def in_turns(config: Config, dataset: Dataset, held_out: Dataset | None, images: int) -> Record:
    """Both loops of a configuration, over so many images."""
    torch.set_num_threads(config.threads)
    turns = Turns(Bare(config, dataset), steps=-(-images // config.batch))
    with tempfile.TemporaryDirectory() as run, stopwatch() as spent:
        train(config, dataset, Path(run), turns, held_out=held_out)
    # The last turn may be a few steps only, and neither a snapshot nor a tick lies in most of the others.
    whole = [at for at, size in enumerate(turns.sizes) if size == turns.turn]
    ratios = [turns.theirs[at].wall / turns.ours[at].wall for at in whole]
    record: Record = {"images": sum(turns.sizes) * config.batch, "steps_of_a_turn": turns.turn}
    for clock in Clock._fields:
        ours, bare = (sum(getattr(one, clock) for one in of) for of in (turns.ours, turns.theirs))
        record[clock] = {
            "ours_images_per_second": round(record["images"] / ours, 1),
            "bare_images_per_second": round(record["images"] / bare, 1),
            "ratio": round(bare / ours, 4),
        }
    ours = sum(turn.wall for turn in turns.ours)
    record["watching"] = round(1 - sum(spent) / ours, 4)
    return record | {"turns": len(ratios), "turn_ratios": [round(ratio, 4) for ratio in sorted(ratios)]}


def before_and_after(recipe: str, images: int, data: Path | None, overrides: tuple[str, ...], before: Path) -> Record:
    """Images a second of `latentserve train`, of both checkouts in turn."""
    words = [word for override in (*overrides, f"images={images}") for word in ("--set", override)]
    words += ["--data", str(data.resolve())] if data is not None else []
    rates: dict[str, list[float]] = {"before": [], "after": []}
    for turn in range(2 * TIMES):
        which = ("before", "after")[(turn + turn // 2) % 2]
        with tempfile.TemporaryDirectory() as run:
            checkout = before if which == "before" else None
            latentserve("train", recipe, "--out", Path(run) / "run", *words, checkout=checkout)
            lines = [json.loads(line) for line in (Path(run) / "run" / "stats.jsonl").read_text().splitlines()]
        seen, seconds = (lines[-1][key] - lines[0][key] for key in ("images", "seconds"))
        rates[which].append(round(seen / seconds, 1))
    return {"recipe": recipe, "images": images, **rates}


def random_mnist() -> Dataset:
    """Bytes of MNIST's shape."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60_000, 1, 28, 28), np.uint8)
    names = [str(digit) for digit in range(10)]
    return Dataset("random", pixels, rng.integers(0, 10, 60_000), names, stored_range=(0, 255))


def report(results: Record) -> Iterator[str]:
    """The lines of the page."""
    yield (
        "Images a second of our loop over those of a bare PyTorch loop with the same networks, losses and optimisers, "
        "which take turns in one process. *Ratio*: of all images, statistics, checkpoints and pictures of our loop "
        "included; *turns*: median of the ratios of single turns, least and greatest in brackets; *watching*: images a "
        "second of our loop, which looks at samples once a tick and has a supervisor that may act, over what they "
        f"would be without either. Aims: {AIM:g} each."
    )
    rows = []
    for record in results["records"]:
        ratios, wall = record["turn_ratios"], record["wall"]
        rows.append(
            (
                f"`{record['recipe']}`",
                record["threads"],
                f"{record['images']:,}",
                *(f"{wall[of]:,.0f}" for of in ("ours_images_per_second", "bare_images_per_second")),
                f"**{decimals(wall['ratio'], 3, AIM)}**",
                decimals(record["processor"]["ratio"], 3, AIM),
                f"{np.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {len(ratios)} turns)",
                decimals(record["watching"], 3, AIM),
            )
        )
    loops = ("recipe", "threads", "images of each", "ours, images/s", "bare, images/s")
    yield from ("", *table((*loops, "ratio", "ratio in CPU time", "turns", "watching"), rows))
    if compared := results.get("before"):
        rows = []
        for one in compared:
            ratios = figure(after / before for before, after in zip(one["before"], one["after"], strict=True))
            rows.append(
                (one["recipe"], f"{one['images']:,}", figure(one["before"]), figure(one["after"]), shown(ratios, 1))
            )
        head = ("`latentserve train`", "images", "checkout before, images/s", "this one, images/s", "ratio (aim 1)")
        yield from ("", *table(head, rows))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of MNIST")
    parser.add_argument("--recipes", choices=tuple(RECIPES), nargs="+", default=list(RECIPES))
    parser.add_argument("--threads", type=int, help="instead of the recipe's")
    parser.add_argument("--images", type=int, help="of each loop, instead of the usual")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, timed as well")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Recipe by recipe."""
    overrides = () if given.threads is None else (f"threads={given.threads}",)
    results |= {"records": [], "before": []}
    for recipe in given.recipes:
        images = given.images or RECIPES[recipe]
        record = take_turns(recipe, given.data, overrides, images)
        results["records"].append(record | {"threads": load_config(recipe, overrides).threads})
        print(json.dumps({name: value for name, value in record.items() if name != "turn_ratios"}), flush=True)
        if given.against and (recipe != "mnist" or given.data):
            data = given.data if recipe == "mnist" else None
            results["before"].append(before_and_after(recipe, images, data, overrides, given.against))
            print(results["before"][-1], flush=True)
