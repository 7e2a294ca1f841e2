"""The commands `latentserve train` and `latentserve export`. Importing this needs no torch: `--help` always works."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

import click

from latentserve.service.packing.progress import showing
from latentserve.service.packing.real import LEAST
from latentserve.training import launching
from latentserve.training.errors import ConfigError, DivergedError, LostRankError, RunError, TrainingError

if TYPE_CHECKING:
    from latentserve.training.fitting import Fit


@contextmanager
def training_extra() -> Iterator[None]:
    """Name the extra in one line where a package that only training needs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "latentserve":
            raise
        raise TrainingError(f"{package} is not installed: install latentserve[training]") from None


@contextmanager
def one_voice() -> Iterator[None]:
    """Of the processes that `torchrun` started the first says what all of them meet; others say who they are."""
    rank, _, _ = launching.place()
    try:
        yield
    except (ConfigError, DivergedError):
        if rank > 0:
            sys.exit(1)
        raise
    except LostRankError:
        if launching.LAUNCHED in os.environ:
            sys.exit(launching.LOST)  # whoever started this one says which was lost, and how
        raise
    except TrainingError as error:
        raise type(error)(f"rank {rank}: {error}" if rank > 0 else str(error)) from None


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within the block, ^C, SIGTERM and what else asks to stop only make the function say yes, which the loop asks
    between two steps.

    More of them change nothing: shells, wrappers and supervisors like to send two, and the second must not undo the
    save that the first asked for.
    """
    asked: list[int] = []
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if number == signal.SIGHUP:  # the terminal is gone, and to write to it would be an error
            with Path(os.devnull).open("w") as nowhere:
                for terminal in terminals:
                    os.dup2(nowhere.fileno(), terminal)

    with launching.heard(note):
        yield lambda: bool(asked)


def images_or_best(value: str) -> int | Literal["best"]:
    """What `--at` takes: the images that networks of a run had seen, or `best`."""
    if value == "best":
        return "best"
    if not value.replace("_", "").isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number of images nor `best`")
    return int(value)


def fitting(data: Path) -> "Fit":
    """The recipe for what lies there, on this machine."""
    import torch

    from latentserve.training.fitting import fit

    return fit(data, torch.cuda.is_available())


@click.command()
@click.argument("recipe", metavar="RECIPE|CONFIG.yaml|DATA")
@click.option("--data", type=click.Path(path_type=Path), help="File or folder of the data set, or hf:NAME.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one field; lr.end=1e-5 for inner ones."
)
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column of a table out.")
@click.option(
    "--types",
    multiple=True,
    metavar="COLUMN=TYPE",
    help="What a table's column holds: number, category, or how its dates are written, such as %d/%m/%Y.",
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
    "--ranks",
    "count",
    type=click.IntRange(1),
    metavar="N",
    help="Train in so many processes on this machine, one for each GPU; each takes its share of every batch.",
)
@click.option(
    "--export",
    "bundle",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Export it, too, once it is done, named as that folder.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the last line of stats.jsonl to Prometheus on 127.0.0.1 while training; 0 takes a free port.",
)
@click.option("--page", "paged", is_flag=True, help="Keep RUN/page.html up to date, to be watched in a browser.")
@click.option(
    "--track",
    "trackers",
    multiple=True,
    metavar="NAME",
    help="Show it elsewhere, too: tensorboard (into RUN/tensorboard), mlflow, wandb, or a tracker of your own.",
)
@click.option("--tensorboard", is_flag=True, help="The same as --track tensorboard.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    metavar="N",
    help="Keep the networks of the last N snapshots, and of the best one, to be exported with --at.",
)
@click.option(
    "--supervise",
    type=click.Choice(["act", "observe", "off"]),
    help="Let a supervisor change a run that fails, or only write what it would do into journal.jsonl (default).",
)
def train(
    recipe: str,
    data: Path | None,
    overrides: tuple[str, ...],
    drop: tuple[str, ...],
    types: tuple[str, ...],
    weights: tuple[Path, ...],
    run: Path,
    count: int | None,
    bundle: Path | None,
    metrics_port: int | None,
    paged: bool,
    trackers: tuple[str, ...],
    tensorboard: bool,
    keep: int | None,
    supervise: str | None,
) -> None:
    """Train a generator and its critic; RECIPE is `digits`, `mnist`, ... or a YAML file. Of DATA, a folder or a file,
    the recipe is chosen by what lies there.

    Writes checkpoints, sample grids, a loss curve and stats.jsonl into the run folder. ^C saves; the same command
    goes on exactly where it stopped. A line of stats.jsonl holds the losses, the critic's scores and accuracy, the
    gradient norms, how far samples are from reals, and more; --page, --metrics-port and --track show the same numbers
    and change nothing in the run. With more images, a run that was finished goes on, and says what becomes of its
    schedules. The journal.jsonl in its folder says what is, or would be, done about a
    fault.

    \b
    Examples:
      latentserve train digits --out runs/digits
      latentserve train pictures/ --out runs/pictures --export bundles/pictures
      latentserve train mnist --data mnist/ --set images=800000 --out runs/mnist
      latentserve train pictures-64 --data pictures/ --out runs/pictures
      latentserve train mnist --data fonts/ --init runs/mnist/checkpoint.safetensors --out runs/fonts
      latentserve train digits --page --out runs/digits
      latentserve train digits --set images=600000 --keep 5 --track tensorboard --out runs/digits
      latentserve train digits --metrics-port 9101 --out runs/digits
      latentserve train digits --supervise act --out runs/digits
      latentserve train digits --ranks 2 --set threads=1 --out runs/digits
    """
    rank, started, _ = launching.place()
    if count is not None and started not in (1, count):
        raise ConfigError(f"--ranks: {count} are asked for, and {started} were started")
    if count is not None and count > 1 and started == 1:
        sys.exit(launching.run(count, [sys.executable, "-P", "-m", "latentserve", *sys.argv[1:]]))
    with one_voice(), training_extra(), ExitStack() as stack:
        from latentserve.training.data import Dataset, Split, load, summary
        from latentserve.training.recipe import is_data, load_config

        supervised = (f"supervise='{supervise}'",) if supervise else ()
        keeping = () if keep is None else (f"keep={keep}",)
        told = [f"{name}={json.dumps(list(given))}" for name, given in (("drop", drop), ("types", types)) if given]
        chosen: tuple[str, ...] = ()
        if data is None and is_data(recipe):
            fit = fitting(Path(recipe))
            if rank == 0:
                click.echo(f"recipe: {fit.sentence}", err=True)
            recipe, data, chosen = fit.recipe, Path(recipe), fit.overrides
        config = load_config(recipe, (*chosen, *overrides, *told, *supervised, *keeping))

        def split(name: Split) -> Dataset:
            return load(config.data, data, name, **config.reading)

        dataset = split("train")
        enough = len(dataset) >= LEAST  # for a bundle to keep some
        if dataset.conditions is not None and rank == 0:
            click.echo(f"conditions: {dataset.conditions.sentence}; --set conditions=false leaves them out", err=True)
        # torch takes seconds to import; a mistake above is told before.
        from latentserve.training import networks
        from latentserve.training.distributed import joined, require_hardware
        from latentserve.training.recipe import growing
        from latentserve.training.reporting import metrics
        from latentserve.training.reporting.page import Page
        from latentserve.training.run import going_on, held, images_seen, is_over, loop, prepare, pretrained
        from latentserve.training.tracking import Tracking
        from latentserve.training.watching import held_out

        require_hardware(config)
        config, larger = networks.with_room(config, dataset.description, overrides)
        if larger is not None and rank == 0:
            click.echo(f"latent: {larger}", err=True)
        networks.require_fit(config, dataset.description)
        sinks: list[metrics.Sink] = []
        if metrics_port is not None and rank == 0:
            sinks.append(metrics.RunMetrics(config.recipe, run.resolve().name, config.images).show)
            port = stack.enter_context(metrics.served(metrics_port))
            click.echo(f"metrics: http://{metrics.ADDRESS}:{port}/metrics", err=True)
        initial = pretrained.read(weights, config, dataset.description) if weights else None
        ranks = stack.enter_context(joined(config))
        if ranks.leads:
            stack.enter_context(held(run))
            prepare(run, config)
        ranks.wait()
        config = going_on(run, config)
        if ranks.leads and config.grown and config.grown[-1].at == images_seen(run):
            for said in growing.changes(config):
                click.echo(f"longer: {said}", err=True)
        page = Page(run, config) if paged and ranks.leads else None
        if is_over(run, config):
            if page is not None:
                page.write("finished")
            seen = images_seen(run)
            how = "ended by its supervisor" if seen < config.images else "finished"
            if ranks.leads:
                click.echo(f"{run}: {how} after {seen:,} images; nothing left to train")
                if bundle is not None:
                    exported(run, bundle, data if enough else None, bundle.resolve().name)
            return
        named = (*trackers, *(["tensorboard"] if tensorboard else []))
        tracking = Tracking(named if ranks.leads else (), run, config.recipe, config.model_dump(mode="json"))
        sinks.append(tracking.show)
        if page is not None:
            page.write("training")
            sinks.append(page.show)
            click.echo(f"page: {page.path}", err=True)
        why: list[str] = []
        unseen = held_out(split, dataset, why.append)
        if ranks.leads:
            for said in summary(dataset, unseen, *why):
                click.echo(f"data: {said}", err=True)
        interrupted = stack.enter_context(interruptible())
        try:
            seen = loop.train(config, dataset, run, interrupted, sinks, initial, ranks, unseen)
        except TrainingError as error:
            if page is not None:
                page.write(f"ended: {error}")
            tracking.close("failed")
            raise
        over = is_over(run, config)
        tracking.close("finished" if over else "saved")
        if page is not None:
            page.write("finished" if over else "saved, and not finished")
    if not ranks.leads:
        return
    if over and seen < config.images:
        click.echo(f"{run}: the supervisor went back to the best samples and ended it; {run}/journal.jsonl says why")
    if over and bundle is not None:
        click.echo(f"{run}: finished after {seen:,} images")
        exported(run, bundle, data if enough else None, bundle.resolve().name)
        return
    if over:
        click.echo(f"{run}: finished after {seen:,} images; next: latentserve export {run} --out BUNDLE")
        return
    if ranks.count > 1:
        click.echo(f"{run}: saved after {seen:,} of {config.images:,} images; the same command resumes")
        return
    again = shlex.join(["latentserve", *sys.argv[1:]])
    click.echo(f"{run}: saved after {seen:,} of {config.images:,} images; resume: {again}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Bundle folder to write.")
@click.option("--name", help="Name of the model; the recipe's name unless given.")
@click.option("--license", "license_id", help="Licence of the weights, as an SPDX expression.")
@click.option("--data", type=click.Path(path_type=Path), help="What it was trained on; some of it is kept.")
@click.option(
    "--at",
    type=images_or_best,
    metavar="IMAGES|best",
    help="Of the networks after so many images, or of the best of those that --keep kept.",
)
@click.option(
    "--by",
    metavar="NAME",
    help="Statistic of stats.jsonl whose least is the best; most:NAME for its most. Default: frechet.",
)
@click.option(
    "--reference-samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples that drift is measured against. Default: 100000, or 20000 a label; fewer of a slow generator.",
)
def export(
    run: Path,
    out: Path,
    name: str | None,
    license_id: str | None,
    data: Path | None,
    at: int | Literal["best"] | None,
    by: str | None,
    reference_samples: int | None,
) -> None:
    """Export the averaged generator and the critic of RUN as a verified ONNX bundle.

    \b
    Examples:
      latentserve export runs/digits --out bundles/digits
      latentserve export runs/digits --at 200000 --out bundles/earlier
      latentserve export runs/digits --at best --out bundles/best
    """
    exported(run, out, data, name, at, by, license_id, reference_samples)


def exported(
    run: Path,
    out: Path,
    data: Path | None,
    name: str | None = None,
    at: int | Literal["best"] | None = None,
    by: str | None = None,
    license_id: str | None = None,
    reference_samples: int | None = None,
) -> None:
    """Make a bundle of a run, and say so."""
    with training_extra():
        from latentserve.training.export import export_run
        from latentserve.training.run import snapshots

        if run.is_file() or (":" in run.name and not run.exists()):
            raise RunError(
                f"{run}: not a run with a checkpoint: of a module, latentserve.export_bundle(module, ...) makes a "
                "bundle, and of an ONNX file, latentserve pack"
            )
        chosen = snapshots.chosen(run, at, by)
        if isinstance(chosen, snapshots.Choice):
            click.echo(f"the best: {chosen.sentence}", err=True)
        with showing():
            export_run(
                run,
                out,
                name=name,
                license_id=license_id,
                reference_samples=reference_samples,
                data=data,
                at=chosen.images,
            )
    click.echo(f"{out}: exported; next: latentserve serve {out}")
