"""The commands `latentserve train` and `latentserve export`. Importing this needs no torch: `--help` always works."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from training.errors import ConfigError, DivergedError, TrainingError


@contextmanager
def training_extra() -> Iterator[None]:
    """Name the extra in one line where a package that only training needs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"training", "service"}:
            raise
        raise TrainingError(f"{package} is not installed: install latentserve[training]") from None


def started_rank() -> int:
    """This process's place among those that `torchrun` started; 0 where it started none."""
    return int(os.environ["RANK"]) if int(os.environ.get("WORLD_SIZE", 1)) > 1 else 0


@contextmanager
def one_voice() -> Iterator[None]:
    """Of the processes that `torchrun` started the first says what all of them meet; others say who they are."""
    rank = started_rank()
    try:
        yield
    except (ConfigError, DivergedError):
        if rank > 0:
            sys.exit(1)
        raise
    except TrainingError as error:
        raise type(error)(f"rank {rank}: {error}" if rank > 0 else str(error)) from None


@click.command()
@click.argument("recipe", metavar="RECIPE|CONFIG.yaml")
@click.option("--data", type=click.Path(path_type=Path), help="File or folder of the data set, or hf:NAME.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one field; lr.end=1e-5 for inner ones."
)
@click.option(
    "--init",
    "weights",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Begin from these weights: a run's checkpoint.safetensors, or state dicts in .safetensors, .pt or .pth.",
)
@click.option(
    "--out", "run", required=True, type=click.Path(path_type=Path), help="Run folder; an existing one resumes."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the last line of stats.jsonl to Prometheus on 127.0.0.1 while training; 0 takes a free port.",
)
def train(
    recipe: str,
    data: Path | None,
    overrides: tuple[str, ...],
    weights: tuple[Path, ...],
    run: Path,
    metrics_port: int | None,
) -> None:
    """Train a generator and its critic; RECIPE is `digits`, `mnist` or a YAML file.

    Writes checkpoints, sample grids, a loss curve and stats.jsonl into the run folder. ^C saves; the same command
    goes on exactly where it stopped. A line of stats.jsonl holds the losses, the critic's scores and accuracy, the
    gradient norms, the diversity of the samples and the steps that were left out because they were not finite;
    --metrics-port shows the same numbers to Prometheus and changes nothing in the run.

    \b
    Examples:
      latentserve train digits --out runs/digits
      latentserve train mnist --data mnist/ --set images=800000 --out runs/mnist
      latentserve train mnist --data pictures/ --set data=files --set size=32 --out runs/pictures
      latentserve train mnist --data fonts/ --init runs/mnist/checkpoint.safetensors --out runs/fonts
      latentserve train digits --metrics-port 9101 --out runs/digits
      torchrun --nproc-per-node 2 -m training train digits --out runs/digits
    """
    with one_voice(), training_extra(), ExitStack() as stack:
        from training import metrics
        from training.config import load_config, require_fit
        from training.data import load

        config = load_config(recipe, overrides)
        dataset = load(config.data, data, size=config.size, label=config.label)
        require_fit(config, dataset.name, dataset.kind)
        sinks = []
        if metrics_port is not None and started_rank() == 0:
            sinks.append(metrics.RunMetrics(config.recipe, run.resolve().name, config.images).show)
            port = stack.enter_context(metrics.served(metrics_port))
            click.echo(f"metrics: http://{metrics.ADDRESS}:{port}/metrics", err=True)

        # torch takes seconds to import; a mistake above is told before.
        from training import loop, networks, pretrained
        from training.distributed import joined
        from training.hardware import require_hardware
        from training.interrupt import interruptible
        from training.run import images_seen, prepare

        require_hardware(config)
        networks.require_shape(config, dataset.description)
        initial = pretrained.read(weights, config, dataset.description) if weights else None
        ranks = stack.enter_context(joined(config))
        if ranks.leads:
            prepare(run, config)
        ranks.wait()
        seen = images_seen(run)
        if seen >= config.images:
            if ranks.leads:
                click.echo(f"{run}: finished after {seen:,} images; nothing left to train")
            return
        interrupt = stack.enter_context(interruptible())
        seen = loop.train(config, dataset, run, lambda: interrupt.requested, sinks, initial, ranks)
    if not ranks.leads:
        return
    if seen >= config.images:
        click.echo(f"{run}: finished after {seen:,} images; next: latentserve export {run} --out BUNDLE")
        return
    if ranks.count > 1:
        click.echo(f"{run}: saved after {seen:,} of {config.images:,} images; the same command resumes")
        return
    words = ["latentserve", "train", recipe, *(["--data", str(data)] if data else [])]
    words += [word for override in overrides for word in ("--set", override)]
    words += [word for file in weights for word in ("--init", str(file))]
    words += [*(["--metrics-port", str(metrics_port)] if metrics_port is not None else []), "--out", str(run)]
    click.echo(f"{run}: saved after {seen:,} of {config.images:,} images; resume: {shlex.join(words)}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Bundle folder to write.")
@click.option("--name", help="Name of the model; the recipe's name unless given.")
@click.option("--license", "license_id", help="Licence of the weights, as an SPDX expression.")
@click.option("--data", type=click.Path(path_type=Path), help="What it was trained on; some of it is kept.")
@click.option(
    "--reference-samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples that drift is measured against. Default: 100000, or 20000 a label; fewer of a slow generator.",
)
def export(
    run: Path, out: Path, name: str | None, license_id: str | None, data: Path | None, reference_samples: int | None
) -> None:
    """Export the averaged generator and the critic of RUN as a verified ONNX bundle.

    \b
    Example:
      latentserve export runs/digits --out bundles/digits
    """
    with training_extra():
        from training.export import export_run

        export_run(run, out, name=name, license_id=license_id, reference_samples=reference_samples, data=data)
    click.echo(f"{out}: exported; next: latentserve serve {out}")
