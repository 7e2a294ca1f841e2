"""Where the rows of a CSV file begin, and how its columns are called: lines before the one that names them (a title,
comments), two lines that name them, units below them, no line at all."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# Texts that stand for a missing number. In a column of texts they may be values (NA is Namibia): only "" is missing.
MISSING = frozenset(
    ("", "?", "-", "--", "—", "–", ".", "..", "...", "*", "na", "n/a", "n.a.", "nan", "<na>", "<nan>", "nat", "null",
     "(null)", "none", "\\n", "nil", "missing", "#n/a", "#na", "#null!", "#div/0!", "#value!", "#ref!", "#num!",
     "#name?", "not available", "no data", "n/d", "-nan", "-nan(ind)", "nan(ind)", "1.#qnan", "-1.#ind", "k.a.",
     "0000-00-00", "0000-00-00 00:00:00")
)  # fmt: skip

_DATUM = re.compile(r"[^A-Za-z]*\d(?:[^A-Za-z]*|\.?\d*[eE][+-]?\d+)\Z")  # a number, a date, an amount
_DATED = re.compile(r"\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?\Z|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\Z")
_UNIT = re.compile(r"[\[(<{].*[\])>}]\Z")
_WHOLE = re.compile(r"\d{1,4}\Z")
_PREAMBLE = 20  # lines before the one that names columns, at the most
_MOSTLY = 0.8


@dataclass(frozen=True)
class Frame:
    """Where rows begin.

    Attributes:
        skip: lines before the first row.
        names: of the columns; "" for one that has none.
        headings: the lines that name them, as fields, which may come again.
        comment: what a line begins with that is no row; "" for nothing.
        notes: what was left out, and understood.
    """

    skip: int
    names: tuple[str, ...]
    headings: tuple[list[str], ...] = ()
    comment: str = ""
    notes: tuple[str, ...] = ()


def frame(
    records: Sequence[tuple[int, list[str]]], before: int = 0, comment: str = "", heading: list[str] | None = None
) -> Frame:
    """The frame of a file.

    Args:
        records: its first lines, each with the number of the line that it ends in, counted from `before` on.
        before: lines before them, which are comments or say the delimiter.
        comment: what a line begins with that is none.
        heading: the last comment's fields, which may name the columns.
    """
    notes: list[str] = []
    records = list(records)
    width = Counter(len(fields) for _, fields in records).most_common(1)[0][0]
    names: list[str] | None = None
    skip = before
    # A title, or lines about the file: of another width, or empty at their end where that which names columns is not.
    title = _title(records, width)
    if title:
        skip = before + records[title - 1][0]
        told = ", ".join(f"`{' '.join(filter(None, fields))[:60]}`" for _, fields in records[:title][:3])
        notes.append(f"left out: the first {title} lines, which are no rows: {told}" if title > 1 else
                     f"left out: the first line, which is no row: {told}")  # fmt: skip
        del records[:title]
    first = records[0][1]
    rows = [fields for _, fields in records[1:] if len(fields) == width]
    headings: list[list[str]] = []
    named = heading is not None and len(heading) == width
    if named and (first == heading or not _names_columns(first, rows)):
        names = heading
    elif len(first) == width - 1 and rows and _names_columns(["", *first], rows):
        # As R writes it: the names of rows have none; or each row ends in a delimiter.
        last = all(not fields[-1] for fields in rows)
        names = [*first, ""] if last else ["", *first]
        headings.append(first)
        skip = before + records.pop(0)[0]
    elif len(records) == 1 or _names_columns(first, rows):
        names = first
        headings.append(first)
        skip = before + records.pop(0)[0]
    if names is None:
        names = [f"column_{at + 1}" for at in range(width)]
        notes.append("the first line is taken for a row: columns are named by their number")
    elif headings and len(records) > 2 and len(records[0][1]) == width:
        second = records[0][1]
        if _is_second(second, [fields for _, fields in records[1:] if len(fields) == width]):
            headings.append(second)
            skip = before + records.pop(0)[0]
            told = ", ".join(filter(None, second))[:80]
            if len(set(filter(None, names))) < len(list(filter(None, names))):
                names = [" ".join(filter(None, pair)) for pair in zip(names, second, strict=True)]
                notes.append(f"two lines name the columns, such as `{names[-1]}`")
            else:
                notes.append(f"left out: line {skip}, which is no row but units or a second heading: `{told}`")
        (at, below), rows = records[0], [fields for _, fields in records[1:] if len(fields) == width]
        if below[0] and not any(below[1:]) and not _DATUM.match(below[0]) and _numeric(rows, 0):
            # As pandas writes it below columns of several levels.
            headings.append(below)
            names, skip = [below[0], *names[1:]], before + at
            notes.append(f"line {skip} names the first column alone: it is `{below[0]}`")
    if comment:
        notes.append(f"left out: lines that begin with {comment}")
        if headings and names[0].startswith(comment):
            names[0] = names[0].lstrip(comment + " ")
    return Frame(skip, tuple(_different(names, notes)), tuple(headings), comment, tuple(notes))


def _title(records: Sequence[tuple[int, list[str]]], width: int) -> int:
    """How many of the first lines are a title, or lines about the file."""
    lines = [fields for _, fields in records]
    for at, fields in enumerate(lines[:_PREAMBLE]):
        after = lines[at + 1 :]
        if len(fields) == width:
            # As wide as the table, and empty at its end, where a line of nothing but words comes later.
            title = width > 1 and not fields[-1] and any(_of_words(each, width) for each in after[:_PREAMBLE])
        elif len(fields) == width - 1:
            # The names of columns may be one less, for rows have a name of their own.
            rows = [each for each in after if len(each) == width]
            title = len(rows) > 1 and _of_words(rows[0], width) and _names_columns(rows[0], rows[1:])
        else:
            title = len(fields) < width
        if not title:
            return at
    return 0


def _of_words(fields: Sequence[str], width: int) -> bool:
    return len(fields) == width and all(fields[1:]) and not any(map(_DATUM.match, fields))


def _numeric(rows: Sequence[Sequence[str]], at: int) -> bool:
    """Whether a column holds numbers, dates or amounts."""
    present = [fields[at] for fields in rows if fields[at].lower() not in MISSING]
    return bool(present) and sum(bool(_DATUM.match(text)) for text in present) >= _MOSTLY * len(present)


def _names_columns(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a line names the columns of those below it."""
    if not rows or len(first) != len(rows[0]):
        return True
    numeric = [at for at in range(len(first)) if _numeric(rows, at)]
    texts = [at for at in numeric if first[at].lower() not in MISSING and not _DATUM.match(first[at])]
    if texts:
        mostly = 2 * len(texts) >= sum(first[at].lower() not in MISSING for at in numeric)
        return mostly or (_counts(first) and not _counts(rows[0]))  # label, 0, 1, 2
    if numeric:
        return _counts(first) and not (rows and _counts(rows[0])) and any(first[at] for at in numeric)
    # Texts alone: what stands in it and in other lines, too, is a value, and so is what stands in it several times.
    if len(set(filter(None, first))) < len(list(filter(None, first))) - 1:
        return False
    others = [fields for fields in rows if list(fields) != list(first)]
    known = [first[at] in {fields[at] for fields in others} for at in range(len(first))]
    return 2 * sum(known) < len(known)


