"""How the values of a table's column are written, where they are more than plain numbers: `$1,640.11`, `89%`,
`12.03.2024`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_EPOCH = datetime(1970, 1, 1)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds of the years 1 and 9999

Around = Annotated[str, Field(max_length=16)]


class Form(BaseModel):
    """How a column's values are written as text.

    Attributes:
        prefix, suffix: before and after a number.
        thousands: between groups of three digits.
        decimal: before the decimals.
        padded: whether all decimals are written, zeros too.
        time: how a time is written, as strftime has it (`%-d` is a day without a zero before it, `%Q` a quarter): the
            column's values are seconds since 1970, or of a day; or, with `%K`, the hours of a duration, of that; null:
            they are numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: Around = ""
    suffix: Around = ""
    thousands: Literal["", ",", ".", " ", "'", "\u2019", "\u00a0", "\u202f"] = ""
    decimal: Literal[".", ","] = "."
    padded: bool = True
    time: Annotated[str, Field(max_length=64, pattern=r"^(%-?[YymdjbBaAHIMSpfzGVKQ]|[^%])+$")] | None = None

    def write(self, value: float, decimals: int | None = None) -> str:
        """A value as text; `decimals` are those of its column, null: as many as it has."""
        if self.time is not None:
            seconds = min(max(value, _FIRST), _LAST)
            when = _EPOCH + timedelta(seconds=seconds)
            hours, quarter = max(0, int(seconds // 3600)), (when.month + 2) // 3
            pattern = self.time.replace("%-K", str(hours)).replace("%K", f"{hours:02d}")
            return when.strftime(pattern.replace("%Q", str(quarter)))
        whole, _, rest = (f"{abs(value):.{decimals}f}" if decimals is not None else f"{abs(value)!r}").partition(".")
        if not self.padded:
            rest = rest.rstrip("0")
        if self.thousands:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        sign = "-" if value < 0 and (whole.strip("0") or rest.strip("0")) else ""
        return f"{sign}{self.prefix}{whole}{self.decimal if rest else ''}{rest}{self.suffix}"

    def read(self, text: str) -> float | None:
        """The value that a text stands for; None where it is written in another way."""
        if self.time is not None:
            return _seconds(text, self.time.replace("%-", "%"))
        sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text)
        if len(text) > 64 or not body.startswith(self.prefix) or not body.endswith(self.suffix):
            return None
        body = body[len(self.prefix) : len(body) - len(self.suffix)]
        body = (body.replace(self.thousands, "") if self.thousands else body).replace(self.decimal, ".")
        try:
            return sign * float(body) if body[:1].isdigit() or body[:1] == "." else None
        except ValueError:
            return None


def _seconds(text: str, pattern: str) -> float | None:
    """The seconds that a time stands for; None where it is written in another way than as a pattern."""
    since, more = _EPOCH, 0
    if pattern.startswith("%K"):  # which may be more than a day has
        found = re.match(r"\d{1,6}(?=:)", text)
        if found is None:
            return None
        since, more, text, pattern = datetime(1900, 1, 1), 3600 * int(found[0]), text[found.end() :], pattern[2:]
    elif "Q%Q" in pattern:  # as its first month
        text = re.sub(r"Q([1-4])(?!\d)", lambda quarter: f"Q{3 * int(quarter[1]) - 2:02d}", text)
        pattern = pattern.replace("%Q", "%m")
    elif pattern.endswith("%V"):  # as its first day
        text, pattern = f"{text} 1", f"{pattern} %u"
    try:
        read = datetime.strptime(text, pattern)
    except ValueError:
        return None
    return (read.replace(tzinfo=None) - since).total_seconds() + more
