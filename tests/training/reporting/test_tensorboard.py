import importlib.util
from pathlib import Path

import pytest

from latentserve.training.errors import TrainingError
from latentserve.training.reporting.metrics import TENSORBOARD, tensorboard

INSTALLED = importlib.util.find_spec("tensorboard") is not None


@pytest.mark.skipif(INSTALLED, reason="TensorBoard is installed")
def test_where_it_is_not_installed_that_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^--tensorboard: the package tensorboard is not installed$"):
        tensorboard(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not INSTALLED, reason="TensorBoard is not installed")
def test_lines_become_curves_and_a_resumed_run_writes_them_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = [{"images": 200, "critic_loss": 0.5}, {"images": 400, "critic_loss": 0.25}]
    for sitting in (1, 2):
        with tensorboard(tmp_path) as write:
            for line in lines[:sitting]:
                write(line)
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("critic_loss")] == [(200, 0.5), (400, 0.25)]
