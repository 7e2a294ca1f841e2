"""A table of people made by code: numbers with and without gaps, texts, a label that goes with them."""

from pathlib import Path

import numpy as np


def write_people(path: Path, count: int = 400) -> Path:
    """A CSV file of so many rows, the label `rich` last, a column that is always the same."""
    rng = np.random.default_rng(0)
    age = rng.integers(17, 90, count)
    school = rng.choice(["none", "some", "much"], count, p=[0.2, 0.5, 0.3])
    income = np.where(rng.random(count) < 0.6, 0.0, rng.normal(500, 50, count).round(2))
    rich = (age > 50) & (school == "much")
    lines = ["age,school,income,country,rich"]
    for at in range(count):
        told = "?" if at % 10 == 3 else str(age[at])
        lines.append(f"{told},{school[at] if at % 7 else ''},{income[at]},here,{'yes' if rich[at] else 'no'}")
    path.write_text("\n".join(lines) + "\n")
    return path
