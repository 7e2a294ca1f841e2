"""One rank of several runs: `python -m tests.training.one_rank FOLDER`, started with the environment of `torchrun`.

FOLDER holds `runs.json`, a list of `{"out": folder, "overrides": [...], "steps": null, "asked": 0, "lost": []}`: the
steps until the rank `asked` stops the run, and the rows of the data that are lost.
"""

import json
import sys
from pathlib import Path

from latentserve.training.data import load
from latentserve.training.distributed import joined
from latentserve.training.recipe import load_config
from latentserve.training.run.loop import train
from tests.training.conftest import lose, stop_after


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
    main(Path(sys.argv[1]))
