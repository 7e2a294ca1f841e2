"""The files of the page: read once, kept, and sent with a tag and compressed where a browser takes that."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from starlette.responses import Response

from latentserve.service.errors import NotFoundError
from latentserve.service.http.call import Call
from latentserve.service.http.etags import matches, require
from latentserve.service.http.negotiation import accepts_gzip

STATIC = Path(__file__).parent / "static"
_MEDIA = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript"}
_LEAST_COMPRESSED = 1024  # bytes; fewer fit into a packet as they are

# Nothing of another host is loaded, nothing inline runs, nobody shows the page inside of theirs; blobs are samples.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SAFE: Mapping[str, str] = {"Content-Security-Policy": POLICY}  # beside what every answer has


class Content:
    """Some bytes to be sent as often as they are asked for."""

    def __init__(self, content: bytes, media: str) -> None:
        self._plain = content
        self._zipped = gzip.compress(content, 9, mtime=0) if len(content) >= _LEAST_COMPRESSED else None
        self._media = media
        self._tag = f'"{blake2b(content, digest_size=12).hexdigest()}"'

    def answer(self, call: Call) -> Response:
        """To a GET or HEAD: 304 where the browser has it. Raises PreconditionError: it means another one."""
        headers = {**SAFE, "Cache-Control": "no-cache", "ETag": self._tag, "Vary": "Accept-Encoding"}
        require(call.headers.get(b"if-match"), self._tag.encode())
        if matches(call.headers.get(b"if-none-match"), self._tag.encode()):
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = self._media
        if self._zipped is not None and accepts_gzip(call.headers.get(b"accept-encoding", b"").decode("latin-1")):
            return Response(self._zipped, headers={**headers, "Content-Encoding": "gzip"})
        return Response(self._plain, headers=headers)


class Files:
    """What lies in `static`, by name."""

    def __init__(self) -> None:
        self._found = {
            file.name: Content(file.read_bytes(), media)
            for file in STATIC.iterdir()
            if (media := _MEDIA.get(file.suffix)) is not None
        }

    def answer(self, call: Call, name: str) -> Response:
        """The file of a name. Raises NotFoundError."""
        if (found := self._found.get(name)) is None:
            raise NotFoundError(f"{call.shown}: the page has no such file")
        return found.answer(call)
