"""Texts that are numbers: money, percentages, decimal commas, quantities with a unit, dates and times."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import product

from latentserve.service.bundle import Form

_CURRENCY = (
    r"[$€£¥₹₨₩₽₺₴₦₫₪₱฿₿]|(?:(?:USD|EUR|GBP|CHF|JPY|INR|CNY|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|KRW|TRY|RUB|"
    r"RMB|Rs\.?|RM|US\$|AU\$|CA\$|NZ\$|HK\$|NT\$|[ACSR]\$|kr\.?|zł|Kč|Ft|Fr\.)(?![A-Za-z]))"
)
_UNIT = (
    r"%|‰|°[CF]?|(?:k?g|mg|lbs?|oz|t|km/h|mph|kmph|kmpl|k?m|cm|mm|mi|ft|in|h|hrs?|hours?|min|mins|minutes|s|secs?|ms|yrs?"
    r"|years?|months?|weeks?|days?|[KMGT]B|[kMG]?Hz|[kM]?Wh?|V|mAh|Ah?|ml|cl|L|l|bpm|cc|bhp|hp|dB|px|Nm|kcal|cal|x)"
)
_KNOWN = re.compile(rf"(?:{_UNIT}|{_CURRENCY})?\Z")
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?P<prefix>(?:(?:{_CURRENCY}|[~≈><≥≤±])\s?)?)(?P<inner>-?)"
    r"(?P<digits>\d(?:[\d.,'\u2019\u00a0\u202f ]*[\d.])?|[.,]\d+)"
    r"(?P<after>-?)(?P<suffix>(?:\s?[^\s\d.,'\u2019+-][^\d]{0,14}|\+)?)\Z"
)
_SCIENTIFIC = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)[eEdD][+-]?\d+\Z")
_MAGNITUDES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "m": 10**6, "Mn": 10**6, "Mio": 10**6, "B": 10**9, "b": 10**9,
               "bn": 10**9, "Bn": 10**9, "T": 10**12}  # fmt: skip
_GROUPS = {
    mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+\Z")
    for mark in (",", ".", "'", "\u2019", " ", "\u00a0", "\u202f")
}
_LAKHS = re.compile(r"\d{1,2}(?:,\d\d)*,\d{3}(?:\.\d+)?\Z|\d{1,3}(?:\.\d+)?\Z")
_PLAIN = re.compile(r"\d+\Z")

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%d %b %Y", "%d %b %y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y",
    "%B %d, %Y", "%d %B %Y", "%d. %B %Y", "%b %d %Y", "%B %d %Y", "%a, %d %b %Y", "%a %b %d %Y", "%A, %B %d, %Y",
    "%a, %b %d, %Y", "%A, %d %B %Y", "%Y-%b-%d", "%Y年%m月%d日", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%m/%Y", "%Y-%m",
    "%Y/%m",
)  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p")
_PATTERNS = (
    *_DATES,
    *_CLOCKS,
    *(f"{date}{between}{clock}" for date, between, clock in product(_DATES, (" ", "T", ", "), _CLOCKS)),
    "%d/%b/%Y:%H:%M:%S", "[%d/%b/%Y:%H:%M:%S +0000]", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S +0000 %Y",
    "%Y%m%dT%H%M%S", "%YQ%Q", "%Y-Q%Q", "%Y Q%Q", "Q%Q %Y", "Q%Q-%Y", "Q%Q/%Y", "%G-W%V", "%GW%V", "%G W%V",
)  # fmt: skip
_DURATIONS = ("%K:%M:%S", "%K:%M", "%K:%M:%S.%f")  # of a day or more, where clocks do not fit
_OF_DAYS = re.compile(r"(\d+) days?,? (\d{1,2})(:\d\d:\d\d)(?:\.\d+)?\Z")  # as Python and pandas write them
_OF_LAPS = re.compile(r"(?:(\d{1,3}):([0-5]\d|\d(?=\.))|(\d{1,2}))([.,]\d{1,6})\Z")  # 1:23.456, or 58.901 beside such
_OF_ISO = re.compile(r"P(?=[T\d])(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?\Z")
_OFFSETS = {"GMT": 0, "BST": 1, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "EST": -5, "EDT": -4,
            "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}  # fmt: skip
# Months in German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Danish, Polish, Czech, Turkish and Russian;
# three letters of one are enough.
_MONTHS = {
    "Jan": "january januar januari jänner janvier enero gennaio janeiro styczeń stycznia leden ledna ocak январь "
           "января",
    "Feb": "february februar februari février fevrier febrero febbraio fevereiro luty lutego únor února şubat "
           "февраль февраля",
    "Mar": "march märz mrz mars marts marzo março maart mrt marzec marca březen března mart март марта",
    "Apr": "april avril abril aprile kwiecień kwietnia duben dubna nisan апрель апреля",
    "May": "may mai mayo maggio mei maj maja květen května mayıs май мая",
    "Jun": "june juni juin junio giugno junho czerwiec czerwca červen června haziran июнь июня",
    "Jul": "july juli juillet julio luglio julho lipiec lipca červenec července temmuz июль июля",
    "Aug": "august augustus augusti août aout agosto sierpień sierpnia srpen srpna ağustos август августа",
    "Sep": "september settembre setembro wrzesień września září eylül сентябрь сентября",
    "Oct": "october oktober octobre octubre ottobre outubro październik października říjen října ekim октябрь октября",
    "Nov": "november listopad listopada listopadu kasım ноябрь ноября",
    "Dec": "december dezember décembre decembre diciembre dicembre dezembro desember grudzień grudnia prosinec "
           "prosince aralık декабрь декабря",
}  # fmt: skip
_WRITTEN_MONTH = re.compile(r"[^\W\d_]{3,}\.?")
_ZONE = re.compile(
    r":\d\d(?:[.,]\d+)?(?: ?[AaPp][Mm])?( ?Z| ?[+-]\d\d(?::?\d\d)?| ?(?:UTC|GMT|[A-Z]{1,3}[SD]?T)"
    r"| [A-Z][a-z]+/[\w/]+)\Z"
)
_WORDS = frozenset(
    ("january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december",
     "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "am", "pm", "t", "monday",
     "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "mon", "tue", "wed", "thu", "fri", "sat",
     "sun", "q", "w")
)  # fmt: skip
_LONGEST = 48  # characters of a time
_SOME = 100  # texts, of which each may be a date
_COMPACT = (("%Y%m%d", 8, 5), ("%Y%m%d%H%M", 12, 5), ("%Y%m%d%H%M%S", 14, 5), ("%Y%m", 6, 10))


class AmbiguousError(Exception):
    """Texts that more than one form fits, as far as can be seen."""


class MixedError(Exception):
    """Numbers or dates (`what`) that are not all written in one way."""

    def __init__(self, shown: str, what: str = "numbers") -> None:
        super().__init__(shown)
        self.what = what


@dataclass(frozen=True)
class Read:
    """Texts as numbers.

    Attributes:
        form: how they are written; None: as plain numbers.
        values: theirs, in order; None where a text is none.
        whole: whether all are whole numbers.
        decimals: of the text that has the most.
        note: what was made of them.
    """

    form: Form | None
    values: list[float | int | None]
    whole: bool
    decimals: int | None = None
    note: str | None = None


def numbers(texts: Sequence[str], decimal_comma: bool) -> Read | None:
    """Different texts as numbers that are all written in one way; None where they are not.

    Args:
        texts: none of them empty.
        decimal_comma: whether `1,559` is one and a half, roughly, where nothing else tells; else it is 1559.
    """
    texts = [text.replace("\u2212", "-") for text in texts]
    if all(map(_SCIENTIFIC.match, texts)):
        floats = [float(text.replace(",", ".").lower().replace("d", "e")) for text in texts]
        return Read(None, list(floats), whole=False)
    matches = []
    for text in texts:
        accounted = text[-1:] == ")" and "(" in text[:2]  # (1,640.11) and $(12) are negative amounts
        match = _NUMBER.match(text.replace("(", "", 1)[:-1] if accounted else text)
        if match is None or sum(map(bool, (match["sign"], match["inner"], match["after"]))) > 1:
            return None
        matches.append((match, accounted or "-" in (match["sign"], match["inner"], match["after"])))
    note = None
    around = {(match["prefix"], match["suffix"]) for match, _ in matches if match["digits"] != "0"}
    magnitudes = {suffix.strip() for _, suffix in around}
    scaled = len(magnitudes) > 1 and magnitudes <= _MAGNITUDES.keys() and bool(magnitudes & {"k", "K", "M", "B"})
    if len(around) != 1 and not (scaled and len({prefix for prefix, _ in around}) == 1):
        plain = sum(match["prefix"] == match["suffix"] == "" for match, _ in matches)
        if all(_KNOWN.match(one.strip()) for pair in around for one in pair) or 2 * plain >= len(matches):
            shown = {(match["prefix"], match["suffix"]): text for text, (match, _) in zip(texts, matches, strict=True)}
            raise MixedError(", ".join(f"`{text}`" for text in sorted(shown.values())[:3]))
        return None
    prefix, suffix = around.pop() if len(around) == 1 else (next(iter(around))[0], "")
    digits = [match["digits"] for match, _ in matches]
    western = all("," not in text or _GROUPS[","].match(text.partition(".")[0]) for text in digits)
    if not western and all(map(_LAKHS.match, digits)):
        digits = [text.replace(",", "") for text in digits]
        note = f"`{texts[0]}` is written as {digits[0]}"
    marks = _marks(digits, decimal_comma)
    if marks is None:
        return None
    thousands, decimal = marks
    values: list[float | int | None] = []
    decimals = set()
    for text, (match, negative) in zip(digits, matches, strict=True):
        plainly = (text.replace(thousands, "") if thousands else text).replace(decimal, ".")
        factor = _MAGNITUDES[match["suffix"].strip()] if scaled else 1
        value: float | int = float(plainly) if "." in plainly else int(plainly)
        if factor > 1:
            value = round(value * factor)
        decimals.add(0 if factor > 1 else len(plainly.partition(".")[2]))
        values.append(-value if negative else value)
    if scaled:
        at = max(range(len(texts)), key=lambda at: abs(values[at] or 0))
        note = f"`{texts[at]}` is read as {values[at]}, and written so"
    whole = decimals == {0}
    padded = len(decimals) == 1
    form = Form(prefix=prefix, suffix=suffix, thousands=thousands, decimal=decimal, padded=padded)  # type: ignore[arg-type]
    return Read(None if form == Form(padded=padded) else form, values, whole, max(decimals), note)


def _marks(digits: Sequence[str], decimal_comma: bool) -> tuple[str, str] | None:
    """What stands between thousands ("" for nothing) and before decimals; None where texts are of no one form."""
    fitting = []
    for thousands, decimal in (("", "."), ("", ","), (",", "."), (".", ","), ("'", "."), ("\u2019", "."), (" ", ","),
                               (" ", "."), ("\u00a0", ","), ("\u202f", ",")):  # fmt: skip
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
    if stated is not None:
        return _as_times(texts, stated, "")
    if any(":" in text for text in texts) and all(map(_OF_LAPS.match, texts)):
        return _of_laps(texts)
    if not all(_like_a_time(text) for text in texts):
        return _spelt(texts)
    zones = {str(found[1]) if (found := _ZONE.search(text)) else "" for text in texts}
    if len(zones) > 1 and all(zone[-1:].isdigit() or zone.strip() in ("", "Z", "UTC", *_OFFSETS) for zone in zones):
        return _of_zones(texts)
    zone = zones.pop() if len(zones) == 1 else ""
    bare = [text.removesuffix(zone) for text in texts]
    patterns = [pattern for pattern in _by_outline().get(_outline(bare[0]), ()) if _time(bare[0], pattern) is not None]
    for text in bare[1:] if patterns else bare[:1]:
        left = [pattern for pattern in patterns if _time(text, pattern) is not None]
        if not left:
            durations = None if zone else next(filter(None, (_as_times(texts, one, "") for one in _DURATIONS)), None)
            read = durations or _of_two(texts, bare, patterns, zone)
            if read is None and all(map(_is_a_time, bare[:_SOME])):
                raise MixedError(f"`{bare[0]}`, `{text}`", "dates")
            return read
        patterns = left
    several = {tuple(_time(text, pattern) for text in bare[:1000]): pattern for pattern in reversed(patterns)}
    if len(several) > 1:
        raise AmbiguousError(" or ".join(dict.fromkeys(sorted(several.values()))))
    return _as_times(texts, patterns[0], zone)


def _outline(text: str) -> tuple[str, bool]:
    """What a text shares with every pattern that fits it: its marks, in order, and whether there are letters."""
    marks = "".join(each for each in text if not each.isalnum() and not each.isspace())
    return marks, any(map(str.isalpha, text))


@cache
def _by_outline() -> dict[tuple[str, bool], list[str]]:
    """Patterns by the outline of the texts that they fit: `strptime` compiles each that it is asked for, and to compile
    all takes seconds."""
    found: dict[tuple[str, bool], list[str]] = {}
    for pattern in _PATTERNS:
        example = re.sub("%[aAbBp]", "x", re.sub("%[YymdHIMSfGVQ]", "0", pattern))
        found.setdefault(_outline(example), []).append(pattern)
    return found


def _is_a_time(text: str) -> bool:
    """Whether any pattern fits it."""
    return any(_time(text, pattern) is not None for pattern in _by_outline().get(_outline(text), ()))


def _like_a_time(text: str) -> bool:
    zone = _ZONE.search(text)
    words = re.findall(r"[^\W\d_年月日]+", text[: zone.start(1)] if zone else text)
    return len(text) < _LONGEST and any(map(str.isdigit, text)) and all(word.lower() in _WORDS for word in words)


def _spelt(texts: Sequence[str]) -> Read | None:
    """Times with words in them: durations such as `1 days 02:03:04` and `PT4M13S`, and months of other languages."""
    plain = []
    for text in texts:
        of_days, of_iso = _OF_DAYS.match(text), _OF_ISO.match(text)
        if of_days:
            plain.append(f"{24 * int(of_days[1]) + int(of_days[2]):02d}{of_days[3]}")
        elif of_iso:
            days, hours, minutes, seconds = (int(number or 0) for number in of_iso.groups())
            minutes += seconds // 60
            plain.append(f"{24 * days + hours + minutes // 60:02d}:{minutes % 60:02d}:{seconds % 60:02d}")
        else:
            english = _WRITTEN_MONTH.sub(lambda word: _month(word[0]) or word[0], text[:_LONGEST])
            english = re.sub(
                r"(?<=\d\d\d\d) ?(?:г\.?|года|r\.?|roku)\Z", "", english
            )  # of the year, in Russian and Polish
            plain.append(re.sub(r"(?<=\d)(?:\.|er|st|nd|rd|th),? | del? ", " ", english))
            if not _like_a_time(plain[-1]):
                return None
    durations = all(_OF_DAYS.match(text) or _OF_ISO.match(text) for text in texts)
    read = _as_times(plain, _DURATIONS[0], "") if durations else times(plain)
    if read is None or read.form is None:
        return None
    written = read.form.write(read.values[0] or 0)
    return replace(read, note=f"`{texts[0]}` is written as {written}")


def _of_laps(texts: Sequence[str]) -> Read:
    """Minutes, seconds and their fractions, as seconds: a time that is kept to the second would lose what they tell."""
    found = [match for text in texts if (match := _OF_LAPS.match(text))]
    values = [60 * int(one[1] or 0) + float((one[2] or one[3]) + one[4].replace(",", ".")) for one in found]
    decimals = max(len(one[4]) - 1 for one in found)
    at = next(at for at, text in enumerate(texts) if ":" in text)
    note = f"`{texts[at]}` is written as {values[at]:.{decimals}f}, in seconds"
    return Read(None, [round(value, decimals) for value in values], whole=False, decimals=decimals, note=note)


def _month(word: str) -> str | None:
    """A month in English by its name in another language, or what that begins with."""
    word = word.rstrip(".").casefold()
    if exact := next((month for month, known in _MONTHS.items() if word in known.split()), None):
        return exact
    found = {month for month, known in _MONTHS.items() if any(one.startswith(word) for one in known.split())}
    found |= {month for month in _MONTHS if word.startswith(month.casefold()) and word.startswith(("nov", "sep"))}
    return found.pop() if len(found) == 1 else None


def _as_times(texts: Sequence[str], pattern: str, zone: str, note: str | None = None) -> Read | None:
    """Times that are all written in one way."""
    values: list[float | int | None] = []
    for text in texts:
        seconds = _time(text, pattern + zone)
        if seconds is None:
            return None
        values.append(seconds if seconds % 1 else int(seconds))
    form = Form(time=_unpadded(pattern + zone, texts))
    return Read(form, values, all(isinstance(value, int) for value in values), note=note)


def _of_two(texts: Sequence[str], bare: Sequence[str], patterns: Sequence[str], zone: str) -> Read | None:
    """Times some of which have no clock, or no fraction of a second, where the others do: as those are written."""
    for short in patterns:
        for long in _PATTERNS:
            if len(long) > len(short) and long.startswith(short):
                read = [_time(text, long) if (at := _time(text, short)) is None else at for text in bare]
                if None not in read:
                    at = next(at for at, text in enumerate(bare) if _time(text, short) is not None)
                    form = Form(time=long + zone)
                    written = Form(time=re.sub(r"[.,]%f", "", long) + zone).write(read[at] or 0)
                    note = f"`{texts[at]}` is written as {written}" if written != texts[at] else None
                    values: list[float | int | None] = [one if one is None or one % 1 else int(one) for one in read]
                    return Read(form, values, whole=False, note=note)
    return None


def _of_zones(texts: Sequence[str]) -> Read | None:
    """Times of several offsets from UTC, brought to it."""
    values: list[float | int | None] = []
    for text in texts:
        named = re.search(r" ?([A-Z]{3,4})\Z", text)
        if named and named[1] in _OFFSETS:
            text = f"{text[: named.start()]}{_OFFSETS[named[1]]:+03d}:00"
        try:
            when = datetime.fromisoformat(text.replace(" UTC", "Z"))
        except ValueError:
            return None
        seconds = when.timestamp() if when.tzinfo else when.replace(tzinfo=UTC).timestamp()
        values.append(seconds if seconds % 1 else int(seconds))
    between = "T" if re.search(r"\dT\d", texts[0]) else " "
    naive = any(_ZONE.search(text) is None for text in texts)
    note = "times are of several zones, and were brought to UTC" + ("; those without one are taken as UTC" * naive)
    return Read(Form(time=f"%Y-%m-%d{between}%H:%M:%S+00:00"), values, whole=False, note=note)


def compact(numbers: Sequence[int]) -> str | None:
    """How whole numbers that are dates are written, such as 20240131; None where they are no dates."""
    for pattern, digits, least in _COMPACT:
        if len(numbers) >= least and all(len(str(number)) == digits for number in numbers):
            years = {number // 10 ** (digits - 4) for number in numbers}
            fit = min(years) >= 1900 and max(years) <= 2100
            if fit and all(_time(str(number), pattern) is not None for number in numbers):
                return pattern
    return None


def _unpadded(pattern: str, texts: Sequence[str]) -> str:
    """The pattern with days, months and hours as they are written most often: with a zero before them, or without."""
    bare = re.sub(r"%(?=[dmHIK])", "%-", pattern)
    counts = Counter[str]()
    for text in texts[:1000]:
        seconds = _time(text, pattern)
        if seconds is not None:
            counts.update(each for each in (pattern, bare) if Form(time=each).write(seconds) == text)
    return bare if counts[bare] > counts[pattern] else pattern


def _time(text: str, pattern: str) -> float | None:
    return Form(time=pattern).read(text)
