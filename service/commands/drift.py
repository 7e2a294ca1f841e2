"""`latentserve drift`: did the samples change, and whose doing is it?"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from latentserve.service.addresses import is_url
from latentserve.service.bundle import read_bundle
from latentserve.service.client import Client
from latentserve.service.drift import ROWS, SECONDS, judge_bundle
from latentserve.service.errors import InvalidError
from latentserve.service.key_option import key_option
from latentserve.service.settings import load_settings

_STATUS = {"none": 0, "not_enough_samples": 3}  # of any other cause: 1
_ANSWER_SECONDS = 10.0  # for the server's


@click.command()
@click.argument("source", metavar="BUNDLE|URL")
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Real samples of today, pictures or an .npy file: how far are they from those of the export, and from the "
    "generator's? Needs a BUNDLE that has kept real samples.",
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    metavar="N",
    help=f"Samples to draw of a BUNDLE, however long it takes [{ROWS:,}].",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help=f"The time to draw them in; a slow generator gives fewer [{SECONDS:g}, without --rows].",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as GET /v1/drift answers.")
@key_option
def drift(
    source: str, real: Path | None, rows: int | None, seconds: float | None, as_json: bool, key: str | None
) -> None:
    """Say whether the samples changed, and whose doing it is.

    The server at a URL is asked what it has seen. From a BUNDLE 20,000 samples are drawn here, or as many as 30 seconds
    allow, and judged as the server would after replaying its golden probes. A verdict needs 5,000 of them, or as many
    as the reference was made of, and 1,000 at least.

    The exit status is 0 where no change was found, 1 where one was, and 3 where nothing was judged (the cause
    not_enough_samples): then give a slow generator more --seconds.

    \b
    Example: latentserve drift demo/bundle
    """
    if not is_url(source):
        path = Path(source)
        limit = seconds or (SECONDS if rows is None else math.inf)
        models = [judge_bundle(read_bundle(path), load_settings(bundles=(path,)), real, rows or ROWS, limit)]
    elif real is not None:
        raise InvalidError("--real", "needs the bundle's folder: a server does not hand out what real data is like")
    elif rows or seconds:
        raise InvalidError("--rows" if rows else "--seconds", "is of a bundle's folder: a server has seen what it has")
    else:
        models = Client(source, timeout=_ANSWER_SECONDS, retries=0, key=key).drift()
    if as_json:
        click.echo(json.dumps({"models": models}, indent=1))
    else:
        click.echo("\n\n".join("\n".join(_described(model)) for model in models))
    statuses = {_STATUS.get(model["cause"], 1) for model in models}
    sys.exit(1 if 1 in statuses else max(statuses, default=0))


def _described(model: Mapping[str, Any]) -> Iterator[str]:
    """A model's verdict for a reader."""
    yield f"{model['model']} {model['version']}: {model['cause']}"
    yield str(model["sentence"])
    numbers = list(_numbers(model["evidence"]))
    width = max((len(name) for name, _ in numbers), default=0)
    yield from (f"  {name:<{width}}  {value}" for name, value in numbers)


def _numbers(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The numbers of most interest, as far as they are there: servers may be of another release."""
    if rows := evidence.get("rows"):
        arms = ", ".join(f"{arm} {count:,}" for arm, count in rows.items())
        yield "rows looked at", f"{sum(rows.values()):,} ({arms})"
    if weighed := evidence.get("log_evidence"):
        values = ", ".join(f"{name} {value:.1f}" for name, value in weighed.items())
        yield "log evidence", f"{values}; an alarm at {evidence['log_threshold']:.1f}"
    if left_out := evidence.get("left_out"):
        yield "left out, of too few reference samples", ", ".join(left_out)
    for name, alarm in evidence.get("alarms", {}).items():
        renewed = f", renewed {alarm['again']} times" if alarm["again"] else ""
        yield f"alarm of {name}", f"{alarm['signal']}, rows {alarm['began']:,} to {alarm['rows']:,}{renewed}"
    if failing := evidence.get("workers_whose_probes_fail"):
        yield "workers whose probes fail", str(failing)
    if lost := evidence.get("rows_not_finite"):
        yield "rows not finite", f"{lost:,}"
    if sent := evidence.get("latents_sent"):
        yield "latents sent", f"{sent:,} ({evidence['latents_repeated']:,} of them again)"
    if real := evidence.get("real"):
        yield "real samples of today", f"{real['samples']:,}"
        yield "  from the export's", f"{_interval(real['from_reference'])}, by chance {real['chance']:.2g}"
        if made := real["from_generator"]:
            yield "  from the generator's", _interval(made)
        yield "halves of the export's", _interval(real["halves"])


def _interval(distance: tuple[float, float, float]) -> str:
    value, low, high = distance
    return f"{value:.4f} ({low:.4f} to {high:.4f})"
