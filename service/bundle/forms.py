"""How the values of a table's column are written, where they are more than plain numbers: `$1,640.11`, `89%`,
`12.03.2024`."""

from __future__ import annotations

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
        time: how a time is written, as strftime has it (`%-d` is a day without a zero before it): the column's values
            are seconds since 1970, or of a day; null: they are numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: Around = ""
    suffix: Around = ""
    thousands: Literal["", ",", ".", " ", "'", "\u2019", "\u00a0", "\u202f"] = ""
    decimal: Literal[".", ","] = "."
    padded: bool = True
    time: Annotated[str, Field(max_length=64, pattern=r"^(%-?[YymdjbBaAHIMSpfz]|[^%])+$")] | None = None

    def write(self, value: float, decimals: int | None = None) -> str:
        """A value as text; `decimals` are those of its column, null: as many as it has."""
        if self.time is not None:
            return (_EPOCH + timedelta(seconds=min(max(value, _FIRST), _LAST))).strftime(self.time)
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
            try:
                read = datetime.strptime(text, self.time.replace("%-", "%"))
            except ValueError:
                return None
            return (read.replace(tzinfo=None) - _EPOCH).total_seconds()
        sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text)
        if len(text) > 64 or not body.startswith(self.prefix) or not body.endswith(self.suffix):
            return None
        body = body[len(self.prefix) : len(body) - len(self.suffix)]
        body = (body.replace(self.thousands, "") if self.thousands else body).replace(self.decimal, ".")
        try:
            return sign * float(body) if body[:1].isdigit() or body[:1] == "." else None
        except ValueError:
            return None
