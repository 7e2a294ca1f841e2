"""What a run tells while it goes on: a progress bar, one JSON line a tick, sample grids and a loss curve."""

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.training.reporting.curves import curves
from latentserve.training.reporting.metrics import Sink
from latentserve.training.run.distributed import Ranks
from latentserve.training.writing import named_if_not_written, replaced

CELL = 56  # least height of one image in a grid, in pixels
FOLD = 64  # steps whose reports are added up together: adding up costs as much for one as for all of them


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
        """Add numbers or truths; those of one name have one shape."""
        for name, value in values.items():
            pending = self._pending[name]
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
    gamma lr beta2 ema_half_life    what the schedules said at the end of the tick (of the generator's optimiser)
    nonfinite_steps           steps of the tick that were left out because a loss or a gradient was not finite
    data_seconds              of the tick, spent waiting for data
    actions                   times that the supervisor has changed the run, before this line
    diversity                 of samples of the averaged generator: `latentserve.training.watching.statistics.diversity`
    frechet                   distance of those samples, with their labels, from reals:
                              `latentserve.training.watching.space.Space`
    frechet_floor             of as many other reals: what chance makes of it, on average over ways to split them
    frechet_floor_deviation   standard deviation over those ways
    real_frechet              of as many reals, those shown last
    effective_rank            of the critic's features of the samples, over that of reals
    held_out_score held_out_accuracy    the critic's, of reals that are never shown to it
    held_out_gap              how much lower those score than reals shown last, over the lead of the latter over fakes
                              (Karras et al. 2020, equation 1): 0 where the critic has learnt, 1 by heart
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
        with replaced(path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        for line in kept:
            self._tell(line)

    def append(self, images: float, **values: float) -> None:
        """Write a line."""
        line = as_line(images, **values)
        with named_if_not_written(self.path), self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._tell(line)

    def read(self) -> list[dict[str, Any]]:
        return read_lines(self.path)

    def _tell(self, line: dict[str, Any]) -> None:
        for sink in self._sinks:
            sink(line)


def as_line(images: float, **values: float) -> dict[str, float]:
    """What is finite, as it is written: whole numbers stay as they are, others are kept to six digits."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    rounded = {name: value if isinstance(value, int) else float(f"{value:.6g}") for name, value in finite.items()}
    return {"images": images} | rounded


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a `stats.jsonl`, if there is one; the last is left out where it was cut in the middle."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def note(means: Mapping[str, float], nonfinite_steps: int) -> str:
    """What the progress says of a tick."""
    losses = " ".join(f"{player} {means.get(f'{player}_loss', math.nan):.3f}" for player in ("critic", "generator"))
    return f"{losses} · {nonfinite_steps} steps not finite" if nonfinite_steps else losses


class Bar:
    """Progress in images with rate and ETA: a live bar on a terminal, a plain line a tick anywhere else."""

    def __init__(self, images: int, images_seen: int, shown: bool = True) -> None:
        console = Console(stderr=True)
        self.images = images
        self.live, self.shown = console.is_terminal and shown, shown
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images · {task.fields[rate]:,.0f}/s · ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self.live,
        )
        self._task = self._progress.add_task("training", total=images, completed=images_seen, rate=0.0, note="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def step(self, images_seen: int) -> None:
        self._progress.update(self._task, completed=min(images_seen, self.images))

    def tick(self, images_seen: int, rate: float, note: str) -> None:
        self._progress.update(self._task, rate=rate, note=note)
        if self.shown and not self.live:
            left = max(self.images - images_seen, 0) / rate
            line = f"{images_seen:,}/{self.images:,} images  {rate:,.0f}/s  ETA {left:.0f} s  {note}"
            print(line, file=sys.stderr, flush=True)


def save_samples(samples: NDArray[np.float32], path: Path) -> None:
    """Write a picture of samples: images [N, C, H, W] as a grid, audio and series [N, C, T] as a grid of their curves,
    others [N, ...] as points, by two numbers of each."""
    if samples.ndim in (3, 4):
        save_grid(samples if samples.ndim == 4 else curves(samples), path)
        return
    from matplotlib.figure import Figure  # slow to import, and not needed for images

    numbers = samples.reshape(len(samples), -1)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axis = figure.subplots()
    axis.scatter(numbers[:, 0], numbers[:, 1] if numbers.shape[1] > 1 else np.zeros(len(numbers)), s=2, linewidths=0)
    with named_if_not_written(path):
        figure.savefig(path)


def save_grid(images: NDArray[np.float32], path: Path) -> None:
    """Write images [N, C, H, W] in [-1, 1] (C is 1, 3 or 4) as one square PNG, enlarged to be looked at."""
    sheet = np.moveaxis(contact_sheet(to_uint8(images, (-1, 1))), 0, -1)
    picture = Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet)
    scale = -(-CELL // images.shape[2])
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    with named_if_not_written(path):
        picture.save(path)


def save_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses and the critic's scores of `stats.jsonl` over images as one PNG."""
    from matplotlib.figure import Figure  # slow to import, and not needed before the first snapshot

    figure = Figure(figsize=(8, 6))
    losses, scores = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.09, top=0.96)  # a layout found by itself takes twice as long
    images = [line["images"] for line in lines]
    for axis, names in ((losses, ("critic_loss", "generator_loss")), (scores, ("real_score", "fake_score"))):
        for name in names:
            axis.plot(images, [line.get(name, math.nan) for line in lines], label=name.replace("_", " "))
        axis.legend()
        axis.grid(alpha=0.3)
    losses.set_ylabel("loss")
    scores.set_ylabel("critic's score")
    scores.set_xlabel("images seen")
    with named_if_not_written(path):
        figure.savefig(path)
