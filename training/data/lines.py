"""Lines of CSV files, however they are written: with whichever delimiter, quotes and encoding they have."""

import codecs
import csv
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import charset_normalizer
import duckdb

from latentserve.service.errors import one_line
from latentserve.training.errors import DataError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")

_LOOKED_AT = 1 << 20  # bytes that say how a file is written
_GUESSED_FROM = 1 << 16  # bytes around what is no UTF-8, that say what it is
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces", ":": "colons"}
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LATIN = {"cp1252", "latin_1", "iso8859_15", "cp1250", "iso8859_2", "cp437", "cp850", "mac_roman", "cp1254", "cp1257"}

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        encoding: as Python calls it.
        delimiter, quote: one character each.
        header: whether the first line names the columns.
        doubled: whether a quote within quotes is written twice; else behind a backslash.
    """

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    doubled: bool = True

    @property
    def sentence(self) -> str | None:
        """What is not as in RFC 4180, for a reader; None where nothing is."""
        told = []
        if self.delimiter != ",":
            told.append(f"fields are parted by {_NAMES.get(self.delimiter, repr(self.delimiter))}")
        if self.encoding != "utf-8-sig":
            told.append(f"the encoding is {self.encoding}")
        if self.quote != '"':
            told.append(f"the quotes are {self.quote}")
        if not self.header:
            told.append("the first line is taken for a row: columns are named by their number")
        return "; ".join(told) or None


def csv_lines(
    path: Path, dialect: Dialect | None = None, source: Open | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Each line of a CSV file, gzipped or not, with its number, from the one that names the columns on; spaces around a
    field are no part of it. Empty lines are left out.

    Args:
        path: What it is called.
        dialect: How it is written; None: as RFC 4180 has it, in UTF-8.
        source: What opens it; None: it is a file at `path`.

    Raises DataError naming file and line, of one that has fewer or more fields than there are columns, too.
    """
    dialect = dialect or Dialect()
    number, columns = 0, 0
    try:
        with io.TextIOWrapper(opened(path, source), dialect.encoding, newline="") as file:
            escape = None if dialect.doubled else "\\"
            lines = csv.reader(
                file,
                delimiter=dialect.delimiter,
                quotechar=dialect.quote,
                doublequote=dialect.doubled,
                escapechar=escape,
                strict=True,
            )
            for line in lines:
                number = lines.line_num
                if not columns:
                    if not line:
                        break
                    columns = len(line)
                    if not dialect.header:
                        yield 0, [f"column_{at + 1}" for at in range(columns)]
                elif not line:
                    continue
                if len(line) != columns:
                    raise DataError(f"{path}: line {number}: fields: {len(line)}, columns: {columns}")
                yield number, [field.strip() for field in line]
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: after line {number}: {error}") from None
    if not columns:
        raise DataError(f"{path}: no line that names columns")


def opened(path: Path, source: Open | None) -> IO[bytes]:
    """The bytes of a file, unpacked. Raises OSError."""
    raw: Any = path.open("rb") if source is None else source()
    return gzip.open(raw) if path.suffix.lower() == ".gz" else raw  # type: ignore[return-value]


def sniff(path: Path, source: Open | None = None) -> Dialect:
    """How a CSV file is written: the encoding by its marks and bytes, the rest as DuckDB sees it in the first megabyte
    (van den Burg et al. 2019, "Wrangling messy CSV files by detecting row and type patterns", is the like of it).

    Raises DataError naming a file that cannot be read.
    """
    try:
        with opened(path, source) as file:
            encoding = _encoding(file)
        with opened(path, source) as file:
            head = file.read(_LOOKED_AT)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    if len(head) == _LOOKED_AT:
        text = text[: text.rfind("\n") + 1] or text
    if not text.strip():
        raise DataError(f"{path}: no line that names columns")
    with (
        tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", suffix=".csv") as file,
        duckdb.connect() as own,  # the one that the module has by itself is the user's
    ):
        file.write(text)
        file.flush()
        try:
            found = own.execute(
                "SELECT Delimiter, Quote, Escape, HasHeader FROM sniff_csv(?, sample_size = -1, strict_mode = false)",
                [file.name],
            ).fetchone()
        except duckdb.Error as error:
            if path.suffix.lower() != ".csv":
                raise DataError(f"{path}: cannot be read as a table: {one_line(error)}") from None
            found = None
    if found is None:
        return Dialect(encoding)
    delimiter, quote, escape, header = found
    first = text.lstrip("\r\n").split("\n", 1)[0]
    if delimiter not in first:
        delimiter = ","
    quote = quote if quote in ("'", "`") else '"'  # DuckDB writes "(empty)" where it saw none
    return Dialect(encoding, delimiter, quote, bool(header), doubled=escape != "\\")


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
            return "cp1252" if guess in _LATIN and _decodes(around, "cp1252") else guess
        chunk = file.read(_LOOKED_AT)
    return "utf-8-sig"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
