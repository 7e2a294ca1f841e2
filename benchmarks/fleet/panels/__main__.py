"""`python -m benchmarks.fleet.panels`: every dashboard of deploy/ as a picture.

Of a Prometheus that runs, over the last so many seconds; or, given a bundle, of two replicas of it and a training run,
all times divided by fifteen, with a fault on one replica towards the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.drift.faults import CASES
from benchmarks.fleet.panels.asking import Source, Span
from benchmarks.fleet.panels.drawing import draw
from benchmarks.fleet.panels.scene import scene

_TOP = Path(__file__).parents[3]
_DASHBOARDS = _TOP / "deploy" / "grafana" / "dashboards"


def main() -> None:
    """Draw service.png, samples.png and training.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    shown = parser.add_mutually_exclusive_group(required=True)
    shown.add_argument("--prometheus", metavar="URL")
    shown.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of --prometheus: what the pictures show")
    parser.add_argument("--scrape", type=float, default=15.0, help="of --prometheus: seconds between its scrapes")
    parser.add_argument("--fault", choices=CASES, default="mode dropped, whole")
    parser.add_argument("--healthy", type=float, default=240.0, help="seconds before the fault")
    parser.add_argument("--faulty", type=float, default=120.0, help="seconds after it")
    parser.add_argument("--window", default="5m", help="of the statistics, as the dashboard of samples offers it")
    parser.add_argument("--out", type=Path, default=_TOP / "docs" / "dashboards")
    asked = parser.parse_args()
    if asked.prometheus:
        _draw(Source(asked.prometheus, Span(time.time(), asked.seconds, asked.scrape)), asked.window, asked.out)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        scene(Path(folder), asked.bundle, asked.fault, asked.healthy, asked.faulty) as source,
    ):
        _draw(source, asked.window, asked.out)


def _draw(source: Source, window: str, out: Path) -> None:
    for file in sorted(_DASHBOARDS.glob("*.json")):
        draw(source, json.loads(file.read_text()), {"window": [window]}, out / f"{file.stem}.png")


if __name__ == "__main__":
    main()
