"""Weights & Biases: a run of the project WANDB_PROJECT (`latentserve`); WANDB_MODE=offline sends nothing."""

import os
from collections.abc import Mapping
from pathlib import Path

import wandb

from latentserve.training.tracking import Ending, Tracked


class WandB:
    """Values by the names of a line's fields, steps in images, pictures beside them."""

    id: str

    def __init__(self, run: Tracked) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "latentserve"),
            name=run.name,
            group=run.recipe,
            config=dict(run.config),
            dir=run.folder,
            id=run.id,
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        self.id = self._run.id

    def line(self, images: int, line: Mapping[str, float]) -> None:
        self._run.log(dict(line), step=images)

    def picture(self, images: int, name: str, path: Path) -> None:
        self._run.log({name: wandb.Image(str(path))}, step=images)

    def close(self, ending: Ending) -> None:
        self._run.finish(exit_code=1 if ending == "failed" else 0)


def track(run: Tracked) -> WandB:
    """Raises ModuleNotFoundError: wandb is not installed."""
    return WandB(run)
