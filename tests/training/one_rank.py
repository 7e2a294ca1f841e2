"""One rank of several runs: `python -m tests.training.one_rank FOLDER PORT WORDS`, started with the environment of
`torchrun`. When these are done, and it is told to go on by a line, it does `latentserve WORDS`, with the ranks on PORT.

FOLDER holds `runs.json`, a list of `{"out": folder, "overrides": [...], "steps": null, "asked": 0, "lost": []}`: the
steps until the rank `asked` stops the run, and the rows of the data that are lost.
"""

import json
import os
import sys
from pathlib import Path

from latentserve.service.cli import main as latentserve
from latentserve.training.data import load
from latentserve.training.distributed import joined
from latentserve.training.recipe import load_config
from latentserve.training.run.loop import train
from tests.training.conftest import lose, stop_after

DONE = "done"


def main(folder: Path) -> None:
    digits = load("digits", None)
    runs = json.loads((folder / "runs.json").read_text())
    with joined(load_config(str(folder / "tiny.yaml"))) as ranks:
        for run in runs:
            config = load_config(str(folder / "tiny.yaml"), tuple(run["overrides"]))
            asked = run["steps"] is not None and ranks.rank == run["asked"]
            interrupted = stop_after(run["steps"]) if asked else lambda: False
            dataset = lose(digits, run["lost"]) if run["lost"] else digits
            seen = train(config, dataset, folder / run["out"], interrupted, ranks=ranks)
            print(f"{run['out']}: {seen}", flush=True)


if __name__ == "__main__":
    _, folder, port, *words = sys.argv
    main(Path(folder))
    print(DONE, flush=True)
    input()
    os.environ["MASTER_PORT"] = port
    sys.argv = ["latentserve", *words]
    latentserve()
