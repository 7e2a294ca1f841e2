"""Who is told: a receiver of Alertmanager's webhook, which writes down what came and when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Notice:
    """One alert of one message; `at` is time.monotonic()."""

    at: float
    firing: bool
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]

    def __str__(self) -> str:
        shown = ("instance", "model", "cause", "arm", "severity")
        inner = ", ".join(f"{key}={self.labels[key]}" for key in shown if key in self.labels)
        return f"{self.name}{{{inner}}}"


class Webhook:
    """What came so far, in order."""

    def __init__(self) -> None:
        self.port = 0
        self._notices: list[Notice] = []
        self._came = threading.Condition()

    def take(self, message: dict[str, Any]) -> None:
        """A message as Alertmanager sends it."""
        now = time.monotonic()
        with self._came:
            self._notices += [
                Notice(now, alert["status"] == "firing", alert["labels"], alert["annotations"])
                for alert in message["alerts"]
            ]
            self._came.notify_all()

    def since(self, began: float = 0.0) -> list[Notice]:
        """What came since, time.monotonic()."""
        with self._came:
            return [notice for notice in self._notices if notice.at >= began]

    def firing(self) -> list[Notice]:
        """The alerts that were said to fire and not yet to be over."""
        last = {tuple(sorted(notice.labels.items())): notice for notice in self.since()}
        return [notice for notice in last.values() if notice.firing]

    def wait(self, wanted: Callable[[Notice], bool], seconds: float, began: float = 0.0) -> Notice | None:
        """The first firing alert since `began` that is wanted; None where none comes within so many seconds."""
        end = time.monotonic() + seconds
        with self._came:
            while True:
                for notice in self._notices:
                    if notice.at >= began and notice.firing and wanted(notice):
                        return notice
                if (left := end - time.monotonic()) <= 0:
                    return None
                self._came.wait(left)

    def wait_quiet(self, seconds: float, but: Collection[str] = ()) -> bool:
        """Whether nothing fires, `but` alerts of these names, within so many seconds."""
        end = time.monotonic() + seconds
        with self._came:
            while any(notice.name not in but for notice in self.firing()):
                if (left := end - time.monotonic()) <= 0:
                    return False
                self._came.wait(left)
        return True


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A receiver that listens on `port` of the loopback interface."""
    receiver = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
