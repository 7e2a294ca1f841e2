"""Texts that are numbers: money, percentages, decimal commas, quantities with a unit, dates and times."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from latentserve.service.bundle import Form

_CURRENCY = r"[$€£¥₹₩₽₺฿]|(?:USD|EUR|GBP|CHF|JPY|INR|CNY|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL|MXN|US\$|R\$|kr|zł|Fr\.)"
_UNIT = (
    r"%|‰|°[CF]?|(?:k?g|mg|lbs?|oz|t|km/h|mph|kmph|kmpl|k?m|cm|mm|mi|ft|in|h|hrs?|hours?|min|mins|minutes|s|secs?|ms|yrs?"
    r"|years?|months?|weeks?|days?|[KMGT]B|[kMG]?Hz|[kM]?Wh?|V|mAh|Ah?|ml|cl|L|l|bpm|cc|bhp|hp|dB|px|Nm|kcal|cal|x)"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?P<prefix>(?:(?:{_CURRENCY})\s?)?)(?P<inner>-?)"
    r"(?P<digits>\d(?:[\d.,'\u00a0\u202f ]*[\d.])?|[.,]\d+)"
    rf"(?P<suffix>(?:\s?(?:{_UNIT}|{_CURRENCY}))?)\Z"
)
_GROUPS = {
    mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+\Z") for mark in (",", ".", "'", " ", "\u00a0", "\u202f")
}
_PLAIN = re.compile(r"\d+\Z")

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%b %Y", "%B %Y",
    "%Y-%m",
)  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
_ZONES = ("", "Z", " UTC", "+00:00", "+0000", "+00")
_PATTERNS = (
    *_DATES,
    *_CLOCKS,
    *(
        f"{date}{between}{clock}{zone}"
        for date, between, clock, zone in product(_DATES, (" ", "T", ", "), _CLOCKS, _ZONES)
    ),
)
_LIKE_A_TIME = re.compile(
    r"(?=.*\d)[\d/.:,TZUC+\- ]*(?:[A-Za-z]{3,9}[\d/.:,+\- ]*|[AaPp]\.?[Mm]\.?)?[\d/.:,TZUC+\- apmAPM]*\Z"
)


class AmbiguousError(Exception):
    """Texts that more than one form fits, as far as can be seen."""


@dataclass(frozen=True)
class Read:
    """Texts as numbers.

    Attributes:
        form: how they are written; None: as plain numbers.
        values: theirs, in order; None where a text is none.
        whole: whether all are whole numbers.
        decimals: of the text that has the most.
    """

    form: Form | None
    values: list[float | int | None]
    whole: bool
    decimals: int | None = None


def numbers(texts: Sequence[str], decimal_comma: bool) -> Read | None:
    """Different texts as numbers that are all written in one way; None where they are not.

    Args:
        texts: none of them empty.
        decimal_comma: whether `1,559` is one and a half, roughly, where nothing else tells; else it is 1559.
    """
    matches = []
    for text in texts:
        accounted = text[:1] == "(" and text[-1:] == ")"  # (1,640.11) is a negative amount
        match = _NUMBER.match(text[1:-1] if accounted else text)
        if match is None or (match["sign"] and match["inner"]):
            return None
        matches.append((match, accounted or match["sign"] == "-" or match["inner"] == "-"))
    prefixes, suffixes = ({match[of] for match, _ in matches} for of in ("prefix", "suffix"))
    if len(prefixes) > 1 or len(suffixes) > 1:
        return None
    digits = [match["digits"] for match, _ in matches]
    marks = _marks(digits, decimal_comma)
    if marks is None:
        return None
    thousands, decimal = marks
    values: list[float | int | None] = []
    decimals = set()
    for text, (_, negative) in zip(digits, matches, strict=True):
        plain = (text.replace(thousands, "") if thousands else text).replace(decimal, ".")
        decimals.add(len(plain.partition(".")[2]))
        value = float(plain) if "." in plain else int(plain)
        values.append(-value if negative else value)
    whole = decimals == {0}
    around = {"prefix": prefixes.pop(), "suffix": suffixes.pop()}
    form = Form.model_validate(around | {"thousands": thousands, "decimal": decimal, "padded": len(decimals) == 1})
    return Read(None if form == Form(padded=form.padded) else form, values, whole, max(decimals))


def _marks(digits: Sequence[str], decimal_comma: bool) -> tuple[str, str] | None:
    """What stands between thousands ("" for nothing) and before decimals; None where texts are of no one form."""
    fitting = []
    for thousands, decimal in (("", "."), ("", ","), (",", "."), (".", ","), ("'", "."), (" ", ","), (" ", "."),
                               ("\u00a0", ","), ("\u202f", ",")):  # fmt: skip
        grouped = False
        for text in digits:
            whole, mark, rest = text.partition(decimal)
            if mark and not _PLAIN.match(rest):
                break
            if thousands and _GROUPS[thousands].match(whole):
                grouped = True
            elif (whole and not _PLAIN.match(whole)) or (not whole and not rest):
                break
        else:
            if grouped or not thousands:
                fitting.append((thousands, decimal))
    if ("", ".") in fitting and not any("." in text for text in digits):
        return ("", ".")  # nothing but digits
    # `1,559` fits as thousands and as decimals; so does `1.559`.
    if (",", ".") in fitting and ("", ",") in fitting:
        return ("", ",") if decimal_comma else (",", ".")
    if (".", ",") in fitting and ("", ".") in fitting:
        return (".", ",") if decimal_comma else ("", ".")
    return fitting[0] if fitting else None


def times(texts: Sequence[str], stated: str | None = None) -> Read | None:
    """Different texts as times, in seconds since 1970 or of a day; None where they are none.

    `stated` is how they are written, as strptime has it. Raises AmbiguousError where days and months cannot be told
    apart.
    """
    if stated is None and not all(len(text) < 48 and _LIKE_A_TIME.match(text) for text in texts):
        return None
    patterns = list(_PATTERNS) if stated is None else [stated]
    for text in texts:
        patterns = [pattern for pattern in patterns if _time(text, pattern) is not None]
        if not patterns:
            return None
    found = {tuple(_time(text, pattern) for text in texts[:1000]): pattern for pattern in reversed(patterns)}
    if len(found) > 1:
        raise AmbiguousError(" or ".join(dict.fromkeys(sorted(found.values()))))
    pattern = patterns[0]
    values: list[float | int | None] = []
    for text in texts:
        seconds = _time(text, pattern)
        values.append(seconds if seconds is None or seconds % 1 else int(seconds))
    return Read(Form(time=_unpadded(pattern, texts)), values, all(isinstance(value, int) for value in values))


def _unpadded(pattern: str, texts: Sequence[str]) -> str:
    """The pattern with days, months and hours as they are written most often: with a zero before them, or without."""
    bare = re.sub(r"%(?=[dmHI])", "%-", pattern)
    counts = Counter[str]()
    for text in texts[:1000]:
        seconds = _time(text, pattern)
        if seconds is not None:
            counts.update(each for each in (pattern, bare) if Form(time=each).write(seconds) == text)
    return bare if counts[bare] > counts[pattern] else pattern


def _time(text: str, pattern: str) -> float | None:
    return Form(time=pattern).read(text)
