"""`latentserve bench`: load on a server, beside the raw engine."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from latentserve.service.addresses import is_url
from latentserve.service.benching.bare_engine import BareEngine
from latentserve.service.benching.measure import CASES, Measurement, measure
from latentserve.service.benching.table import record, table
from latentserve.service.benching.target import Target, own_server
from latentserve.service.bundle import read_bundle
from latentserve.service.client import Client, ServerError
from latentserve.service.cores import cores
from latentserve.service.errors import InvalidError, LatentserveError
from latentserve.service.key_option import key_option
from latentserve.service.settings import load_settings
from latentserve.service.terminal.line import Line

_BUSY = 0.9  # cores of the load generator, whose one thread has no more


@dataclass(frozen=True)
class _Report:
    """What was measured; `engine` is how the raw one ran."""

    source: str
    name: object
    version: object
    measurements: list[Measurement]
    engine: dict[str, object] | None = None


@click.command()
@click.argument("source", metavar="BUNDLE|URL")
@click.option("--model", metavar="NAME", help="Which model, where the server at URL has several.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Of each of five measurements."
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="File to write every figure to.")
@key_option
def bench(source: str, model: str | None, seconds: float, file: Path | None, key: str | None) -> None:
    """Measure requests/s, samples/s and latency under load.

    A BUNDLE gets a server of its own, with the settings of the environment (LATENTSERVE_THREADS, ...), and beside it
    the raw engine is measured: ONNX Runtime in a loop, with as many threads, at its best batch. At a URL the server
    that runs there is measured. Answers are raw float32. Each connection waits for its answer before it asks again;
    in the last line, requests come at random, 70 % as many as were answered before.

    \b
    Example: latentserve bench demo/bundle
    """
    if math.isnan(seconds):
        raise InvalidError("--seconds", "is not a number")
    if file is not None and (file.is_dir() or not os.access(file.parent, os.W_OK)):
        raise LatentserveError(f"{file}: cannot be written")
    with Line() as line:
        if is_url(source):
            report = _of_server(source, model, seconds, key, line)
        elif model is None:
            report = _of_bundle(Path(source), seconds, line)
        else:
            raise InvalidError("--model", "is for a URL; a bundle holds one model")
    if file is not None:
        file.write_text(json.dumps(_figures(report, seconds), indent=1) + "\n")
    click.echo(_text(report), nl=False)


def _of_server(url: str, name: str | None, seconds: float, key: str | None, line: Line) -> _Report:
    """The server at a URL. Raises ServerError."""
    target = Target(url, name, key)
    models = {model["name"]: model for model in Client(url, retries=0, key=key).models()}
    names = ", ".join(map(str, models)) or "nothing"
    if name is None and len(models) != 1:
        raise ServerError(f"{url}: serves {names}; say which with --model")
    if name is not None and name not in models:
        raise ServerError(f"{url}: serves {names}, not {name}")
    served = models[name] if name is not None else next(iter(models.values()))
    return _Report(url, served["name"], served.get("version"), _measure(target, seconds, None, line))


def _of_bundle(path: Path, seconds: float, line: Line) -> _Report:
    """A bundle, on a server of its own. Raises BundleError, SettingsError, RuntimeMissingError, ServerError."""
    bundle, settings = read_bundle(path), load_settings(bundles=(path,))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that closes must not leave the server running
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    line.begin("starting a server")
    with own_server(path) as target:
        line.begin("the raw engine")
        bare = BareEngine(bundle, settings.engine_threads, settings.device)
        batch = bare.best_batch(seconds / 10)
        measurements = _measure(target, seconds, lambda: bare.samples_per_second(batch, seconds / 3), line)
    how = {"provider": bare.provider, "threads": settings.engine_threads, "batch": batch}
    return _Report(str(path), bundle.manifest.name, bundle.manifest.version, measurements, how)


def _measure(target: Target, seconds: float, engine: Callable[[], float] | None, line: Line) -> list[Measurement]:
    measured: list[Measurement] = []
    line.begin("measuring", len(CASES), "loads")
    try:
        for measurement in measure(target, seconds, engine):
            measured.append(measurement)
            load = measurement.load
            line.at(len(measured), f"{load.per_second:,.0f} requests/s, p50 {load.p50_ms:.3g} ms")
    except OSError as error:
        raise ServerError(f"{target.url}: {error.strerror or error}") from None
    return measured


def _figures(report: _Report, seconds: float) -> dict[str, object]:
    """The report for a file."""
    return {
        "source": report.source,
        "model": report.name,
        "version": report.version,
        "seconds": seconds,
        "cores": cores(),
        "engine": report.engine,
        "measurements": [record(measurement) for measurement in report.measurements],
    }


def _text(report: _Report) -> str:
    """The report for a reader."""
    lines = [f"{report.source}: {report.name} {report.version}\n"]
    if report.engine is not None:
        rate = statistics.median(measurement.engine or 0.0 for measurement in report.measurements)
        how = "{provider}, threads: {threads}, rows a batch: {batch}".format(**report.engine)
        lines.append(f"the raw engine ({how}): {rate:,.0f} samples/s\n")
    lines += ["\n", table(report.measurements)]
    if (busiest := max(measurement.load.client_cpu for measurement in report.measurements)) > _BUSY:
        lines.append(f"\nthe load generator took {busiest:.2f} cores; the server may be faster than it can ask\n")
    return "".join(lines)
