"""report.html: one file that needs no other, for a reader who knows nothing of how it was made."""

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from latentserve.training.evaluation import course, pictures
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.classes import ClassRow
from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.findings import RULES, assess
from latentserve.training.evaluation.look import by_class, look
from latentserve.training.evaluation.meanings import MEANINGS
from latentserve.training.evaluation.statistic import Difference, Statistic, summary

_MOST_ROWS = 30  # of a table of actions, columns or pairs

_HOW_TO_READ = (
    "<p>Each number stands beside its <b>floor</b>: what held-out real samples get, as many, in place of the generated "
    "ones. A generator cannot be expected to do better than that. The interval holds the number in 95 % of "
    "cases, were the evaluation done again with other samples. Numbers of different feature spaces, sample counts or "
    "programs cannot be compared with each other.</p>"
)

_HOW_IT_IS_JUDGED = (
    "<h2>How it is judged</h2><p>A generator is called good where none of these holds, usable where some do, and not "
    "good where one does seriously:</p><ul>" + "".join(f"<li>{escape(rule)}</li>" for rule in RULES) + "</ul>"
)


def page_of_one(evaluation: Evaluation, baseline: Baseline) -> str:
    """The report on one generator."""
    return _page(
        f"How good is {evaluation.subject.name}?",
        [
            _lead(evaluation),
            _warnings([*baseline.warnings, *_own_warnings(evaluation)]),
            _about(evaluation, baseline),
            *look(evaluation, baseline),
            "<h2>The numbers</h2>",
            _HOW_TO_READ,
            *_numbers(evaluation, baseline),
            *_classes(evaluation),
            *_columns(evaluation),
            *course.course(evaluation.subject),
            _HOW_IT_IS_JUDGED,
        ],
    )


def page_of_two(first: Evaluation, second: Evaluation, baseline: Baseline, differences: Sequence[Difference]) -> str:
    """The report on two generators, side by side."""
    both = (first, second)
    names = tuple(each.subject.name for each in both)
    if names[0] == names[1]:
        names = ("the first", "the second")
    lines = [
        f'<p class="verdict">{escape(summary(list(differences), *names))}</p>',
        *(_lead(each, f"<b>{escape(name)}</b>: ") for name, each in zip(names, both, strict=True)),
        _warnings([*baseline.warnings, *(line for each in both for line in _own_warnings(each))]),
    ]
    if baseline.reals.train.kind == "image":
        shown = [pictures.sheet(by_class(each.subject)[0], 10) for each in both]
        lines.append(
            '<h2>Samples</h2><div class="side">'
            + "".join(f"<div><h3>{escape(n)}</h3>{s}</div>" for n, s in zip(names, shown, strict=True))
            + "</div>"
        )
    lines += [
        "<h2>Which differences are real</h2>",
        "<p>Bold: beyond chance. Intervals are of the second less the first, wide enough for all to hold at once "
        "in 95 % of comparisons.</p>",
        _differences(differences, names),
        _HOW_TO_READ,
        *(_about(each, baseline) for each in both),
        *(part for each in both for part in course.course(each.subject)),
        _HOW_IT_IS_JUDGED,
    ]
    return _page(f"{names[0]} beside {names[1]}", lines)


def _page(title: str, sections: Sequence[str]) -> str:
    style, script = (
        files("latentserve.training.evaluation").joinpath(name).read_text() for name in ("page.css", "quiz.js")
    )
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n"
        f"<script>{script}</script></body></html>\n"
    )


def _lead(evaluation: Evaluation, before: str = "") -> str:
    """What a reader should know first: is it good, what is wrong with it, and what was done about it?"""
    verdict = assess(evaluation)
    findings = "".join(f"<li>{escape(finding.sentence)}</li>" for finding in verdict.findings)
    wrong = f" What is wrong:</p><ul>{findings}</ul>" if findings else "</p>"
    return (
        f'<div class="verdict {verdict.grade}"><p>{before}<b>{escape(verdict.opening)}</b>{wrong}'
        f"{course.supervised(evaluation.subject)}</div>"
    )


def _own_warnings(evaluation: Evaluation) -> list[str]:
    return [*evaluation.warnings, *course.warnings(evaluation.subject)]


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f"<h2>To be kept in mind</h2><ul>{items}</ul>" if items else ""


def _about(evaluation: Evaluation, baseline: Baseline) -> str:
    subject, reals = evaluation.subject, baseline.reals
    rows: dict[str, Any] = {
        "What": f"the {subject.origin} {subject.name}",
        **{key[0].upper() + key[1:]: value for key, value in subject.about.items()},
        "Samples of each side": f"{baseline.count:,}",
        "Held against": f"{len(reals.train):,} samples ({reals.splits[0]}) of {reals.train.name}",
        "Floor": f"{len(reals.held):,} held-out samples ({reals.splits[1]})",
        "SHA-256 of the training data": reals.sha256,
    }
    for space in baseline.spaces:
        rows[f"Features `{space.name}`"] = space.sentence
    lines = "".join(f"<tr><th>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>" for key, value in rows.items())
    return f"<h2>What was evaluated</h2><table>{lines}</table>"