def _counts(fields: Sequence[str]) -> bool:
    """Whether it counts, as years do, or the names of a frame without any: 0, 1, 2; or has as many dates as numbers."""
    if sum(bool(_DATED.match(text)) for text in fields) > max(1, sum(bool(_DATUM.match(text)) for text in fields) // 2):
        return True
    whole = [text for text in fields if _WHOLE.match(text)]
    if len(whole) < 2 or any(_DATUM.match(text) for text in fields if not _WHOLE.match(text)):
        return False
    return all(int(after) - int(before) == 1 for before, after in pairwise(whole))


def _is_second(second: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a line below the one that names columns is no row: it has words where the rows have numbers."""
    if not rows:
        return False
    numeric = [at for at in range(len(second)) if _numeric(rows, at)]
    present = [second[at] for at in numeric if second[at]]
    if any(_DATUM.match(text) for text in present):
        return False
    words = [text for text in present if text.lower() not in MISSING]
    return len(words) > 1 or (len(words) == 1 and bool(_UNIT.match(words[0])))


def _different(names: Sequence[str], notes: list[str]) -> list[str]:
    """With a number behind a name that has been before."""
    told: list[str] = []
    for name in names:
        again = next(f"{name}.{at}" for at in range(1, len(names) + 1) if f"{name}.{at}" not in names) if name else ""
        while again and again in told:
            again = f"{name}.{int(again.rpartition('.')[2]) + 1}"
        if name and name in told:
            notes.append(f"two columns are named `{name}`: this one is `{again}`")
            told.append(again)
        else:
            told.append(name)
    return told
