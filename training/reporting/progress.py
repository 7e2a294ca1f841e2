"""Progress of a run on the terminal."""

import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from latentserve.service.terminal.line import Line, duration


def note(means: Mapping[str, float], nonfinite_steps: int) -> str:
    """What matters of a tick: how far samples are from reals, beside what chance makes of that; losses; and trouble."""
    losses = " ".join(f"{player} {means.get(f'{player}_loss', math.nan):.3f}" for player in ("critic", "generator"))
    parts = [losses]
    if "frechet" in means:
        floor = f" (floor {means['frechet_floor']:.3g})" if "frechet_floor" in means else ""
        parts.insert(0, f"frechet {means['frechet']:.3g}{floor}")
    if nonfinite_steps:
        parts.append(f"{nonfinite_steps} steps not finite")
    if means.get("actions"):
        parts.append(f"{means['actions']:.0f} changes by the supervisor")
    return ", ".join(parts)


class Bar:
    """Progress in images with rate and estimate: a live line on a terminal, a plain line a tick anywhere else."""

    def __init__(self, images: int, images_seen: int, shown: bool = True) -> None:
        self.images, self.shown = images, shown
        self._line = Line(shown)
        self._line.begin("training", images, "images", done=images_seen)

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._line.__exit__(None, None, None)

    def step(self, images_seen: int) -> None:
        """So many images were shown."""
        self._line.at(min(images_seen, self.images))

    def tick(self, images_seen: int, rate: float, note: str) -> None:
        """A line of statistics was written: images a second, and what matters of it."""
        self._line.at(min(images_seen, self.images), note)
        if self.shown and not self._line.live:
            left = max(self.images - images_seen, 0) / rate
            speed = f"{rate:,.0f}/s  {1000 / rate:.3g} s/kimg"
            line = f"{images_seen:,}/{self.images:,} images  {speed}  ETA {duration(left)}  {note}"
            with suppress(OSError):  # of a pipe whose reader has gone, as `tee` has at ^C
                print(line, file=sys.stderr, flush=True)