def _numbers(evaluation: Evaluation, baseline: Baseline) -> Iterator[str]:
    for space in baseline.spaces:
        own = [each for each in evaluation.statistics if each.features == space.name]
        yield f"<h3>In the features `{escape(space.name)}`</h3><p class='note'>{escape(space.sentence)}</p>"
        yield _table(own)
    yield "<h3>By task, and by themselves</h3>"
    yield _table([each for each in evaluation.statistics if each.features is None])


def _table(statistics: Sequence[Statistic]) -> str:
    lines = "".join(
        f"<tr><td>{escape(meaning.title)}</td>"
        f"<td class='number'>{_short(each.value)}</td><td class='number'>{_short(each.floor)}</td>"
        f"<td class='number'>{_interval(each.interval)}</td><td>{meaning.better}</td>"
        f"<td class='meaning'>{escape(meaning.sentence)}</td></tr>"
        for each in statistics
        for meaning in [MEANINGS[each.name]]
    )
    head = "".join(f"<th class='number'>{word}</th>" for word in ("value", "real data (floor)", "interval"))
    return f"<table><tr><th></th>{head}<th>better</th><th>what it says</th></tr>{lines}</table>"


def _differences(differences: Sequence[Difference], names: Sequence[str]) -> str:
    better = {"first": names[0], "second": names[1], None: ""}
    lines = "".join(
        f"<tr{' class=real' if each.real else ''}><td>{escape(each.key)}</td>"
        f"<td class='number'>{_short(each.first)}</td><td class='number'>{_short(each.second)}</td>"
        f"<td class='number'>{_short(each.floor)}</td><td class='number'>{_interval(each.interval)}</td>"
        f"<td>{escape(better[each.better])}</td></tr>"
        for each in differences
    )
    head = "".join(f"<th class='number'>{escape(word)}</th>" for word in (*names, "floor", "difference"))
    return f"<table><tr><th></th>{head}<th>better</th></tr>{lines}</table>"


def _classes(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.classes:
        return
    yield "<h2>Class by class</h2>"
    yield (
        "<p>As a classifier sees them that has learnt from real samples: how many samples it takes for each class, how "
        "many of those that were asked for it recognises, how much of the real class has samples near it, and how far "
        "two samples of the class lie apart, over how far real ones do. Worst first.</p>"
    )
    lines = "".join(
        f"<tr><td>{escape(row.name)}</td><td class='number'>{row.share:.1%}</td>"
        f"<td class='number'>{row.real_share:.1%}</td>"
        f"<td class='number'>{'' if row.agreement is None else f'{row.agreement:.1%}'}</td>"
        f"<td class='number'>{row.real_agreement:.1%}</td><td class='number'>{row.coverage:.1%}</td>"
        f"<td class='number'>{'' if row.diversity is None else f'{row.diversity:.0%}'}</td></tr>"
        for row in sorted(evaluation.classes, key=_shortfall)[:_MOST_ROWS]
    )
    words = ("of samples", "of real ones", "recognised", "real ones recognised", "covered", "diversity")
    head = "".join(f"<th class='number'>{word}</th>" for word in words)
    yield f"<table><tr><th>class</th>{head}</tr>{lines}</table>"


def _shortfall(row: ClassRow) -> float:
    """What of a class is there, as a share of what should be."""
    shares = [row.share / row.real_share] if row.real_share else []
    if row.agreement is not None and row.real_agreement:
        shares.append(row.agreement / row.real_agreement)
    return min(shares, default=1.0)


def _columns(evaluation: Evaluation) -> Iterator[str]:
    for title, rows in (("Column by column", evaluation.columns), ("Pair by pair", evaluation.pairs)):
        if not rows:
            continue
        worst = sorted(rows, key=lambda row: row.floor - row.difference)[:_MOST_ROWS]
        lines = "".join(
            f"<tr><td>{escape(row.name)}</td><td class='number'>{row.difference:.1%}</td>"
            f"<td class='number'>{row.floor:.1%}</td><td class='number'>{_short(row.wasserstein)}</td></tr>"
            for row in worst
        )
        head = "<th class='number'>differ</th><th class='number'>floor</th><th class='number'>Wasserstein</th>"
        yield f"<h2>{title}</h2><p>The worst first.</p><table><tr><th></th>{head}</tr>{lines}</table>"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}"
