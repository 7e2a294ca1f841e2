"""A body of `Transfer-Encoding: chunked`: where it ends, and what is in it."""

from __future__ import annotations

import httptools

from latentserve.service.host.limits import RequestError

_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"  # puts a parser before a body
_END = b"\r\n\r\n"


class Chunked:
    """Decodes one body, and stops at its last byte, wherever the bytes that it is fed are split.

    The parser would read on into the next request and does not tell where that began. Every chunked body ends with an
    empty line, so the parser is fed up to each of them.
    """

    def __init__(self, framing_bytes: int) -> None:
        """`framing_bytes`: of sizes, extensions and trailers between two pieces of data, at the most."""
        self._framing, self._framing_most = 0, framing_bytes
        self._pieces: list[bytes] = []
        self._complete = False
        self._last = b""  # the three bytes before
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_HEAD)

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """What is in the bytes, and those behind the body where it has ended. Raises RequestError."""
        at = 0
        while at < len(data) and not self._complete:
            across = (self._last + data[at : at + 3]).find(_END)
            within = data.find(_END, at)
            end = at + across + 4 - len(self._last) if across >= 0 else within + 4 if within >= 0 else len(data)
            piece = data[at:end]
            self._framing += len(piece)
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserError as error:
                raise RequestError(f"the body is not chunked as RFC 9112 has it: {error}") from None
            if self._framing > self._framing_most:
                raise RequestError("the trailers or extensions of a chunked body are too large")
            self._last = (self._last + piece)[-3:]
            at = end
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body, data[at:] if self._complete else None

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._pieces.append(data)
        self._framing = 0

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = True
