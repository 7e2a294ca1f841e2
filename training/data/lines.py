"""Lines of CSV files."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from latentserve.training.errors import DataError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each line of a CSV file (RFC 4180, UTF-8), gzipped or not, with its number, from the one that names the columns
    on; spaces around a field are no part of it. Empty lines are left out.

    Raises DataError naming file and line, of one that has fewer or more fields than there are columns, too.
    """
    number, columns = 0, 0
    try:
        unpack = gzip.open if path.suffix.lower() == ".gz" else open
        with unpack(path, "rt", encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            for line in lines:
                number = lines.line_num
                if not columns:
                    if not line:
                        break
                    columns = len(line)
                elif not line:
                    continue
                if len(line) != columns:
                    raise DataError(f"{path}: line {number}: fields: {len(line)}, columns: {columns}")
                yield number, [field.strip() for field in line]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: after line {number}: {error}") from None
    if not columns:
        raise DataError(f"{path}: no line that names columns")
