"""The command `latentserve evaluate`. Importing this needs no torch: `--help` always works."""

from itertools import zip_longest
from pathlib import Path
from typing import Literal

import click

from latentserve.service.terminal.line import Line
from latentserve.training.commands import images_or_best, training_extra
from latentserve.training.errors import ReportError


@click.command()
@click.argument("subjects", metavar="RUN|BUNDLE [B]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), help="What it was trained on: `digits`, or where the data are."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for report.html and report.json.")
@click.option(
    "--samples",
    type=click.IntRange(min=20),
    default=10_000,
    show_default=True,
    help="Samples of each side; fewer where there are fewer real ones.",
)
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="Of what is drawn.")
@click.option(
    "--at",
    "ats",
    multiple=True,
    type=images_or_best,
    metavar="IMAGES|best",
    help="Of a run's networks after so many images, or its best snapshot; of the first run, and given twice of both.",
)
@click.option(
    "--features",
    "feature_files",
    multiple=True,
    metavar="FILE.onnx",
    type=click.Path(path_type=Path),
    help="Compare in a pre-trained network's features, too; a bundle's critic.onnx is one.",
)
def evaluate(
    subjects: tuple[Path, ...],
    data: Path | None,
    out: Path,
    samples: int,
    seed: int,
    ats: tuple[int | Literal["best"], ...],
    feature_files: tuple[Path, ...],
) -> None:
    """Say how good a generator is, and what is wrong with it; of two, which is better, and in what.

    Samples of a run's averaged generator, or of a bundle, are held against real ones: by statistics, each beside its
    floor, which is what other real samples get; by task; and by eye. The floor needs real samples that training has
    not seen: the data's held-out part.

    \b
    Examples:
      latentserve evaluate runs/digits --out report
      latentserve evaluate bundles/mnist --data mnist/ --out report
      latentserve evaluate runs/first runs/second --data mnist/ --out report
      latentserve evaluate runs/digits runs/digits --at 200000 --at best --out report
    """
    if len(subjects) > 2:
        raise ReportError(f"{len(subjects)} runs and bundles: one is evaluated, or two are compared")

    if len(ats) > len(subjects):
        raise ReportError(f"--at is given {len(ats)} times, for {len(subjects)} runs and bundles")

    with training_extra(), Line() as line:
        from latentserve.training.evaluation.baseline import Baseline
        from latentserve.training.evaluation.evaluate import evaluate as measure
        from latentserve.training.evaluation.findings import assess
        from latentserve.training.evaluation.progress import Progress
        from latentserve.training.evaluation.reals import load_reals, require_fit
        from latentserve.training.evaluation.report import HTML, prepare, write_report
        from latentserve.training.evaluation.statistic import compare, summary
        from latentserve.training.evaluation.subject import open_subject

        opened = [open_subject(path, at) for path, at in zip_longest(subjects, ats)]
        reals = load_reals(opened[0], data)
        for other in opened[1:]:
            require_fit(reals.train, other, str(data or "the data"))
        prepare(out)
        progress = Progress(line)
        baseline = Baseline(reals, samples, feature_files, progress)
        evaluations = [measure(subject, baseline, seed, progress) for subject in opened]
        differences = compare(*(each.statistics for each in evaluations)) if len(evaluations) == 2 else []
        progress.begin("writing the report")
        write_report(out, evaluations, baseline, differences, seed)
        for evaluation in evaluations:
            click.echo(f"{evaluation.subject.title}: {assess(evaluation).sentence}")
        if differences:
            click.echo(summary(differences, *(subject.title for subject in opened)))
    click.echo(f"{out / HTML}: open it in a browser")
