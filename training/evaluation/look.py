"""The part of a report that is for the eye: samples by class, ways between them, nearest training samples, a quiz."""

from collections.abc import Iterator
from html import escape

import numpy as np
from numpy.typing import NDArray

from latentserve.service.sampling.latents import draw_latents
from latentserve.training.data import Dataset
from latentserve.training.evaluation import pictures
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.subject import Subject
from latentserve.training.evaluation.views import Samples

SEED = 1  # of latents that are only looked at
PER_CLASS = 10
MOST_CLASSES = 20
WAYS = 6
NEIGHBOURS = 8
QUIZ = 10  # samples of each side
_PLOTTED = 2_500
_COLUMNS = 12  # of a table that are plotted


def look(evaluation: Evaluation, baseline: Baseline) -> Iterator[str]:
    """The sections, as HTML."""
    subject, data = evaluation.subject, baseline.reals.train
    yield "<h2>Samples</h2>"
    yield _samples(evaluation, baseline)
    if data.kind == "image":
        yield "<h2>On the way from sample to sample</h2>"
        yield (
            "<p>Each row goes from one latent to another. In a good generator every step is a sample; where a picture "
            "jumps, or shows two things at once, there is a gap in what it has learnt.</p>"
        )
        yield pictures.sheet(_ways(subject), pictures.STEPS)
    yield "<h2>Nearest training samples</h2>"
    yield (
        "<p>In pairs: a generated sample, and right of it the training sample nearest to it. The first "
        f"{NEIGHBOURS} pairs are those that come nearest of {len(evaluation.nearest.row):,}, the others the first that "
        "were drawn. Equal pairs are copies.</p>"
    )
    yield _neighbours(evaluation, data)
    yield from _quiz(evaluation, baseline)


def _samples(evaluation: Evaluation, baseline: Baseline) -> str:
    subject, data = evaluation.subject, baseline.reals.train
    if data.kind == "image":
        made, names = by_class(subject)
        real = _real_by_class(baseline, names)
        kinds = f", one class a row: {escape(', '.join(names))}" if names else ""
        fakes, reals = pictures.sheet(made, PER_CLASS), pictures.sheet(real, PER_CLASS)
        return _side(f"Generated, none chosen{kinds}", fakes, "Held-out real samples", reals)
    if data.kind == "table" and data.columns is not None:
        plots = [
            pictures.histogram(baseline.reference[:, at], evaluation.samples[:, at], column)
            for at, column in enumerate(data.columns[:_COLUMNS])
        ]
        rows = ["<br>".join(pictures.each_shown(samples[:8], data)) for samples in (evaluation.samples, baseline.held)]
        return pictures.figure(plots) + _side("Generated rows, none chosen", rows[0], "Held-out real rows", rows[1])
    if data.kind == "audio":
        plots = [
            pictures.waveform(evaluation.samples, "generated"),
            pictures.waveform(baseline.held, "held-out real"),
        ]
        players = ["".join(pictures.each_shown(samples[:6], data)) for samples in (evaluation.samples, baseline.held)]
        return pictures.figure(plots, 2) + _side("Generated", players[0], "Held-out real", players[1])
    plots = [
        pictures.points(evaluation.samples[:_PLOTTED], "generated"),
        pictures.points(baseline.held[:_PLOTTED], "held-out real"),
    ]
    return pictures.figure(plots, 2) + "<p class='note'>Samples by their first two numbers.</p>"


def by_class(subject: Subject) -> tuple[Samples, list[str]]:
    """Samples, PER_CLASS of each class, and the names of these; without classes a square of samples."""
    names = (subject.labels or [])[:MOST_CLASSES]
    count = PER_CLASS * max(len(names), PER_CLASS if not names else 1)
    labels = np.repeat(np.arange(len(names)), PER_CLASS) if names else None
    return _finite(subject.make(draw_latents(subject.latent, SEED, 0, count), labels)), names


def _real_by_class(baseline: Baseline, names: list[str]) -> Samples:
    rows: list[NDArray[np.int64]] = []
    for name in names if set(names) <= set(baseline.names) else []:
        own = np.flatnonzero(baseline.held_labels == baseline.names.index(name))
        rows.append(np.resize(own, PER_CLASS) if len(own) else np.zeros(PER_CLASS, np.int64))
    chosen = np.concatenate(rows) if rows else np.arange(min(PER_CLASS**2, len(baseline.held)))
    return baseline.held[chosen]


def _ways(subject: Subject) -> Samples:
    ends = draw_latents(subject.latent, SEED + 1, 0, 2 * WAYS)
    labels = None
    if subject.labels is not None:
        labels = np.repeat(np.arange(WAYS) % len(subject.labels), pictures.STEPS)
    return _finite(subject.make(pictures.interpolations(subject.latent, WAYS, ends), labels))


def _neighbours(evaluation: Evaluation, data: Dataset) -> str:
    found = evaluation.nearest
    nearest = np.argsort(found.distance, kind="stable")[:NEIGHBOURS]
    rows = np.concatenate([nearest, np.arange(min(NEIGHBOURS, len(found.row)))])
    if data.kind == "image":
        pairs = np.stack([evaluation.samples[rows], data.take(found.row[rows])], axis=1)
        return pictures.sheet(pairs.reshape(-1, *pairs.shape[2:]), 8)
    shown = (pictures.each_shown(samples, data) for samples in (evaluation.samples[rows], data.take(found.row[rows])))
    lines = "".join(f"<tr><td>{made}</td><td>{real}</td></tr>" for made, real in zip(*shown, strict=True))
    return f"<table><tr><th>generated</th><th>nearest training sample</th></tr>{lines}</table>"


def _quiz(evaluation: Evaluation, baseline: Baseline) -> Iterator[str]:
    """Real or generated, in an order that is always the same."""
    data = baseline.reals.train
    count = min(QUIZ, len(evaluation.samples))
    shown = pictures.each_shown(np.concatenate([baseline.held[:count], evaluation.samples[:count]]), data)
    cards = list(zip(shown, ["real"] * count + ["generated"] * count, strict=True))
    yield "<h2>Real or generated?</h2>"
    yield "<p>Half of these are held-out real samples. Guess; right guesses turn green.</p>"
    yield '<div class="quiz"><p><span class="score"></span> <button class="reveal">show all answers</button></p>'
    yield '<div class="cards">'
    for at in np.random.default_rng(0).permutation(len(cards)):
        sample, answer = cards[at]
        yield (
            f'<div class="card" data-answer="{answer}"><div>{sample}</div>'
            '<button data-guess="real">real</button> <button data-guess="generated">generated</button>'
            '<div class="answer"></div></div>'
        )
    yield "</div></div>"


def _side(first: str, left: str, second: str, right: str) -> str:
    return f'<div class="side"><div><h3>{first}</h3>{left}</div><div><h3>{second}</h3>{right}</div></div>'


def _finite(samples: Samples) -> Samples:
    return np.nan_to_num(samples, nan=-1, posinf=1, neginf=-1)
