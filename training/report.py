"""What a run tells while it goes on: a progress bar, one JSON line a tick, sample grids and a loss curve."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.encoding.images import contact_sheet, to_uint8

CELL = 56  # least height of one image in a grid, in pixels


class Means:
    """Means of named numbers, collected once a tick."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, **values: float) -> None:
        for name, value in values.items():
            sums = self._sums[name]
            sums[0] += value
            sums[1] += 1

    def collect(self) -> dict[str, float]:
        """The means since the last call, which are then forgotten."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums.clear()
        return means


class Stats:
    """`stats.jsonl`: one line a tick, each a flat JSON object that begins with `images`."""

    def __init__(self, path: Path, images_seen: int) -> None:
        """Open for appending after `images_seen`; later lines, left by a sitting that was not saved, are dropped."""
        self.path = path
        kept = [line for line in self.read() if line["images"] <= images_seen]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def append(self, images: int, **values: float) -> None:
        line = {"images": images} | {name: float(f"{value:.6g}") for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]


class Bar:
    """Progress in images with rate and ETA: a live bar on a terminal, a plain line a tick anywhere else."""

    def __init__(self, images: int, images_seen: int) -> None:
        console = Console(stderr=True)
        self.images = images
        self.live = console.is_terminal
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
        if not self.live:
            left = max(self.images - images_seen, 0) / rate
            line = f"{images_seen:,}/{self.images:,} images  {rate:,.0f}/s  ETA {left:.0f} s  {note}"
            print(line, file=sys.stderr, flush=True)


def save_grid(images: NDArray[np.float32], path: Path) -> None:
    """Write images [N, C, H, W] in [-1, 1] (C is 1, 3 or 4) as one square PNG, enlarged to be looked at."""
    sheet = np.moveaxis(contact_sheet(to_uint8(images, (-1, 1))), 0, -1)
    picture = Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet)
    scale = -(-CELL // images.shape[2])
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)


def save_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses and the critic's scores of `stats.jsonl` over images as one PNG."""
    from matplotlib.figure import Figure  # slow to import, and not needed before the first snapshot

    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, scores = figure.subplots(2, 1, sharex=True)
    images = [line["images"] for line in lines]
    for axis, names in ((losses, ("critic_loss", "generator_loss")), (scores, ("real_score", "fake_score"))):
        for name in names:
            axis.plot(images, [line[name] for line in lines], label=name.replace("_", " "))
        axis.legend()
        axis.grid(alpha=0.3)
    losses.set_ylabel("loss")
    scores.set_ylabel("critic's score")
    scores.set_xlabel("images seen")
    figure.savefig(path)
