"""Run where a tracker's package is: two sittings of a small run, which it is told of; print what it was called.

python tracked_run.py TRACKER RUN
"""

import json
import sys
from pathlib import Path

from latentserve.training.data import load
from latentserve.training.recipe import load_config
from latentserve.training.run import loop, prepare
from latentserve.training.tracking import STATE, Tracking


def main(tracker: str, run: Path) -> None:
    told = ("width=16", "images=1000", "tick=200", "snapshot=400", "threads=1", "batch=32")
    config = prepare(run, load_config("digits", told))
    digits = load("digits", None)
    for steps, ending in ((15, "saved"), (99, "finished")):
        asked = iter(range(steps))
        tracking = Tracking([tracker], run, config.recipe, config.model_dump(mode="json"))
        loop.train(config, digits, run, lambda asked=asked: next(asked, None) is None, [tracking.show])
        tracking.close(ending)
    print(json.loads((run / STATE).read_text())[tracker]["id"])


main(sys.argv[1], Path(sys.argv[2]))
