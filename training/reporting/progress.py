"""Progress of a run on the terminal."""

import math
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


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
