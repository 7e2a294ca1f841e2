"""TensorBoard: event files in the run's folder `tensorboard`.

Files of earlier sittings are written again: what a killed process had not yet flushed would be missing.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from latentserve.training.tracking import Ending, Tracked

FOLDER = "tensorboard"


class TensorBoard:
    """Scalars by the names of a line's fields, and pictures."""

    id = None

    def __init__(self, run: Tracked) -> None:
        folder = run.folder / FOLDER
        for file in folder.glob("events.*"):
            file.unlink()
        self._writer = SummaryWriter(str(folder))
        rows = "\n".join(f"|`{name}`|`{value}`|" for name, value in run.flat.items())
        self._writer.add_text("config", f"|field|value|\n|---|---|\n{rows}")

    def line(self, images: int, line: Mapping[str, float]) -> None:
        for name, value in line.items():
            self._writer.add_scalar(name, value, images)

    def picture(self, images: int, name: str, path: Path) -> None:
        with Image.open(path) as picture:
            self._writer.add_image(name, np.asarray(picture.convert("RGB")), images, dataformats="HWC")

    def close(self, ending: Ending) -> None:
        self._writer.close()


def track(run: Tracked) -> TensorBoard:
    """Raises ModuleNotFoundError: TensorBoard is not installed."""
    return TensorBoard(run)
