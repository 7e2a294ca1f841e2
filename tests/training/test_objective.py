"""What a search over recipes makes small, and the search of the page."""

import math
import re
from pathlib import Path
from unittest.mock import patch

import pytest

from latentserve.training import objective as module
from latentserve.training.errors import DivergedError, RunError
from latentserve.training.objective import objective, value
from latentserve.training.reporting.stats import read_stats


def test_it_is_the_distance_of_the_end_over_its_floor(tiny_file: Path, tmp_path: Path) -> None:
    told = []
    found = objective(str(tiny_file), ["images=600", "tick=100"], run=tmp_path / "run", told=told.append)
    lines = read_stats(tmp_path / "run" / "stats.jsonl")
    assert told == lines
    late = [line for line in lines if line["images"] > 480]
    assert len(late) > 1
    assert found == sum(line["frechet"] for line in late) / sum(line["frechet_floor"] for line in late)
    assert found > 1
    assert objective(str(tiny_file), ["images=600", "tick=100"]) == found


def test_who_gives_up_ends_the_run(tiny_file: Path) -> None:
    class PrunedError(Exception):
        pass

    def told(line: object) -> None:
        raise PrunedError

    with pytest.raises(PrunedError):
        objective(str(tiny_file), told=told)


def test_what_diverges_is_infinitely_far_and_what_cannot_be_measured_is_said(tiny_file: Path) -> None:
    with patch.object(module.loop, "train", side_effect=DivergedError("not finite")):
        assert objective(str(tiny_file)) == math.inf
    with pytest.raises(RunError, match=r"^few\.csv: too few samples"):
        value([{"images": 100, "critic_loss": 0.5}], 100, "few.csv")
    assert value([{"images": 50, "frechet": 3.0, "frechet_floor": 1.5}], 100, "early.csv") == 2


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_search_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands in docs/runs.md, but of three trials."""
    pytest.importorskip("optuna")
    page = (Path(__file__).parents[2] / "docs" / "runs.md").read_text()
    (program,) = (block for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "optuna" in block)
    exec(program.replace("n_trials=10", "n_trials=3"), {})  # noqa: S102
    best = re.search(r"^{'lr': [\d.e-]+, 'width': \d+} ([\d.]+)$", capsys.readouterr().out, re.M)
    assert best is not None
    assert 1 < float(best[1]) < 100
