"""An answer in the making: bytes that open the document, bytes for each slice of rows, bytes that close it.

All of it comes in pieces, each of which takes a few milliseconds at the most: others' answers come between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from latentserve.service.encoding.rows import Rows

JSON, NDJSON = "application/json", "application/x-ndjson"
PNG, WEBP, GIF = "image/png", "image/webp", "image/gif"
NPY, NPZ, RAW = "application/x-npy", "application/x-npz", "application/octet-stream"
CSV, ARROW, PARQUET = "text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
WAV = "audio/wav"
MP3, OGG, FLAC = "audio/mpeg", "audio/ogg", "audio/flac"
ZIP = "application/zip"

Headers = Sequence[tuple[bytes, bytes]]
Piece = bytes | memoryview

HEAD_BYTES = 2048  # of what stands before the values, the mark that they are synthetic among it
NUMBER_BYTES = 24  # of a number as text


class Document:
    """One answer in the making. `cheap` documents are written on the event loop, others beside it.

    `headers` go with it; its length is among them where it is known before the rows are. `size` is how many bytes it
    has, roughly and rather too many; `held` is how many it keeps in memory until it is closed. One that is written
    `in_one_go` takes seconds for its last piece. One that `has_room` tells of each row what is known of it; of others
    the answer's headers do. What is `text` is smaller by gzip.
    """

    cheap = False
    in_one_go = False
    has_room = False
    text = False
    headers: Headers = ()
    size = 0
    held = 0

    def opening(self) -> bytes:
        """What comes before the rows."""
        return b""

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The next rows. It is to be iterated to its end."""
        raise NotImplementedError

    def conclude(self, told: Mapping[str, object]) -> None:
        """Hear what is known of the answer now that all its rows are there, before it is closed."""

    def closing(self) -> Iterator[Piece]:
        """What comes after them."""
        return iter(())
