"""Networks of a run as they were at its snapshots: files to export, to evaluate, or to begin another run from.

`snapshots/<images seen>.safetensors` in the run's folder: `average.*` and `critic.*`, and in the header what a
checkpoint has there, and the `line` of statistics that was written last. There is one for each of the last `keep`
snapshots, and for the one with the least BEST of all. No run is resumed from them: they hold no optimiser.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from latentserve.training.data import Description
from latentserve.training.errors import RunError
from latentserve.training.files import named_if_not_written
from latentserve.training.run import CHECKPOINT, checkpoint, open_run
from latentserve.training.run.checkpoint import State

FOLDER, SUFFIX = "snapshots", ".safetensors"
BEST = "frechet"  # the statistic whose least value is the best, unless another is stated
NETWORKS = ("average", "critic")


class Snapshot(NamedTuple):
    """One of them, or the run's checkpoint."""

    images: int
    path: Path

    @property
    def line(self) -> dict[str, Any]:
        """The statistics of these networks; those of a checkpoint are not in it. Raises RunError naming the file."""
        return dict(checkpoint.read_header(self.path).get("line", {}))


class Choice(NamedTuple):
    """The best snapshot: of how many, and by what."""

    snapshot: Snapshot
    statistic: str
    value: float
    most: bool
    of: int

    @property
    def images(self) -> int:
        return self.snapshot.images

    @property
    def sentence(self) -> str:
        which = "most" if self.most else "least"
        return f"{self.snapshot.images:,} images: {self.statistic} {self.value:.4g}, the {which} of {self.of}"


def kept(run: Path) -> list[Snapshot]:
    """Those that are there, in their order."""
    files = (run / FOLDER).glob(f"*{SUFFIX}")
    return sorted(Snapshot(int(file.stem), file) for file in files if file.stem.isdecimal())


def save(run: Path, state: State, dataset: Description, line: Mapping[str, float], keep: int) -> None:
    """Keep the networks as they are, which `line` tells of (empty: none does), and let those go that are neither among
    the last `keep` nor the best. Raises RunError naming a file that cannot be written."""
    folder = run / FOLDER
    with named_if_not_written(folder):
        folder.mkdir(exist_ok=True)
    path = folder / f"{state.images_seen:09d}{SUFFIX}"
    checkpoint.save_networks(path, state, dataset, NETWORKS, line)
    there = kept(run)
    stay = {*there[-keep:]}
    if rated := [(its[BEST], one) for one in there if BEST in (its := one.line)]:
        stay.add(min(rated)[1])
    for one in there:
        if one not in stay:
            with named_if_not_written(one.path):
                one.path.unlink()


def best(run: Path, by: str = BEST) -> Choice:
    """The kept snapshot with the least of a statistic of `stats.jsonl`, or with `most:NAME` the most of it.

    Raises RunError: none is kept, or none has it.
    """
    which, _, name = by.rpartition(":")
    if which not in ("", "least", "most") or not name:
        raise RunError(f"--by {by}: expected NAME, least:NAME or most:NAME, of a statistic of stats.jsonl")
    there = kept(run)
    if not there:
        raise RunError(f"{run}: keeps no snapshots to choose from: train with --keep N")
    lines = [(one, one.line) for one in there]
    rated = [(line[name], one) for one, line in lines if name in line]
    if not rated:
        known = sorted({name for _, line in lines for name in line if "/" not in name} - {"images", "timestamp"})
        have = f"there are {', '.join(known)}" if known else "there are no statistics of them"
        raise RunError(f"{run}: no snapshot has a `{name}`: {have}")
    value, chosen = (max if which == "most" else min)(rated)
    return Choice(chosen, name, value, which == "most", len(rated))


def find(run: Path, at: int | None = None) -> Snapshot:
    """The networks of a run as they are, or those after so many images: images are seen a batch at a time, and those of
    400,000 are of the first step that had seen them all.

    Raises RunError: it is no run with a checkpoint, or has none of these, and which it has.
    """
    config = open_run(run)
    last = Snapshot(int(checkpoint.read_header(run / CHECKPOINT)["images_seen"]), run / CHECKPOINT)
    if at is None:
        return last
    there = [*kept(run), last]
    for one in there:
        if at <= one.images < at + config.batch:
            return one
    seen = ", ".join(f"{images:,}" for images in sorted({one.images for one in there}))
    raise RunError(f"{run}: no networks were kept after {at:,} images: there are those after {seen}")


def chosen(run: Path, at: int | Literal["best"] | None, by: str | None) -> Snapshot | Choice:
    """What a command is told with `--at` and `--by`. Raises RunError."""
    if by is not None and at != "best":
        raise RunError(f"--by {by}: says what is the best, and goes with --at best")
    if at == "best":
        open_run(run)
        return best(run, by or BEST)
    return find(run, at)
