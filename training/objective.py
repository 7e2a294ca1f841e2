"""What a search over a recipe's fields makes as small as it can: how far samples end from reals."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from latentserve.training import networks
from latentserve.training.data import Dataset, Split, load
from latentserve.training.distributed import require_hardware
from latentserve.training.errors import DivergedError, RunError
from latentserve.training.recipe import load_config
from latentserve.training.reporting.metrics import Sink
from latentserve.training.reporting.stats import read_stats
from latentserve.training.run import held, loop, prepare
from latentserve.training.watching import held_out

LAST = 0.2  # share of a run's images whose lines count: one line is of a few hundred samples, and sways


def objective(
    recipe: str,
    overrides: Sequence[str] = (),
    data: Path | None = None,
    run: Path | None = None,
    told: Sink = lambda line: None,
) -> float:
    """Train a recipe with some fields changed, and say how many times as far from reals its samples are as other reals
    are: the mean of `frechet` over that of `frechet_floor`, of the lines of the run's last LAST. 1 is as good as real.

    Values of one data set can be compared, whatever else differs; those of two runs that differ by their seed alone
    tell how much of a difference is chance.

    Args:
        recipe: As `latentserve train` takes it: a name, or a YAML file.
        overrides: As `--set` takes them: `lr.start=1e-3`.
        data: As `--data` takes it.
        run: Folder to keep the run in, new, or one that is gone on with; None: it is not kept.
        told: Told each line of `stats.jsonl`; what it raises ends the run, and is raised here: a search that gives up
            what does badly does it so.

    Returns:
        The value; infinity of a run that diverged.

    Raises:
        TrainingError: As `latentserve train` would be told; RunError of data with too few reals to measure a distance.
    """
    config = load_config(recipe, tuple(overrides))

    def split(name: Split) -> Dataset:
        return load(config.data, data, name, **config.reading)

    dataset = split("train")
    require_hardware(config)
    config, _ = networks.with_room(config, dataset.description, overrides)
    networks.require_fit(config, dataset.description)
    with ExitStack() as stack:
        folder = run or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latentserve-"))) / "run"
        stack.enter_context(held(folder))
        config = prepare(folder, config)
        try:
            loop.train(config, dataset, folder, sinks=[told], held_out=held_out(split, dataset))
        except DivergedError:
            return math.inf
        lines = read_stats(folder / "stats.jsonl")
    return value(lines, config.images, str(data or config.data))


def value(lines: Sequence[Mapping[str, float]], images: int, source: str) -> float:
    """Of the lines of a run of so many images. Raises RunError naming the data's source: no line has a distance."""
    rated = [line for line in lines if line.get("frechet_floor", 0) > 0 and "frechet" in line]
    if not rated:
        raise RunError(f"{source}: too few samples to say how far others are from them; a search has nothing to go by")
    late = [line for line in rated if line["images"] > (1 - LAST) * images] or rated[-1:]
    return sum(line["frechet"] for line in late) / sum(line["frechet_floor"] for line in late)
