"""Several series in one table: windows hold rows of one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load
from latentserve.training.data.summary import summary
from latentserve.training.errors import DataError

SERIES, STEPS, SIZE = 3, 10, 4


def value(series: int, step: int) -> float:
    return series * 100 + step + 0.5


def written(path: Path, head: str, row: str, in_turn: bool) -> Path:
    """A table whose lines are `row`, of {series}, {step}, {day} and {value}."""
    cells = [(one, step) for one in range(SERIES) for step in range(STEPS)]
    if in_turn:
        cells.sort(key=lambda cell: cell[1])
    lines = [
        row.format(series=one, step=step, day=f"2024-03-{step + 1:02d}", value=value(one, step)) for one, step in cells
    ]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


@pytest.mark.parametrize("in_turn", [False, True], ids=["one after the other", "in turn"])
@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("day,site,heat", "{day},site {series},{value}"),
        ("day,colour,heat", "{day},c{series},{value}"),
        ("subject,day,heat", "{series},{day},{value}"),
        ("device_id,step,heat", "{series},{step},{value}"),
        ("deviceId,heat", "{series},{value}"),
        ("name of station,heat", "s{series},{value}"),
        ("station,step,heat", "s{series},{step},{value}"),
    ],
)
def test_windows_are_of_one_series(tmp_path: Path, head: str, row: str, in_turn: bool) -> None:
    if head.startswith("name") and in_turn:
        head = head.replace("name of station", "station name")
    dataset = load("files", written(tmp_path / "panel.csv", head, row, in_turn), size=SIZE)
    assert dataset.samples.shape == (SERIES * (STEPS // SIZE), 1, SIZE)
    starts = [(one, step) for one in range(SERIES) for step in range(0, STEPS - SIZE + 1, SIZE)]
    expected = [[[value(one, step + at) for at in range(SIZE)]] for one, step in starts]
    np.testing.assert_array_equal(np.sort(dataset.samples, axis=0), np.array(expected, np.float32))
    said = "\n".join(summary(dataset))
    assert f"within each of {SERIES} series" in said
    assert f"{SERIES * (STEPS % SIZE)} rows at the ends of series are left out" in said


def test_windows_are_of_one_file(tmp_path: Path) -> None:
    for one in range(SERIES):
        lines = "\n".join(f"{1_700_000_000 + 60 * step},{value(one, step)}" for step in range(STEPS))
        (tmp_path / f"{one}.csv").write_text(f"timestamp,heat\n{lines}\n")
    dataset = load("files", tmp_path, size=SIZE)
    assert dataset.samples.shape == (SERIES * (STEPS // SIZE), 1, SIZE)
    assert (np.diff(dataset.samples[:, 0]) == 1).all()
    assert "left out: `timestamp`, which says when each row was" in dataset.notes


def test_numbers_that_are_called_like_things_are_readings(tmp_path: Path) -> None:
    """`vmstat` calls a share of the processor's time `user`."""
    lines = "\n".join(f"{at % 7},{at % 5},{at / 4}" for at in range(40))
    (tmp_path / "load.csv").write_text(f"user,idle,load\n{lines}\n")
    dataset = load("files", tmp_path / "load.csv", size=8)
    assert dataset.samples.shape == (5, 3, 8)


def test_an_hour_that_comes_twice_makes_no_series_of_states(tmp_path: Path) -> None:
    """As at the end of summer time."""
    hours = [min(at, at - 1 if at > 9 else at) for at in range(20)]
    lines = "\n".join(f"2024-10-{1 + at // 24:02d} {at % 24:02d}:00,{'on' if at % 3 else 'off'},{at}.5" for at in hours)
    (tmp_path / "house.csv").write_text(f"when,fan,watt\n{lines}\n")
    assert load("files", tmp_path / "house.csv", size=5).samples.shape == (4, 1, 5)


def test_rows_that_go_back_in_time_are_turned_round(tmp_path: Path) -> None:
    lines = "\n".join(f"2024-03-{20 - at:02d},{at}" for at in range(20))
    (tmp_path / "stock.csv").write_text(f"Date,Close\n{lines}\n")
    dataset = load("files", tmp_path / "stock.csv", size=4)
    assert (np.diff(dataset.samples[:, 0]) == -1).all()
    assert "rows go back in time, and were turned round" in dataset.notes


def test_a_long_table_is_refused(tmp_path: Path) -> None:
    lines = "\n".join(f"{one},{step},{name},{step}.5" for one in "ab" for step in range(9) for name in ("hr", "bp"))
    (tmp_path / "long.csv").write_text(f"id,time,variable,value\n{lines}\n")
    with pytest.raises(DataError, match="`variable` says what the number of each row is: bring them into columns"):
        load("files", tmp_path / "long.csv", size=4)


def test_series_that_are_too_short_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "panel.csv", "day,site,heat", "{day},s{series},{value}", in_turn=False)
    with pytest.raises(DataError, match="10 rows in the longest series of `site`; `size` asks for windows of 16"):
        load("files", path, size=16)
