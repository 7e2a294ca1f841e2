"""The lines of `stats.jsonl` as curves in TensorBoard, where it is installed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from latentserve.training.errors import TrainingError
from latentserve.training.reporting.metrics import Sink

FOLDER = "tensorboard"


@contextmanager
def written(run: Path) -> Iterator[Sink]:
    """A sink for lines, into the run's folder `tensorboard`. What lies there is of an earlier sitting, whose lines the
    sink is told again, and is deleted.

    Raises TrainingError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("--tensorboard: the package tensorboard is not installed") from None
    for file in (run / FOLDER).glob("events.*"):
        file.unlink()
    writer = SummaryWriter(str(run / FOLDER))

    def write(line: Mapping[str, float]) -> None:
        for name, value in line.items():
            writer.add_scalar(name, value, line["images"])

    try:
        yield write
    finally:
        writer.close()
