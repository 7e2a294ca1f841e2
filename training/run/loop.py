"""The training loop: one function, read from top to bottom."""

import copy
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from latentserve.training import networks
from latentserve.training.data import Dataset, Description
from latentserve.training.data.conditions import along
from latentserve.training.distributed import Ranks
from latentserve.training.errors import DivergedError
from latentserve.training.game import optimizers
from latentserve.training.game.augmentation import EVERY, adapt, adapt_to_unseen
from latentserve.training.game.chance import drawn_on
from latentserve.training.game.losses import lead
from latentserve.training.game.optimizers import Ema
from latentserve.training.game.step import Game, Part, Update, clip_weights, update
from latentserve.training.recipe.config import Config, Cosine, Optimisation
from latentserve.training.reporting import pictures, stats
from latentserve.training.reporting.metrics import Sink
from latentserve.training.reporting.progress import Bar, note
from latentserve.training.run import CHECKPOINT, checkpoint, snapshots
from latentserve.training.run.checkpoint import State
from latentserve.training.run.feeding import Feed
from latentserve.training.run.pretrained import Pretrained
from latentserve.training.run.splitting import Splitting
from latentserve.training.run.steering import Steering
from latentserve.training.watching import Watch, layer_norms

NONFINITE_LIMIT = 10  # steps on end that may be left out; then the weights themselves are beyond help
GRID = 64  # images, or sounds, of a grid at the least
ALONG, LINES, COLUMNS, MOST_COLUMNS = 4, 8, 8, 20  # of a grid along conditions: how many at the most, and lines of each
POINTS = 2_500  # samples of a plot
CURVES_SECONDS = 10.0  # at the least, between two drawings of the curves while a run goes on


