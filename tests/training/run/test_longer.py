"""Runs that become longer than they were planned."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.training.data import Dataset
from latentserve.training.errors import ConfigError, RunError
from latentserve.training.recipe import growing, load_config, read_config
from latentserve.training.recipe.config import Config, Cosine, Grown
from latentserve.training.run import CONFIG, going_on, is_over, prepare
from latentserve.training.run.loop import train
from latentserve.training.supervising import replay
from tests.training.conftest import stop_after
from tests.training.run.test_loop import assert_equal, folder

NUMBERS = st.floats(0, 10).filter(lambda number: number == 0 or number > 1e-6)


@given(
    start=NUMBERS,
    end=NUMBERS,
    since=st.floats(0, 0.5),
    until=st.floats(0.51, 1),
    budgets=st.lists(st.integers(100, 10_000), min_size=2, max_size=4, unique=True).map(sorted),
    shares=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_no_schedule_jumps_or_goes_back_and_all_come_to_their_end(
    start: float, end: float, since: float, until: float, budgets: list[int], shares: list[float]
) -> None:
    schedule, grown, at = Cosine(start=start, end=end, since=since, until=until), [], 1
    for images, share in zip(budgets[:-1], shares, strict=False):
        at = max(at, round(share * images))
        grown.append(Grown(at=at, images=images))
    images = budgets[-1]
    values = [schedule.at(seen, images, grown) for seen in range(images + 1)]
    steps = [(after - before) * (1 if end >= start else -1) for before, after in pairwise(values)]
    assert min(steps) >= -1e-9
    # No step is longer than the steepest of any of its courses.
    shortest = min(until * budgets[0] - since * budgets[0], *(until * images - one.at for one in grown))
    if shortest >= 20:
        assert max(steps) <= abs(end - start) * 1.6 / shortest + 1e-9
    assert values[0] == pytest.approx(start)
    assert values[-1] == pytest.approx(end)


def test_a_run_made_longer_is_bit_for_bit_one_that_was_to_grow(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    """Twice: in the middle of its schedules, and at its end; each time the same command is told again."""
    first, second, third = (tiny.model_copy(update={"images": images, "keep": 1}) for images in (320, 640, 800))
    parts, whole = tmp_path / "parts", folder(tmp_path, "whole")
    train(prepare(parts, first), digits, parts, stop_after(5))
    config = prepare(parts, second)
    assert config == prepare(parts, second) == going_on(parts, second) == read_config(parts / CONFIG)
    assert config.grown == (Grown(at=192, images=320),)
    assert list(growing.changes(config))[:2] == [
        "640 images instead of 320, from 192 on",
        "gamma goes on from 0.4109 to 0.1, until 640 images instead of 320",
    ]
    assert train(config, digits, parts) == 640
    assert is_over(parts, config)
    config = prepare(parts, third)
    assert not is_over(parts, config)
    assert "gamma has come to its end, and stays 0.1" in list(growing.changes(config))
    assert train(config, digits, parts) == 800
    again = load_config(str(parts / CONFIG))
    assert again.model_copy(update={"recipe": config.recipe}) == config
    train(again, digits, whole)
    assert_equal(parts, whole)


def test_what_a_run_cannot_become_is_said_in_one_line(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    config = tiny.model_copy(update={"images": 320})
    train(prepare(tmp_path / "run", config), digits, tmp_path / "run", stop_after(3))
    before = (tmp_path / "run" / CONFIG).read_bytes()
    for other, words in (
        ({"images": 300}, "`images` is 320, not 300: a run can be made longer, and not shorter"),
        ({"images": 640, "seed": 3}, "`seed` is 0, not 3"),
        ({"images": 640, "grown": (Grown(at=7, images=320),)}, "`grown` is another run's"),
    ):
        with pytest.raises(RunError, match=f"cannot resume with another configuration: {words}$"):
            prepare(tmp_path / "run", config.model_copy(update=other))
    assert (tmp_path / "run" / CONFIG).read_bytes() == before


def test_a_run_that_has_not_begun_is_only_planned_anew(tiny: Config, tmp_path: Path) -> None:
    prepare(tmp_path / "run", tiny)
    assert prepare(tmp_path / "run", tiny.model_copy(update={"images": 5_000})).grown == ()
    assert read_config(tmp_path / "run" / CONFIG).images == 5_000


@pytest.mark.parametrize(
    "grown", ["[{at: 400, images: 2000}]", "[{at: 400, images: 500}, {at: 300, images: 600}]", "[{at: 0, images: 5}]"]
)
def test_budgets_that_do_not_grow_are_refused(tiny_file: Path, grown: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*grown[^\n]*$"):
        load_config(str(tiny_file), (f"grown={grown}",))


def test_the_supervisor_sees_what_it_saw_in_the_windows_of_the_first_budget(tiny: Config) -> None:
    lines = [{"images": at, "frechet": 1.0, "frechet_floor": 0.1, "diversity": 0.01 if at > 600 else 0.9}
             for at in range(10, 1_001, 10)]  # fmt: skip
    longer = tiny.model_copy(update={"images": 5_000, "grown": (Grown(at=1_000, images=1_000),)})
    assert replay(tiny, "image", lines)
    assert replay(longer, "image", lines) == replay(tiny, "image", lines)
