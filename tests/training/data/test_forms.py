"""How numbers and times are written: each column is read as what its author meant and written again as it was, or what
was made of it is told, or it is refused in words."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from latentserve.service.bundle.forms import Form
from latentserve.training.data import Dataset, load, summary
from latentserve.training.errors import DataError
from tests.training.data.test_tables import values

ROWS = 60


def read(folder: Path, text: Callable[[int], str], **options: Any) -> Dataset:
    """A table of a number, and what is to be read, quoted."""
    lines = [f'{at + 0.5},"{text(at)}"' for at in range(ROWS)]
    (folder / "t.csv").write_text("\n".join(["base,v", *lines]), encoding="utf-8")
    return load("files", folder / "t.csv", **options)


def amount(at: int) -> float:
    return 1000 + (at * 7919 % 4001) / 4


def day(at: int) -> datetime:
    return datetime(2019, 3, 14, 5, 6, 7) + timedelta(days=13 * at, hours=7 * at, minutes=11 * at)


def often(text: str, every: int = 6) -> Callable[[int], str]:
    """A text in each so many rows, among numbers."""
    return lambda at: text if at % every == 1 else f"{at % 50 + 0.25}"


# What comes back is what was written.
AS_WRITTEN: dict[str, Callable[[int], str]] = {
    "apostrophes of typographers": lambda at: f"{amount(at):,.2f}".replace(",", "\u2019"),
    "rupees": lambda at: f"Rs. {at + 5}",
    "square metres": lambda at: f"{at + 20} m²",
    "micrograms": lambda at: f"{at + 0.5} µg/L",
    "cubic capacity": lambda at: f"{at + 20}0 CC",
    "about": lambda at: f"~{at + 20}",
    "thousands": lambda at: f"{at / 10 + 2:.1f}k",
    "percentages, of which none has no sign": lambda at: f"{at}%",
    "an offset": lambda at: f"{day(at):%Y-%m-%dT%H:%M:%S}+02:00",
    "an offset without a colon": lambda at: f"{day(at):%Y-%m-%d %H:%M:%S}-0500",
    "a zone": lambda at: f"{day(at):%Y-%m-%d %H:%M:%S} EST",
    "a place": lambda at: f"{day(at):%Y-%m-%d %H:%M:%S} Europe/Berlin",
    "digits alone": lambda at: f"{day(at):%Y%m%d}",
    "digits alone, of a month": lambda at: f"{day(at):%Y%m}",
    "digits alone, of a second": lambda at: f"{day(at):%Y%m%d%H%M%S}",
    "a weekday": lambda at: f"{day(at):%A, %B %d, %Y}",
    "C": lambda at: f"{day(at):%a %b %d %H:%M:%S %Y}",
    "mail": lambda at: f"{day(at):%a, %d %b %Y %H:%M:%S} +0000",
    "a server's log": lambda at: f"[{day(at):%d/%b/%Y:%H:%M:%S} +0000]",
    "a month": lambda at: f"{day(at):%b-%y}",
    "a month in numbers": lambda at: f"{day(at):%m/%Y}",
    "a month of a year": lambda at: f"{day(at):%Y-%m}",
    "two digits of a year": lambda at: f"{day(at):%d-%m-%y}",
    "noon": lambda at: f"{day(at):%I:%M%p}",
    "a week": lambda at: f"{day(at):%G-W%V}",
    "a quarter": lambda at: f"{2001 + at // 4}Q{at % 4 + 1}",
    "a quarter before its year": lambda at: f"Q{at % 4 + 1} {2001 + at // 4}",
    "a duration of days": lambda at: f"{at // 2:02d}:{at % 60:02d}:11",
    "a duration of weeks": lambda at: f"{9 * at}:{at % 60:02d}",
    "china": lambda at: f"{day(at).year}年{day(at).month}月{day(at).day}日",
}


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_a_form_is_read_and_written_again(tmp_path: Path, name: str) -> None:
    dataset = read(tmp_path, AS_WRITTEN[name])
    column = (dataset.columns or [])[1]
    assert column.categories is None
    assert [row[1] for row in values(dataset)] == [AS_WRITTEN[name](at) for at in range(ROWS)]


# What is read, what comes back in the first two rows, and what is told of it.
READ: dict[str, tuple[Callable[[int], str], list[Any], str]] = {
    "accounts": (lambda at: f"$({at + 0.25})" if at % 2 else f"${at + 0.25}", ["$0.25", "-$1.25"], ""),
    "a minus behind": (lambda at: f"{at + 0.25}-" if at % 2 else f"{at + 0.25}", [0.25, -1.25], ""),
    "a minus of typographers": (lambda at: f"\u2212{at + 0.25}" if at % 2 else f"{at + 0.25}", [0.25, -1.25], ""),
    "a plain zero": (lambda at: f"{at}%" if at else "0", ["0%", "1%"], ""),
    "lakhs": (lambda at: f"{at + 1},23,456", [123456, 223456], "`1,23,456` is written as 123456"),
    "magnitudes": (
        lambda at: f"€{at + 1.5}{'MK'[at % 2]}", ["€1500000", "€2500"], "`€59.5M` is read as 59500000, and written so"
    ),
    "exponents with commas": (lambda at: f"{at},5e-07", [0.5e-7, 1.5e-7], ""),
    "exponents of Fortran": (lambda at: f"{at}.5D-07", [0.5e-7, 1.5e-7], ""),
    "-999": (often("-999"), [0.25, None], "-999 in 10 rows, far from all others, is taken as missing"),
    "9999": (often("9999.0"), [0.25, None], "9999 in 10 rows, far from all others, is taken as missing"),
    "99 of ages": (lambda at: "99" if at % 6 == 1 else f"{at + 18}", [18, 99], ""),
    **{word: (often(word), [0.25, None], "10 missing") for word in ("..", r"\N", "<NA>", "#DIV/0!", "missing", "—")},
    "no date": (lambda at: "0000-00-00" if at % 6 == 1 else f"{day(at):%Y-%m-%d}", ["2019-03-14", None], "10 missing"),
    "an unknown date": (
        lambda at: "unknown" if at % 30 == 1 else f"{day(at):%Y-%m-%d}", ["2019-03-14", None],
        "`unknown` in 2 rows is no time and taken as missing",
    ),
    "several zones": (
        lambda at: f"2019-03-14T{at % 12 + 2:02d}:{at:02d}:07+0{at % 2}:00",
        ["2019-03-14T02:00:07+00:00", "2019-03-14T02:01:07+00:00"], "of several zones, and were brought to UTC",
    ),
    "some with a clock": (
        lambda at: f"{day(at):%Y-%m-%d %H:%M}" if at % 2 else f"{day(at):%Y-%m-%d}",
        ["2019-03-14 00:00", "2019-03-27 12:17"], "`2019-03-14` is written as 2019-03-14 00:00",
    ),
    "some with a fraction": (
        lambda at: f"2019-03-14T05:{at:02d}:07" + (f".{at:03d}" if at % 2 else ""),
        ["2019-03-14T05:00:07", "2019-03-14T05:01:07"], "fractions of a second are left out",
    ),
    "zones by their names": (
        lambda at: f"2019-03-{at % 30 + 1:02d} 05:{at:02d}:00 {'CEST' if at % 2 else 'CET'}",
        ["2019-03-01 04:00:00+00:00", "2019-03-02 03:01:00+00:00"], "of several zones, and were brought to UTC",
    ),
    "a zone of some": (
        lambda at: f"2019-03-14T{at % 12 + 2:02d}:{at:02d}:07" + ("+01:00" if at % 2 else ""),
        ["2019-03-14T02:00:07+00:00", "2019-03-14T02:01:07+00:00"], "; those without one are taken as UTC",
    ),
    "months of France": (
        lambda at: f"{at % 28 + 1} {('janvier', 'févr.', 'août', 'déc.')[at % 4]} 2024", ["1 Jan 2024", "2 Feb 2024"],
        "`1 janvier 2024` is written as 1 Jan 2024",
    ),
    "months of Germany": (
        lambda at: f"{at % 28 + 1}. {('März', 'Mai', 'Oktober')[at % 3]} 2024", ["1 Mar 2024", "2 May 2024"], "1. März",
    ),
    "months of Spain": (
        lambda at: f"{at % 28 + 1} de {('enero', 'junio', 'octubre')[at % 3]} de 2024", ["1 Jan 2024", "2 Jun 2024"],
        "",
    ),
    "months of Russia": (
        lambda at: f"{at % 28 + 1} {('января', 'мая', 'августа', 'декабря')[at % 4]} 2024 г.",
        ["1 Jan 2024", "2 May 2024"], "`1 января 2024 г.` is written as 1 Jan 2024",
    ),
    "months of Poland": (
        lambda at: f"{at % 28 + 1} {('stycznia', 'czerwca', 'lipca', 'października')[at % 4]} 2024",
        ["1 Jan 2024", "2 Jun 2024"], "",
    ),
    "months of the Czechs": (
        lambda at: f"{at % 28 + 1}. {('června', 'července')[at % 2]} 2024", ["1 Jun 2024", "2 Jul 2024"], "",
    ),
    "months of Turkey, in short": (
        lambda at: f"{at % 28 + 1:02d}-{('Oca', 'Ağu', 'Kas')[at % 3]}-2024", ["01-Jan-2024", "02-Aug-2024"], "",
    ),
    "days with their endings": (
        lambda at: f"{('March', 'April')[at % 2]} {('1st', '2nd', '3rd', '11th')[at % 4]}, {1960 + at}",
        ["Mar 1 1960", "Apr 2 1961"], "`March 1st, 1960` is written as Mar 1 1960",
    ),
    "laps": (
        lambda at: f"1:{at % 50 + 10}.{at * 7919 % 1000:03d}" if at % 5 else f"{at % 50 + 10}.5", [10.5, 71.919],
        "`1:11.919` is written as 71.919, in seconds",
    ),
    "durations of pandas": (
        lambda at: f"{at % 3} days {at % 24:02d}:00:05", ["00:00:05", "25:00:05"], "`0 days 00:00:05` is written as",
    ),
    "durations of ISO 8601": (lambda at: f"PT{at + 80}M{at}S", ["01:20:00", "01:21:01"], "`PT80M0S` is written as"),
    "degrees of a town": (lambda at: f"{48 + at / 977:.6f}", [48.0, 48.001022], "numbers are rounded to seven digits"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_made_of_a_column_is_told(tmp_path: Path, name: str) -> None:
    text, first, told = READ[name]
    dataset = read(tmp_path, text)
    assert (dataset.columns or [])[1].categories is None
    for row, expected in zip(values(dataset)[:2], first, strict=True):
        assert row[1] == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected)
    assert told in "\n".join(summary(dataset))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (lambda at: f"{at + 0.5} {'€$'[at % 2]}", "numbers that are not written in one way"),
        (lambda at: f"{at + 0.5} {('kg', 'g')[at % 2]}", "numbers that are not written in one way"),
        (lambda at: f"{at + 0.5}{'%' if at % 2 else ''}", "numbers that are not written in one way"),
        (lambda at: f"{at + 0.5}{'*' if at % 6 == 1 else ''}", "numbers that are not written in one way"),
        (often("<0.5"), "numbers that are not written in one way"),
        (often("unknown"), "has numbers, and `unknown` in 10 rows: --types 'v=number' takes what is none as missing"),
        (often("inf"), "has numbers, and `inf` in 10 rows"),
        (lambda at: f"{at % 12 + 1:02d}-{at % 11 + 1:02d}-{at % 12 + 10}", "say which: --types 'v=%d-%m-%y'"),
        (lambda at: f"{at % 12 + 1}/{at % 11 + 1}/2020 5:00", "say which: --types 'v=%d/%m/%Y %H:%M'"),
        (lambda at: f"{1.6e9 + at / 8:.3f}", "which single floats cannot tell apart: subtract"),
    ],
)
def test_what_cannot_be_known_is_asked(tmp_path: Path, text: Callable[[int], str], told: str) -> None:
    with pytest.raises(DataError, match="column `v`") as caught:
        read(tmp_path, text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_asked_can_be_told(tmp_path: Path) -> None:
    assert [row[1] for row in values(read(tmp_path, often("unknown"), types=("v=number",)))[:2]] == [0.25, None]
    assert [row[1] for row in values(read(tmp_path, often("-999"), types=("v=number",)))[:2]] == [0.25, -999]
    assert values(read(tmp_path, AS_WRITTEN["digits alone"], types=("v=number",)))[0][1] == 20190314
    assert values(read(tmp_path, often("inf"), types=("v=category",)))[1][1] == "inf"


@pytest.mark.parametrize(
    "text",
    [
        lambda at: f"{at * 97 % 90 + 10}{at * 7919 % 89:02d} {'AB'[at % 2]}{'XY'[at // 2 % 2]}",  # postcodes
        lambda at: f"{at + 1} {('Main', 'High', 'Mill')[at % 3]} Street",
        lambda at: f"192.168.{at}.{at * 7 % 255}",
        lambda at: f"+49 30 {at * 7919 % 9000 + 1000}",
        lambda at: f"{(2**64 + at * 977)}",
        lambda at: f"{at:05d}",
    ],
)
def test_what_only_looks_like_numbers_are_texts(tmp_path: Path, text: Callable[[int], str]) -> None:
    dataset = read(tmp_path, text)
    assert [column.name for column in dataset.columns or []] == ["base"]
    assert "left out: `v`, texts that are different in every row" in "\n".join(summary(dataset))


def test_held_out_rows_are_read_as_the_others(tmp_path: Path) -> None:
    for split, rows in (("train", 60), ("test", 12)):
        lines = [f"{day(at):%Y%m%d},{-999 if at % 6 == 1 else at + 0.5}" for at in range(rows)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["day,v", *lines]))
    dataset, held_out = (load("files", tmp_path, split) for split in ("train", "test"))
    assert values(held_out) == values(dataset)[:12]
    assert values(held_out)[1] == ["20190327", None]


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("time", ["%Y-%m-%d", "%H:%M", "%K:%M:%S", "%YQ%Q"])
def test_what_a_generator_makes_of_a_time_is_written_whatever_it_is(value: float, time: str) -> None:
    assert Form(time=time).write(value)