def train(
    config: Config,
    dataset: Dataset,
    run: Path,
    interrupted: Callable[[], bool] = lambda: False,
    sinks: Sequence[Sink] = (),
    initial: Pretrained | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008, it is frozen
    held_out: Dataset | None = None,
) -> int:
    """Train until the budget is spent, or until asked to stop, and return the images seen.

    A step whose losses or gradients are not finite changes no weight and is counted.

    Args:
        config: The run. The same configuration, data and machine give the same weights.
        dataset: What to learn.
        run: Existing folder; a checkpoint in it is continued exactly, whatever interrupted it.
        interrupted: Asked between two steps; True saves and returns.
        sinks: Told each line of stats.jsonl, those of earlier sittings first. They change no weight.
        initial: What a new run's networks begin from; None: from the seed alone.
        ranks: The processes that do this together; the first of them writes, and any of them may be interrupted.
        held_out: Reals that are never trained on, to judge the run by; they change no weight, but that they decide how
            much is done to images where there is augmentation.

    Raises:
        RunError: The checkpoint is unreadable, of another data set, or of a run that began from other weights.
        DivergedError: NONFINITE_LIMIT steps on end were not finite, and no supervisor went back to better ones. The
            last checkpoint is kept.
        LostRankError: Another rank died. The last checkpoint is kept.
    """
    # The same seed gives the same weights: neither the number of threads nor the choice of kernel is left to chance.
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # costs 5 % to no end
    torch.manual_seed(config.seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a workspace

    # Construct networks, optimisers and the EMA.
    description = checkpoint.description(run / CHECKPOINT, dataset.description)
    encode, decode = networks.coding(description)
    state = construct(config, description, ranks.device)
    if initial is not None:
        initial.fill(state)
    generator, critic, ema = state.generator, state.critic, state.ema
    average = Ema(ema, generator)
    pictured = dataset.samples.ndim > 2  # each sample has a picture of its own

    def see(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples of the data set as networks see them."""
        return encode(torch.from_numpy(samples)).numpy()

    def draw(samples: NDArray[np.float32], label: NDArray[np.int64], path: Path, columns: int | None = None) -> None:
        if dataset.kind == "table":
            pictures.save_columns(decode(torch.from_numpy(samples)).numpy(), label, dataset, path)
        else:
            pictures.save_samples(samples, path, columns)

    # Continue where the run stopped.
    if (run / CHECKPOINT).exists():
        checkpoint.load(run / CHECKPOINT, state, description)
    elif ranks.leads:
        some = slice(0, 100 if pictured else POINTS)
        draw(see(dataset.take(some)), dataset.labels[some], run / "reals.png")
    lines = [line for line in stats.read_stats(run / "stats.jsonl") if line["images"] <= state.images_seen]
    begun = (config.model_dump_json().encode(), dataset.description.sha256.encode())
    content: Iterable[bytes | memoryview] = chain(begun, checkpoint.content(state))
    ranks.require_equal(content, f"{run}: rank {{}} has other settings, data or weights")
    if config.compile:
        # In place: names in a checkpoint stay what they are. The EMA stays as it is, for batches of any size.
        generator.compile()
        if config.compile is True:
            critic.compile()
    writer = stats.Stats(run / "stats.jsonl", state.images_seen, sinks) if ranks.leads else None
    sums = state.tick.get("sums", {})
    means = stats.Means(sums if ranks.leads else dict.fromkeys(sums, (0.0, 0)))
    nonfinite_steps, nonfinite_on_end = state.tick.get("nonfinite", (0, 0))
    data_seconds = 0.0

    def rows_of(seed: int, images_seen: int) -> Tensor:
        return ranks.share(batch_rows(len(dataset), config.batch, seed, images_seen))

    feed = Feed(dataset, encode, rows_of, config.batch, ranks.device)
    splitting = Splitting(state.parts or config.accumulate, config.packing, ranks)
    watch = Watch(config, dataset, held_out, see)

    # Go on with what the supervisor has changed.
    steering = Steering(config, description, run, state, lines, ranks)
    recipe, config = config, state.changes.applied_to(config)
    chosen_for, game = players(config, state), Game(config, generator, critic, ranks.device, ranks)
    seed = state.changes.seed(config.seed)

    def scheduled(schedule: str) -> float:
        value: Cosine = getattr(config, schedule)
        return value.at(state.images_seen, config.images, config.grown)

    def critic_step(parts: list[Part]) -> Update:
        keep = generators_turn and len(parts) == 1  # fakes with their graph: made once for both turns
        costs = (game.critic_cost(part, gamma, keep) for part in parts)
        return update(state.critic_optimizer, costs, len(parts), config.clip, ranks, state.scalers.get("critic"))

    def generator_step(parts: list[Part]) -> Update:
        costs = (game.generator_cost(part) for part in parts)
        return update(state.generator_optimizer, costs, len(parts), config.clip, ranks, state.scalers.get("generator"))

    curves_at = time.monotonic()
    looked = lines[-1] if lines else {}  # what is known of the networks as they are

    def snapshot(last: bool, kept: bool) -> None:
        nonlocal curves_at
        state.parts = splitting.parts if splitting.parts > config.accumulate else None
        state.tick = {"sums": means.sums(ranks), "nonfinite": (nonfinite_steps, nonfinite_on_end)}
        ranks.require_equal(checkpoint.content(state), f"{run}: not saved: rank {{}} has other weights")
        if writer is not None:
            if kept and config.keep:
                snapshots.save(run, state, description, looked, config.keep)
            checkpoint.save(run / CHECKPOINT, state, description)
        ranks.wait()
        if writer is None:
            return
        grid = Grid.of(dataset, pictured)
        made = fixed_samples(ema, config, grid)
        draw(made, grid.labels, run / f"samples-{state.images_seen:09d}.png", grid.columns)
        if last or time.monotonic() - curves_at >= CURVES_SECONDS:
            told = writer.read()
            if len(told) > 1:  # through one point goes no curve
                pictures.save_losses(told, run / "curves.png")
            curves_at = time.monotonic()

    with Bar(config.images, state.images_seen, ranks.leads) as bar:
        started, seconds_before = time.monotonic(), state.seconds
        tick_started, tick_images = started, state.images_seen
        saved_at = state.images_seen
        while state.images_seen < config.images:
            # Set what the schedules say for this step.
            gamma = scheduled("gamma")
            for optimizer, chosen in chosen_for:
                optimizers.set_schedules(optimizer, chosen, state.images_seen, config.images, config.grown)

            # Draw reals, latents for fakes of the same labels, and whatever else is left to chance.
            asked = time.monotonic()
            real, label, condition = feed(seed, state.images_seen)
            data_seconds += time.monotonic() - asked
            with drawn_on(ranks.device, seed, state.images_seen):
                parts = game.parts(real, label, state.augmentation, scheduled("noise"), condition)
            parts = splitting.cut(parts)
            generators_turn = state.images_seen // config.batch % config.n_critic == config.n_critic - 1

            # Where images are altered, see now and then what the critic makes of reals that it is never shown.
            unseen_scores: list[Tensor] = []
            if config.augment and held_out is not None and state.images_seen // config.batch % EVERY == 0:
                others = ranks.share(some_rows(len(held_out), config.batch, seed, state.images_seen)).numpy()
                numbers = held_out.conditions_of(others)
                scores = partial(
                    game.scores_of_others,
                    real=encode(torch.from_numpy(held_out.take(others))),
                    label=torch.from_numpy(held_out.labels[others]),
                    condition=None if numbers is None else torch.from_numpy(numbers),
                )
                parts, unseen_scores = splitting.until_it_fits(parts, scores)

            # Update the critic.
            parts, of_critic = splitting.until_it_fits(parts, critic_step)
            updates = {"critic": of_critic}
            finite, overflowed = updates["critic"].finite, updates["critic"].overflowed
            if finite and config.clip_weights is not None:
                clip_weights(critic, config.clip_weights)

            # Update the generator.
            if finite and generators_turn:
                critic.requires_grad_(False)
                parts, updates["generator"] = splitting.until_it_fits(parts, generator_step)
                critic.requires_grad_(True)
                finite, overflowed = updates["generator"].finite, updates["generator"].overflowed

            # Update the EMA and the augmentation, and add up what the step was like.
            for network in (generator, critic):
                ranks.average_statistics(network)
            if finite:
                if generators_turn:
                    average.update(scheduled("ema_half_life"), config.batch * config.n_critic)
                # Where the batch had to be cut into more parts meanwhile, they are of others.
                if unseen_scores and len(unseen_scores) == len(updates["critic"].statistics):
                    of_shown, of_unseen = map(ranks.mean, leads(updates["critic"].statistics, unseen_scores))
                    since = EVERY * config.batch
                    state.augmentation = adapt_to_unseen(state.augmentation, of_shown, of_unseen, since, config.images)
                elif config.augment and held_out is None:
                    right = torch.cat([part["real_accuracy"] for part in updates["critic"].statistics])
                    share_right = ranks.mean(right.double().mean().item())
                    state.augmentation = adapt(state.augmentation, share_right, config.batch)
                for player, step in updates.items():
                    means.add(**{f"{player}_gradient_norm": step.norm})
                    for part in step.statistics:
                        means.add(**part)
            nonfinite_steps += not finite and not overflowed
            nonfinite_on_end = 0 if finite or overflowed else nonfinite_on_end + 1
            diverged = nonfinite_on_end == NONFINITE_LIMIT

            state.images_seen += config.batch
            now = time.monotonic()
            state.seconds = seconds_before + now - started
            bar.step(state.images_seen)

            # Once a tick: write the statistics down.
            done = state.images_seen >= config.images
            if done or diverged or state.images_seen // config.tick > tick_images // config.tick:
                collected = means.collect(ranks)
                rate = (state.images_seen - tick_images) / (now - tick_started)
                lately = max(0, state.images_seen - watch.rows)
                shown = batch_rows(len(dataset), max(1, watch.rows), seed, lately).numpy()
                line = stats.as_line(
                    images=state.images_seen,
                    seconds=state.seconds,
                    timestamp=round(time.time()),
                    images_per_second=rate,
                    seconds_per_kimg=1000 / rate,
                    memory=memory_peak(ranks.device),
                    **({"parts": splitting.parts} if splitting.parts > config.accumulate else {}),
                    gamma=gamma,
                    **{name: scheduled(name) for name in ("lr", "beta2", "ema_half_life") if getattr(config, name)},
                    nonfinite_steps=nonfinite_steps,
                    data_seconds=data_seconds,
                    **({} if config.supervise == "off" else {"actions": state.changes.count}),
                    **watch.look(
                        critic,
                        ema,
                        game.loss.right,
                        see(dataset.take(shown)),
                        dataset.labels[shown],
                        dataset.conditions_of(shown),
                    ),
                    **layer_norms("generator", generator),
                    **layer_norms("critic", critic),
                    **({"augmentation": state.augmentation} if config.augment else {}),
                    **collected,
                )
                if writer is not None:
                    writer.append(line)
                looked = line
                bar.tick(state.images_seen, rate, note(line, nonfinite_steps))
                tick_started, tick_images, nonfinite_steps, data_seconds = now, state.images_seen, 0, 0.0

                # Let the supervisor see it, and go on with what it changes.
                changed = steering.see(line, state)
                if changed:
                    config, seed = state.changes.applied_to(recipe), state.changes.seed(recipe.seed)
                    chosen_for, game = players(config, state), Game(config, generator, critic, ranks.device, ranks)
                    diverged, nonfinite_on_end = False, 0
                    looked = {}
            if diverged:
                raise DivergedError(
                    f"{run}: diverged before {state.images_seen:,} images: losses or gradients of {NONFINITE_LIMIT} "
                    "steps on end were not finite"
                )

            # Save when it is time, and before leaving.
            overtime = config.minutes is not None and now - started > 60 * config.minutes
            ended = done or state.changes.stopped
            stopping = ranks.any(ended or overtime or interrupted())
            due = state.images_seen // config.snapshot > saved_at // config.snapshot
            if stopping or due:
                snapshot(last=stopping, kept=due or ended)
                saved_at = state.images_seen
            if stopping:
                break
    return state.images_seen


def memory_peak(device: torch.device) -> int:
    """Bytes: the most that tensors have taken on a GPU since this was asked last; else of the process, ever."""
    if device.type != "cuda":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak: int = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def construct(config: Config, dataset: Description, device: torch.device) -> State:
    """Networks at their initial weights and optimisers without memory."""
    generator, critic = networks.build(config, dataset)
    # oneDNN's and cuDNN's convolutions prefer channels last.
    generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    critic = critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = copy.deepcopy(generator).eval().requires_grad_(False)
    return State(
        generator,
        critic,
        ema,
        generator_optimizer=optimizers.build(config.generator_optimisation, generator.parameters()),
        critic_optimizer=optimizers.build(config.critic_optimisation, critic.parameters()),
        scalers={player: GradScaler(device.type) for player in ("generator", "critic")}
        if config.precision == "fp16"
        else {},
    )


def players(config: Config, state: State) -> tuple[tuple[Optimizer, Optimisation], ...]:
    """The players' optimisers, and what each of them follows."""
    return (
        (state.generator_optimizer, config.generator_optimisation),
        (state.critic_optimizer, config.critic_optimisation),
    )


def leads(parts: Sequence[Mapping[str, Tensor]], unseen: Sequence[Tensor]) -> tuple[float, float]:
    """Over a step's fakes, of reals that the critic was shown and of unseen ones, on average over its parts."""
    shown = [lead(part["real_score"], part["fake_score"]) for part in parts]
    others = [lead(scores, part["fake_score"]) for scores, part in zip(unseen, parts, strict=True)]
    return torch.stack(shown).mean().item(), torch.stack(others).mean().item()


def batch_rows(count: int, batch: int, seed: int, images_seen: int) -> Tensor:
    """Rows of the next batch, int64 [batch]: epochs follow one another without a gap, each in its own order."""
    epochs = range(images_seen // count, (images_seen + batch - 1) // count + 1)
    start = images_seen % count
    orders = [epoch_order(count, seed, epoch) for epoch in epochs]
    return torch.from_numpy(np.concatenate(orders)[start : start + batch] if orders[1:] else orders[0][start:][:batch])


def some_rows(count: int, batch: int, seed: int, images_seen: int) -> Tensor:
    """Rows int64 [batch] of a part that is not trained on, each drawn from all of them."""
    return torch.from_numpy(np.random.default_rng((seed, images_seen)).integers(count, size=batch))


@lru_cache(maxsize=20)  # two of each of ten seeds that train side by side
def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of the rows, int64 [count]: a function of the seed and of the epoch, so that it needs no state."""
    return np.random.default_rng((seed, epoch)).permutation(count)


class Grid(NamedTuple):
    """What samples are asked for that are drawn once a snapshot.

    Attributes:
        latents: int64 [n], which of a run's latents each has.
        labels: int64 [n].
        conditions: float32 [n, k]; None: there are none.
        columns: of a picture of all of them; None: it is as square as may be.
    """

    latents: NDArray[np.int64]
    labels: NDArray[np.int64]
    conditions: NDArray[np.float32] | None = None
    columns: int | None = None

    @classmethod
    def of(cls, dataset: Dataset, pictured: bool) -> "Grid":
        """As many of each label. With conditions: where each sample has a picture, each line of them is of one value,
        from line to line along one condition and then along the next, and each column of one latent and label; else
        what real samples are made for."""
        kinds = max(1, len(dataset.label_names))
        if dataset.conditions is None:
            shown = min(kinds, MOST_COLUMNS) if pictured else kinds  # of more labels, some from everywhere
            labels = np.linspace(0, kinds - 1, shown).round().astype(np.int64)
            rows = max(shown, -(-GRID // shown)) if pictured else -(-POINTS // shown)
            return cls(np.arange(shown * rows), labels.repeat(rows))
        if not pictured:
            some = np.random.default_rng(0).permutation(len(dataset))[:POINTS]
            return cls(np.arange(len(some)), dataset.labels[some], dataset.conditions_of(some))
        lines = along(dataset.conditions.described(), LINES)[:ALONG].reshape(-1, len(dataset.conditions.names))
        columns = min(max(kinds, COLUMNS), MOST_COLUMNS)
        places = np.tile(np.arange(columns), len(lines))
        return cls(places, places % kinds, lines.repeat(columns, axis=0), columns)


@torch.no_grad()
def fixed_samples(ema: nn.Module, config: Config, grid: Grid) -> NDArray[np.float32]:
    """Samples float32 [n, *shape] of a grid: a run's latents never change."""
    latents = np.random.default_rng(config.seed).standard_normal((grid.latents.max() + 1, config.latent), np.float32)
    device = next(ema.parameters()).device
    given = [each for each in (latents[grid.latents], grid.labels, grid.conditions) if each is not None]
    at_once = config.batch // config.accumulate  # as many as go through a network at once in a step
    made = []
    for start in range(0, len(grid.latents), at_once):
        part = (torch.from_numpy(each[start : start + at_once]).to(device) for each in given)
        made.append(ema(*part).float().cpu().numpy())
    return np.concatenate(made)
