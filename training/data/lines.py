"""Lines of CSV files, however they are written: with whichever delimiter, quotes and encoding they have."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import charset_normalizer
import duckdb

from latentserve.service.errors import one_line
from latentserve.training.data.framing import Frame, frame
from latentserve.training.errors import DataError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
PACKED = (".gz", ".bz2", ".xz", ".zst")

_LOOKED_AT = 1 << 20  # bytes that say how a file is written
_GUESSED_FROM = 1 << 16  # bytes around what is no UTF-8, that say what it is
_RECORDS = 200  # that say which of them names the columns
_LOOSE_LINES = 10  # at a file's end that are no rows, at the most
_WRAPPED = re.compile(r'"((?:[^"]|"")*)"(\s*)\Z')  # a line that is one field, as far as quotes say
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_RARE = ("\x01", "~", "^")  # delimiters that DuckDB does not look for
_LONG = ("::", "||", ";;", "|~|", "~|~", "@@", "##")  # delimiters of several characters, as MovieLens has them
_UNIT = "\x1f"  # stands for one of these, where a reader takes one character
_SPARSE = re.compile(r"\S+(?: +\d+:[-+.\deE]+)+\s*\Z")
_ALIGNED = re.compile(r"\d {2,}\d")  # numbers one below the other
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_LATIN = {"cp1252", "latin_1", "iso8859_15", "cp1250", "iso8859_2", "cp437", "cp850", "mac_roman", "cp1254", "cp1257"}
_NOT_WESTERN = re.compile(rb"[\x81-\x84\x86-\x90\x98-\x9f]|[\x80-\xff]{3}")  # but letters with marks, one by one
_OTHER_WORDS = re.compile(rb"[\xc0-\xff]{4}")  # of letters that no language of these has beside each other
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)

# What files begin with that are no tables, whatever they are called.
_ELSE = (
    (b"PK\x03\x04", "is a ZIP archive or a workbook: name it .zip, or save its sheet as CSV"),
    (b"\x1f\x8b", "is gzipped: name it .gz"),
    (b"%PDF", "is a PDF"),
    (b"PAR1", "is Parquet: name it .parquet"),
    (b"BZh", "is packed by bzip2: name it .bz2"),
    (b"\xfd7zXZ", "is packed by xz: name it .xz"),
    (b"(\xb5/\xfd", "is packed by zstd: name it .zst"),
    (b"SQLite format 3", "is a database of SQLite: save its table as CSV or Parquet"),
    (b"\x89HDF", "is HDF5: save its arrays by numpy.savez, or its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "is a workbook of Excel: save its sheet as CSV"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file: `git lfs pull` brings it"),
    (b"<!doctype", "is a web page, not what was to be downloaded"),
    (b"<html", "is a web page, not what was to be downloaded"),
    (b"<?xml", "is XML: save its table as CSV"),
)

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        encoding: as Python calls it.
        delimiter, quote: one character each, but for delimiters such as `::`; fields parted by a space may be parted by
            several, or by tabs; no `quote`: quotes are part of the fields.
        doubled: whether a quote within quotes is written twice; else behind a backslash.
        frame: where its rows begin, and how its columns are called; None: the first line names them.
        wrapped: whether lines are in quotes as a whole, those within written twice.
    """

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    quote: str = '"'
    doubled: bool = True
    frame: Frame | None = None
    wrapped: bool = False

    @property
    def sentences(self) -> list[str]:
        """What is not as in RFC 4180, for a reader."""
        told = []
        if self.delimiter != ",":
            told.append(f"fields are parted by {_NAMES.get(self.delimiter, repr(self.delimiter))}")
        if self.encoding != "utf-8-sig":
            told.append(f"the encoding is {self.encoding}")
        if self.quote != '"':
            told.append(f"the quotes are {self.quote}" if self.quote else "quotes are part of the fields")
        if self.wrapped:
            told.append("lines are in quotes as a whole")
        written = ["; ".join(told)] if told else []
        return [*written, *(self.frame.notes if self.frame is not None else ())]

    def records(self, lines: Iterator[str]) -> Any:
        """A csv.reader of such lines."""
        if self.wrapped:
            lines = map(_unwrapped, lines)
        if self.delimiter == " ":
            lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
        if len(self.delimiter) > 1:
            lines = (line.replace(self.delimiter, _UNIT) for line in lines)
        return csv.reader(
            lines,
            delimiter=self.delimiter if len(self.delimiter) == 1 else _UNIT,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            doublequote=self.doubled,
            escapechar=None if self.doubled else "\\",
            skipinitialspace=True,
            strict=True,
        )


