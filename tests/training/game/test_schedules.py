import pytest
from pydantic import ValidationError

from latentserve.training.game.schedules import cosine, ema_decay
from latentserve.training.recipe.config import Cosine


def test_cosine_starts_ends_and_is_half_way_in_the_middle() -> None:
    schedule = Cosine(start=1.0, end=0.2)
    assert cosine(schedule, 0, 100) == pytest.approx(1.0)
    assert cosine(schedule, 50, 100) == pytest.approx(0.6)
    assert cosine(schedule, 100, 100) == pytest.approx(0.2)
    assert cosine(schedule, 130, 100) == pytest.approx(0.2)


def test_half_of_the_average_is_left_after_the_half_life() -> None:
    decay = ema_decay(half_life=640, batch=64)
    assert decay**10 == pytest.approx(0.5)
    assert ema_decay(half_life=0, batch=64) == 0


def test_a_schedule_may_span_a_part_of_the_run() -> None:
    schedule = Cosine(start=1.0, end=0.0, since=0.2, until=0.6)
    assert [cosine(schedule, seen, 100) for seen in (0, 20, 40, 60, 100)] == pytest.approx([1, 1, 0.5, 0, 0])
    with pytest.raises(ValidationError, match=r"since 0\.6 is not before until 0\.6"):
        Cosine(start=1.0, end=0.0, since=0.6, until=0.6)
