"""A table of every kind of column, and what a client makes of its rows: values as JSON has them, kept one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column, SampleSpec, plain, typed

COLUMNS = [
    Column(name="share"),
    Column(name="price", type="float64", decimals=2),
    Column(name="height", type="float64"),
    Column(name="weight", type="float32", decimals=1),
    Column(name="age", type="int64", missing=-1),
    Column(name="small", type="uint8"),
    Column(name="huge", type="int64"),
    Column(name="word", type="string", categories=["Private", "State", None, "Self"]),
    Column(name="member", type="bool", categories=[False, True]),
    Column(name="wheels", type="int32", categories=[2, 4, 3]),
]
SPEC = SampleSpec(kind="table", shape=[len(COLUMNS)], columns=COLUMNS)
NAMES = [column.name for column in COLUMNS]


def values_of(samples: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Rows as a client reads them."""
    columns = [plain(typed(samples[:, at], column)) for at, column in enumerate(COLUMNS)]
    return [dict(zip(NAMES, row, strict=True)) for row in zip(*columns, strict=True)]


def passes(row: dict[str, Any], where: dict[str, Any]) -> bool:
    """As the page on conditions says it, one row at a time."""
    for name, asked in where.items():
        value = row[name]
        if value is None:
            if not asked.get("missing", False):
                return False
            continue
        if asked.get("missing") and asked.keys() == {"missing"}:
            return False
        if "min" in asked and not value >= asked["min"]:
            return False
        if "max" in asked and not value <= asked["max"]:
            return False
        if "in" in asked and not any((type(one) is not bool and value == one) or value is one for one in asked["in"]):
            return False
    return True
