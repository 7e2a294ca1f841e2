"""Long lists a piece at a time: no step of what is done with them takes long."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

Result = TypeVar("Result")
Steps = Generator[None, None, Result]  # work that lets others go on wherever it yields

_PIECE_ROWS = 2048
_PIECE_NUMBERS = 1 << 14


class InPieces(Protocol):
    """A list that is not in memory whole."""

    def __len__(self) -> int:
        """How many elements it has."""

    def pieces(self) -> Iterator[tuple[int, list[Any]]]:
        """Elements one after the other, each piece with the number of its first.

        An element that is long itself comes in parts, and then the number of one piece is that of the last element of
        the piece before.
        """


def pieces_of(rows: list[Any] | InPieces) -> Iterator[tuple[int, list[Any]]]:
    """Of a list, or of one that is not in memory whole."""
    if not isinstance(rows, list):
        yield from rows.pieces()
    elif len(rows) <= _PIECE_ROWS:
        yield 0, rows
    else:
        for start in range(0, len(rows), _PIECE_ROWS):
            yield start, rows[start : start + _PIECE_ROWS]


def whole_pieces_of(rows: list[Any] | InPieces) -> Iterator[tuple[int, list[Any]]]:
    """The same, elements that are long themselves, lists and objects, whole."""
    waiting: list[Any] = []
    first = 0  # the number of what waits
    for start, piece in pieces_of(rows):
        if waiting and start < first + len(waiting):
            begun, more = waiting[-1], piece[0]
            if isinstance(begun, dict):
                begun.update(more)
            else:
                begun.extend(more)
            piece = piece[1:]
        waiting += piece
        if len(waiting) > 1:  # the last one may go on
            yield first, waiting[:-1]
            first, waiting = first + len(waiting) - 1, waiting[-1:]
    if waiting:
        yield first, waiting


def slices_of(rows: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Of an array of one or two dimensions, with the number of each slice's first row."""
    step = max(1, _PIECE_NUMBERS // max(1, rows[:1].size))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]


def at_once(steps: Steps[Result]) -> Result:
    """What they come to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
