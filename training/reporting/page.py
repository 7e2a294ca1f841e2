"""A run as a page that is there while it trains: grids over time, curves, and the supervisor's journal on one axis."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentserve.service.terminal.line import duration
from latentserve.training.errors import RunError
from latentserve.training.files import replaced
from latentserve.training.recipe.config import Config
from latentserve.training.reporting import curves, strict
from latentserve.training.reporting.stats import read_stats
from latentserve.training.supervising import read_journal
from latentserve.training.supervising.words import Supervision

PAGE = "page.html"

_SECONDS = 2.0  # between two versions of it at the least, and between two looks of a browser
_GRIDS = 24  # at the most, from the first to the last
_GRID_BYTES = 8 << 20  # of all of them
_MOST_EVENTS = 100


class Page:
    """Writes the page of a run's folder: told each line of `stats.jsonl`, and at last how it ended."""

    def __init__(self, run: Path, config: Config) -> None:
        self.path = run / PAGE
        self._run, self._config = run, config
        self._lines: list[Mapping[str, float]] = [*read_stats(run / "stats.jsonl")]
        self._written = -_SECONDS
        self._template = strict.environment(Path(__file__).parent, Path(__file__).with_name("page.js"))
        self._template.filters["thousands"] = lambda number: f"{number:,}"

    def show(self, line: Mapping[str, float]) -> None:
        """Another line; the page follows, unless it was written a moment ago. Raises RunError: it cannot be written."""
        if self._lines and line["images"] <= self._lines[-1]["images"]:  # those of earlier sittings come first
            self._lines = [one for one in self._lines if one["images"] < line["images"]]
        self._lines.append(line)
        if time.monotonic() - self._written >= _SECONDS:
            self.write("training")

    def write(self, state: str) -> None:
        """The page as of now; one of a run that is over looks no further. Raises RunError."""
        last = self._lines[-1] if self._lines else {}
        seen, images = int(last.get("images", 0)), self._config.images
        try:
            supervised = Supervision(self._config.supervise, read_journal(self._run))
        except RunError as error:
            supervised = Supervision(self._config.supervise, None, str(error))
        marks = [curves.Mark(*found) for found in supervised.findings]
        reals = self._run / "reals.png"
        content = self._template.get_template("page.html.j2").render(
            name=f"{self._config.recipe} in {self._run.resolve().name}",
            state=state,
            seconds=round(_SECONDS) if state == "training" else None,
            share=100 * seen // max(1, images),
            facts=self._facts(last, state),
            trouble=self._trouble(last),
            grids=self._grids(),
            curves=curves.draw(self._lines, images, marks),
            supervised=supervised.sentence,
            events=supervised.events[-_MOST_EVENTS:],
            reals=_uri(reals.read_bytes()) if reals.exists() else None,
        )
        with replaced(self.path) as partial:
            partial.write_text(content)
        self._written = time.monotonic()

    def _facts(self, last: Mapping[str, float], state: str) -> list[tuple[str, str]]:
        seen, images = int(last.get("images", 0)), self._config.images
        facts = [("images", f"{seen:,} of {images:,}")]
        if rate := last.get("images_per_second"):
            facts.append(("images a second", f"{rate:,.0f}"))
            if state == "training":
                facts.append(("left", duration((images - seen) / rate)))
        if "seconds" in last:
            facts.append(("trained for", duration(last["seconds"])))
        return [*facts, *_figures(last)]

    def _trouble(self, last: Mapping[str, float]) -> str | None:
        skipped = int(last.get("nonfinite_steps", 0))
        return f"{skipped:,} steps of the last tick were left out: their losses were not finite." if skipped else None

    def _grids(self) -> list[dict[str, Any]]:
        """Those of the snapshots, as far apart as it takes for the page to stay small; the last is there always."""
        files = sorted(self._run.glob("samples-*.png"))
        step = -(-len(files) // _GRIDS) or 1
        while files and sum(file.stat().st_size for file in files[::-step]) > _GRID_BYTES and step < len(files):
            step *= 2
        grids = []
        for file in files[::-step][::-1]:
            images = int(file.stem.removeprefix("samples-"))
            line = next((one for one in reversed(self._lines) if one["images"] <= images), {})
            at = f"{curves.place(images, self._config.images):.1f}"
            grids.append({"images": images, "at": at, "content": _uri(file.read_bytes()), "facts": _figures(line)})
        return grids


def _figures(line: Mapping[str, float]) -> list[tuple[str, str]]:
    """What says how good it is, of a line of statistics."""
    known = [("distance", "frechet"), ("its floor", "frechet_floor"), ("diversity", "diversity")]
    return [(title, f"{line[name]:.3g}") for title, name in known if name in line]


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
