"""`python -m benchmarks.panels`: every dashboard of deploy/ as a picture, from a Prometheus that scrapes servers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from benchmarks.panels.asking import Source, Span
from benchmarks.panels.drawing import draw

_TOP = Path(__file__).parents[2]
_DASHBOARDS = _TOP / "deploy" / "grafana" / "dashboards"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--prometheus", default="http://127.0.0.1:9090", show_default=True, help="Its address.")
@click.option("--seconds", default=3600.0, show_default=True, help="Time that the pictures show, up to now.")
@click.option("--scrape", default=15.0, show_default=True, help="Seconds between its scrapes.")
@click.option("--window", default="80m", show_default=True, help="Of the statistics on the dashboard of samples.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=_TOP / "docs" / "dashboards", help="Folder to write to."
)
def main(names: tuple[str, ...], prometheus: str, seconds: float, scrape: float, window: str, out: Path) -> None:
    """Draw the dashboards NAMES (service, samples, training; all without any)."""
    source = Source(prometheus, Span(time.time(), seconds, scrape))
    for name in names or sorted(file.stem for file in _DASHBOARDS.glob("*.json")):
        dashboard = json.loads((_DASHBOARDS / f"{name}.json").read_text())
        draw(source, dashboard, {"window": [window]}, out / f"{name}.png")


if __name__ == "__main__":
    main()
