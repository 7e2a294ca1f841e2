"""A server of known behaviour."""

from __future__ import annotations

import itertools
import math
import socket
import socketserver
import ssl
import threading
import time
from typing import Any

from latentserve.service.benching.requests import Address

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Known(socketserver.ThreadingTCPServer):
    """Gives `answers` in turn on each connection, each after `seconds`; none before
    `stall` seconds after the first request.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, *answers: bytes, seconds: float = 0.0, stall: float = 0.0, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.seconds = seconds
        self.stall = stall
        self.asked = math.inf
        self._tls = tls
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> Address:
        return Address(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        line, client = super().get_request()
        if self._tls is not None:  # the handshake is left to the thread that reads
            line = self._tls.wrap_socket(line, server_side=True, do_handshake_on_connect=False)
        return line, client

    def handle_error(self, *_: object) -> None:
        """A client that goes is no news."""

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(socketserver.StreamRequestHandler):
    server: Known

    def handle(self) -> None:
        for answer in itertools.cycle(self.server.answers):
            length = 0
            while (line := self.rfile.readline()) != b"\r\n":
                if not line:
                    return
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            now = time.monotonic()
            self.server.asked = min(self.server.asked, now)
            time.sleep(max(self.server.seconds, self.server.asked + self.server.stall - now))
            self.wfile.write(answer)