def csv_lines(
    path: Path, dialect: Dialect | None = None, source: Open | None = None, notes: list[str] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Each line of a CSV file, packed or not, with its number, from the one that names the columns on; spaces around a
    field are no part of it. Empty lines are left out, and where `dialect` has a frame so are lines that hold no value,
    that name the columns again, and up to ten at the end that are of one field.

    Args:
        path: What it is called.
        dialect: How it is written; None: as RFC 4180 has it, in UTF-8.
        source: What opens it; None: it is a file at `path`.
        notes: What was left out is added to them.

    Raises DataError naming file and line, of one that has fewer or more fields than there are columns, too.
    """
    dialect = dialect or Dialect()
    framed = dialect.frame
    skipped, names = (0, None) if framed is None else (framed.skip, list(framed.names))
    number = 0
    columns = 0 if names is None else len(names)
    blank = again = 0
    loose: list[tuple[int, list[str]]] = []
    try:
        with io.TextIOWrapper(opened(path, source), dialect.encoding, newline="") as file:
            if framed is not None:
                yield 0, list(framed.names)
            lines = dialect.records(_rows_of(file, framed))
            for line in lines:
                number = lines.line_num + skipped
                if not columns:
                    if not line:
                        break
                    columns = len(line)
                elif not line:
                    continue
                fields = [field.strip() for field in line]
                if framed is not None and fields in framed.headings:
                    again += 1
                    continue
                if framed is not None and columns > 1 and not any(fields):
                    blank += 1
                    continue
                if framed is not None and len(fields) == columns + 1 and not fields[-1]:
                    fields.pop()
                if len(fields) != columns:
                    short = sum(map(bool, fields)) <= 1 and not NUMBER.match("".join(fields))
                    if framed is None or not short or len(loose) == _LOOSE_LINES:
                        raise DataError(f"{path}: line {number}: fields: {len(fields)}, columns: {columns}")
                    loose.append((number, fields))
                    continue
                if loose:
                    break
                yield number, fields
            if loose and len(fields) == columns:
                raise DataError(f"{path}: line {loose[0][0]}: fields: {len(loose[0][1])}, columns: {columns}")
    except (*_UNREADABLE, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: after line {number}: {error}") from None
    if not columns:
        raise DataError(f"{path}: no line that names columns")
    if notes is not None:
        notes += [f"left out: {again:,} lines that name the columns again"] if again else []
        notes += [f"left out: {blank:,} rows without a value"] if blank else []
        notes += [f"left out: line {number}, which is no row: `{' '.join(fields)[:60]}`" for number, fields in loose]


def _rows_of(file: IO[str], framed: Frame | None) -> Iterator[str]:
    """Its lines, from the one on that rows begin with."""
    for at, line in enumerate(file):
        if framed is not None and (at < framed.skip or (framed.comment and line.startswith(framed.comment))):
            continue
        yield line


def opened(path: Path, source: Open | None) -> IO[bytes]:
    """The bytes of a file, unpacked. Raises OSError."""
    raw: Any = path.open("rb") if source is None else source()
    suffix = path.suffix.lower()
    if suffix == ".zst":
        try:
            import pyarrow as pa
        except ModuleNotFoundError:
            raise OSError("pyarrow is not installed: install latentserve[tables]") from None
        return io.BufferedReader(pa.CompressedInputStream(raw, "zstd"))
    packed: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix)
    unpacked: IO[bytes] = raw if packed is None else packed(raw)
    return unpacked


def sniff(path: Path, source: Open | None = None) -> Dialect:
    """How a CSV file is written: the encoding by its marks and bytes, delimiter and quotes as DuckDB sees them in the
    first megabyte (van den Burg et al. 2019, "Wrangling messy CSV files by detecting row and type patterns", is the
    like of it), and where its rows begin.

    Raises DataError naming a file that cannot be read, or is something else.
    """
    try:
        with opened(path, source) as file:
            encoding = _encoding(file)
        with opened(path, source) as file:
            head = file.read(_LOOKED_AT)
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if (told := something_else(head)) is not None:
        raise DataError(f"{path}: {told}")
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip("\ufeff")
    if len(head) == _LOOKED_AT:
        text = text[: text.rfind("\n") + 1] or text
    if not text.strip():
        raise DataError(f"{path}: no line that names columns")
    lines = text.splitlines(keepends=True) if "\n" in text or "\r" in text else [text]
    stated = re.match(r"sep=(.)\s*\Z", lines[0])  # as Excel has it
    before = [] if stated is None else [lines.pop(0)]
    comment = next((mark for mark in ("#", "%") if lines and lines[0].startswith(mark)), "")
    while lines and comment and lines[0].startswith(comment):
        before.append(lines.pop(0))
    if not lines:
        raise DataError(f"{path}: no line that is no comment")
    if all(map(_SPARSE.match, lines[:_RECORDS])):
        raise DataError(f"{path}: sparse rows, as LIBSVM has them, are not read: save it as CSV")
    wrapped = _are_wrapped(lines[:_RECORDS])
    inner = [_unwrapped(line) for line in lines] if wrapped else lines
    delimiter, quote, doubled = _written(inner, path) if stated is None else (stated[1], '"', True)
    dialect = Dialect(encoding, delimiter, quote, doubled, wrapped=wrapped)
    records: list[tuple[int, list[str]]] = []
    try:
        reader = dialect.records(iter(lines))
        for record in reader:
            if record:
                records.append((reader.line_num, [field.strip() for field in record]))
            if len(records) == _RECORDS:
                break
    except csv.Error as error:
        if not records:
            raise DataError(f"{path}: after line {len(before)}: {error}") from None
    heading = None
    if comment and before[-1:] and before[-1].startswith(comment):
        heading = [field.strip() for field in next(dialect.records(iter([before[-1].lstrip(comment + " ")])), [])]
    return replace(dialect, frame=frame(records, len(before), comment, heading))


def something_else(head: bytes) -> str | None:
    """What a file is by its first bytes that is neither a table nor a picture; None where that is not known."""
    begun = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return next((told for begin, told in _ELSE if begun.startswith(begin.lower())), None)


def _are_wrapped(lines: Sequence[str]) -> bool:
    """Whether most lines are in quotes as a whole, and hold as many fields each without them."""
    some = [line.strip() for line in lines if line.strip()]
    if len(some) < 2 or 2 * sum(bool(_WRAPPED.match(line)) for line in some) <= len(some):
        return False
    inner = [_unwrapped(line) for line in some]
    counts = ({len(fields) for fields in csv.reader(inner, delimiter=delimiter)} for delimiter in ",;\t|")
    return any(len(of) == 1 and of != {1} for of in counts)


def _unwrapped(line: str) -> str:
    found = _WRAPPED.match(line)
    return line if found is None else found[1].replace('""', '"') + found[2]


def _written(lines: list[str], path: Path) -> tuple[str, str, bool]:
    """Delimiter and quote, and whether a quote within quotes is written twice."""
    text = "".join(lines)
    some = [line for line in lines[:_RECORDS] if line.strip()]
    long = max(_LONG, key=lambda one: _regularly(one, some))
    if _regularly(long, some) > max(_regularly(one, some) for one in ",;\t"):
        return long, "", True
    with (
        tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", suffix=".csv") as file,
        duckdb.connect() as own,  # the one that the module has by itself is the user's
    ):
        file.write(text)
        file.flush()
        try:
            found = own.execute(
                "SELECT Delimiter, Quote, Escape FROM sniff_csv(?, sample_size = -1, strict_mode = false)", [file.name]
            ).fetchone()
        except duckdb.Error as error:
            if path.suffix.lower() in (".tsv", ".tab"):
                raise DataError(f"{path}: cannot be read as a table: {one_line(error)}") from None
            found = None
    delimiter, quote, escape = (",", '"', '"') if found is None else found
    tabs = {line.count("\t") for line in some}
    if path.name.lower().partition(".")[2].startswith(("tsv", "tab")) and len(tabs) == 1 and tabs != {0}:
        delimiter = "\t"  # whatever commas there are in texts
    aligned = delimiter == "\t" and (
        "\t" not in some[0] or sum(bool(_ALIGNED.search(line)) for line in some) > len(some) / 2
    )
    if aligned or sum(delimiter in line for line in some) <= len(some) // 2:
        delimiter = _rare(some, path)
    at = rf"(?:^|{re.escape(delimiter)})[ ]*"
    end = rf"[ ]*(?:{re.escape(delimiter)}|\r?$)"
    if quote not in ("'", "`") or re.search(at + '"', text, re.MULTILINE) or not re.search(
        rf"{at}{quote}[^{quote}\n]*{quote}{end}", text, re.MULTILINE
    ):  # fmt: skip
        quote = (
            "" if _is_text([line for line in lines if line.strip()], delimiter) else '"'
        )  # DuckDB writes "(empty)" where it saw none
    backslashes = '\\"' in text and '""' not in text.replace('\\""', "")
    return delimiter, quote, not (escape == "\\" or backslashes)


def _regularly(delimiter: str, lines: Sequence[str]) -> int:
    """How many of it each line has; 0 where they have not as many."""
    counts = {line.count(delimiter) for line in lines}
    return counts.pop() if len(counts) == 1 else 0


def _is_text(lines: Sequence[str], delimiter: str) -> bool:
    """Whether quotes are part of the fields, as in sentences: each line has as many of these, and one of them begins
    with a quote and has an odd number of them."""
    rows = [line.strip().split(delimiter) for line in lines]
    if len(rows[0]) == 1 or len({len(row) for row in rows}) > 1:
        return False
    if not any(field[:1] == '"' and field.count('"') % 2 for row in rows for field in row):
        return False
    try:
        return len({len(row) for row in csv.reader(lines, delimiter=delimiter, strict=True)}) > 1
    except csv.Error:
        return True


def _rare(lines: list[str], path: Path) -> str:
    """A delimiter that stands equally often in nearly all lines, where the usual ones do not."""
    for delimiter in _RARE:
        counts = [line.count(delimiter) for line in lines]
        if (usual := max(set(counts), key=counts.count)) and counts.count(usual) >= 0.9 * len(lines):
            return delimiter
    rows = [re.findall(r'"[^"]*"|\S+', line) for line in lines]
    usual = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [fields for at, fields in enumerate(rows) if len(fields) == usual or (not at and len(fields) == usual - 1)]
    if usual == 1 or len(rows) < 0.9 * len(lines):
        return ","
    # A sentence has spaces, too.
    numeric = sum(all(NUMBER.match(fields[at]) for fields in rows[1:] if at < len(fields)) for at in range(usual))
    return " " if numeric > 1 or not path.name.lower().partition(".")[2].startswith("csv") else ","


def _encoding(file: IO[bytes]) -> str:
    """The encoding of all of a file."""
    head = file.read(_LOOKED_AT)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if head[:2000].count(0) > len(head[:2000]) // 4:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    chunk = head
    while chunk:
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            around = chunk[max(0, error.start - _GUESSED_FROM // 2) :][:_GUESSED_FROM]
            best = charset_normalizer.from_bytes(around).best()
            guess = "cp1252" if best is None else best.encoding
            if guess in _LATIN and _OTHER_WORDS.search(around) and _decodes(around, "cp1251"):
                return "cp1251"  # the likeliest of those that too few words tell apart
            western = guess in _LATIN or not _NOT_WESTERN.search(around)
            return "cp1252" if western and _decodes(around, "cp1252") else guess
        chunk = file.read(_LOOKED_AT)
    return "utf-8-sig"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
