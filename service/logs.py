"""The log: one line an event, on standard error, as text or as JSON. Nothing that a client sends begins a line.

    2026-11-27T09:24:06.123Z info ready pid=4711 workers=2
    {"time": "2026-11-27T09:24:06.123Z", "level": "info", "event": "ready", "pid": 4711, "workers": 2}

What is logged with a message goes the same way: `log.info("ready on %s", url, extra={"event": "ready", "pid": pid})`.
In text the message stands for the fields; in JSON both are there. A traceback follows its line, indented; in JSON it is
a field. Whoever writes a line does not wait until somebody reads it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from latentserve.service.line_writer import LineWriter

LINES_A_MINUTE = 10  # of a kind that somebody else could make many of; the others are counted
FAILURES_A_MINUTE = 100  # of a kind that somebody should look into

_MINUTE = 60.0
_LAST_SECONDS = 1.0  # for what was written last, when a process ends
_KINDS = 1000  # that are told apart; the messages of other libraries may differ without end
_OWN = "latentserve"
_BARE = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII, but for the space and " = \

# Of the request that is being answered, for lines that others than the application write on its way.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_log = logging.getLogger(f"{_OWN}.event")


class Bounded:
    """Lines of many kinds: of each so many a minute are written, and how many more there were is told after it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, int, int]] = {}  # since when, how many, and how many were written

    def allows(self, kind: str, a_minute: int = LINES_A_MINUTE) -> bool:
        """Whether one more of this kind may be written."""
        if len(self._seen) >= _KINDS and kind not in self._seen:
            kind = ""
        since, count, written = self._seen.get(kind) or (self._clock(), 0, 0)
        allowed = written < a_minute
        self._seen[kind] = since, count + 1, written + allowed
        return allowed

    def left_out(self) -> Mapping[str, int]:
        """How many of each kind were not written, where its minute is over; it begins anew."""
        if not self._seen:
            return {}
        now = self._clock()
        over = [kind for kind, (since, _, _) in self._seen.items() if now - since >= _MINUTE]
        counts = [(kind, *self._seen.pop(kind)[1:]) for kind in over]
        return {kind: count - written for kind, count, written in counts if count > written}


_bounded = Bounded()


def event(
    name: str,
    level: int = logging.INFO,
    error: BaseException | None = None,
    kind: str | None = None,
    a_minute: int = LINES_A_MINUTE,
    **fields: object,
) -> None:
    """Write one event, its fields but for those that are None, and of an `error` the traceback.

    Of events that state a `kind` so many are written `a_minute`.
    """
    if kind is None or _bounded.allows(kind, a_minute):
        _log.log(level, "", exc_info=error, extra={"event": name, "fields": fields})


def tell_left_out() -> None:
    """Write how many lines of what kinds were left out. To be called now and then."""
    for kind, count in _bounded.left_out().items():
        event("left-out", kind_of=kind, more=count)


def configure(log_format: Literal["text", "json"]) -> None:
    """Write this process's log in this form, whatever others have told its loggers before."""
    handler = _StandardError()
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    handler.addFilter(_at_a_bounded_rate)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in list(root.manager.loggerDict):
        if (other := logging.getLogger(name)).handlers:  # its lines would be written twice
            other.handlers.clear()
            other.propagate = True
            other.setLevel(logging.NOTSET)
    logging.getLogger(_OWN).setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True  # ours says the same, and more
    logging.captureWarnings(True)


def flush() -> None:
    """Return when what was logged is written, or nobody seems to read it."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class _StandardError(logging.Handler):
    """Writes to what standard error is now."""

    def __init__(self) -> None:
        super().__init__()
        self._writer: LineWriter | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written."""
        try:
            line = f"{self.format(record)}\n"
            if sys.stderr is None or sys.stderr.closed:
                return
            try:
                descriptor = sys.stderr.fileno()
            except OSError:  # it is in memory
                sys.stderr.write(line)
            else:
                try:
                    writer = self._of(descriptor)
                except RuntimeError:  # no thread can be started: whoever writes waits
                    sys.stderr.write(line)
                else:
                    writer.write(line.encode(errors="backslashreplace"))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Return when all is written, or nobody seems to read it."""
        if self._writer is not None and self._writer.alive:
            self._writer.flush(_LAST_SECONDS)

    def _of(self, descriptor: int) -> LineWriter:
        writer = self._writer
        if writer is None or writer.descriptor != descriptor or not writer.alive:
            writer = self._writer = LineWriter(descriptor, _tell_unwritten)
        return writer


def _tell_unwritten(lines: int) -> None:
    event("left-out", kind_of="nobody reads the log", more=lines)


def _at_a_bounded_rate(record: logging.LogRecord) -> bool:
    """Whether a line is to be written that is no event: who knows what makes other libraries write them?"""
    own = record.name.split(".")[0] == _OWN
    if own and (record.name == _log.name or record.levelno < logging.WARNING):
        return True
    return _bounded.allows(f"{record.name}: {record.msg}", FAILURES_A_MINUTE if own else LINES_A_MINUTE)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback indented below it."""
        fields = _fields(record)
        line = f"{fields.pop('time')} {fields.pop('level')} {fields.pop('event', None) or fields['logger']}"
        trace = str(fields.pop("traceback", ""))
        if "message" in fields:
            line += f": {_printable(str(fields['message']))}"
        else:
            line += "".join(f" {name}={_value(value)}" for name, value in fields.items())
        return "\n".join([line, *(f"    {_printable(below)}" for below in trace.splitlines())])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return json.dumps(_fields(record), default=str)  # in ASCII: no terminal obeys it


_STANDARD = {*vars(logging.makeLogRecord({})), "fields", "taskName", "message", "asctime"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What is to be said: when, how bad, what; each field once."""
    time_ = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields: dict[str, object] = {"time": time_, "level": record.levelname.lower()}
    if "event" in vars(record):
        fields["event"] = vars(record)["event"]
    if record.msg:
        fields |= {"logger": record.name.removeprefix(f"{_OWN}.service."), "message": record.getMessage()}
        if (asked := request_id.get()) is not None:
            fields["request_id"] = asked
    more = {name: value for name, value in vars(record).items() if name not in _STANDARD and name[0] != "_"}
    fields |= {name: value for name, value in (more | vars(record).get("fields", {})).items() if value is not None}
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _value(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if _BARE.fullmatch(text):
        return text
    return '"' + _printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _printable(text: str) -> str:
    """The text, with what would end the line, or tell a terminal something, written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
