"""The log: a line an event, whatever is in it, and not too many of a kind."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service import logs
from latentserve.service.logs import Bounded

BEGINNING = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error|critical) ")
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
LINE = "2026-11-27T09:24:06.123Z info "
pieces = st.sampled_from([*BREAKS, *'a" =\\', "\x1b", "\x9b", "\u202e", "\x00", "\ud800", "é", LINE])
hostile = st.lists(pieces).map("".join)


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The log is pytest's again afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs, "_bounded", Bounded())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capsys.readouterr().err.splitlines()


Written = Callable[[], list[str]]


def formatter(name: str) -> logging.Formatter:
    return {"text": logs._Text(), "json": logs._Json()}[name]


def record(fields: dict[str, object] | None = None, error: Exception | None = None) -> str:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    own = logging.LogRecord("latentserve.event", logging.INFO, "", 0, "", None, exc_info)
    own.event, own.fields = "x", fields or {}
    return own  # type: ignore[return-value]


def test_an_event_as_text(written: Written) -> None:
    logs.configure("text")
    logs.event("worker-lost", logging.WARNING, pid=4711, reason='killed by "SIGKILL"', status=None)
    (line,) = written()
    assert BEGINNING.match(line)
    assert line[25:] == 'warning worker-lost pid=4711 reason="killed by \\"SIGKILL\\""'


def test_an_event_as_json(written: Written) -> None:
    logs.configure("json")
    logs.event("worker-lost", logging.WARNING, pid=4711, reason="killed", status=None)
    (line,) = written()
    told = json.loads(line)
    assert BEGINNING.match(f"{told.pop('time')} info ")
    assert told == {"level": "warning", "event": "worker-lost", "pid": 4711, "reason": "killed"}


def test_a_message_stands_for_its_fields_in_text(written: Written) -> None:
    for log_format in ("text", "json"):
        logs.configure(log_format)  # type: ignore[arg-type]
        logging.getLogger("latentserve.service.host.supervisor").info(
            "worker %d is up\n", 1, extra={"event": "worker-back", "worker": 1}
        )
    text, document = written()
    assert text[25:] == "info worker-back: worker 1 is up\\n"
    told = json.loads(document)
    del told["time"]
    assert (told.pop("event"), told.pop("logger")) == ("worker-back", "host.supervisor")
    assert told == {"level": "info", "message": "worker 1 is up\n", "worker": 1}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_other_libraries_write_the_same_way_and_once(log_format: str, written: Written) -> None:
    noisy = logging.getLogger("a.noisy.library")
    noisy.addHandler(logging.StreamHandler(sys.stderr))
    logs.configure(log_format)  # type: ignore[arg-type]
    noisy.warning("something\nhappened %d times", 3)
    noisy.info("nothing")
    logging.getLogger("uvicorn.access").error("an answer")
    (line,) = written()
    assert "a.noisy.library" in line
    assert "happened 3 times" in line


@given(hostile, hostile)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_begins_a_line_of_its_own(log_format: str, value: str, reason: str) -> None:
    try:
        raise ValueError(f"{value}\n2026-11-27T09:24:06.123Z info ready")
    except ValueError as error:
        made = record({"path": value, "reason": reason}, error=error)
    text = formatter(log_format).format(made)  # type: ignore[arg-type]
    first, *below = text.splitlines()
    assert text.isascii() if log_format == "json" else all(line.isprintable() for line in [first, *below])
    assert not any(BEGINNING.match(line) for line in below)
    assert below == [] or log_format == "text"
    if log_format == "json":
        told = json.loads(text)
        assert (told["path"], told["reason"]) == (value, reason)
        assert "Traceback" in told["traceback"]


@given(st.dictionaries(st.sampled_from(["a", "b", "path"]), hostile))
def test_fields_can_be_told_apart(fields: dict[str, str]) -> None:
    text = formatter("text").format(record(dict(fields)))  # type: ignore[arg-type]
    found = re.findall(r' (\w+)=("(?:[^"\\]|\\.)*"|[^ "=]+)', text)
    assert [name for name, _ in found] == list(fields)


def test_what_is_left_out_is_told() -> None:
    now = 0.0
    bounded = Bounded(clock=lambda: now)
    assert sum(bounded.allows("a") for _ in range(100)) == 10
    assert sum(bounded.allows("b") for _ in range(10)) == 10
    assert sum(bounded.allows("c", 30) for _ in range(40)) == 30
    now = 59.0
    assert not bounded.allows("a")
    assert bounded.left_out() == {}
    now = 60.0
    assert bounded.left_out() == {"a": 91, "c": 10}
    assert bounded.left_out() == {}
    assert bounded.allows("a")


def test_kinds_without_end_take_no_memory() -> None:
    bounded = Bounded()
    assert sum(bounded.allows(str(kind)) for kind in range(5000)) <= 1011
    assert len(bounded._seen) <= 1001


def test_a_port_scanner_fills_no_disk(written: Written) -> None:
    logs.configure("text")
    for _ in range(1000):
        logs.event("refused", kind="400", status=400)
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert len(written()) == 20


def test_a_log_that_cannot_be_written_hinders_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure("text")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", full)
        logs.event("ready")
        logs.flush()
    monkeypatch.setattr(sys, "stderr", None)  # it was closed when the process began
    logs.event("ready")
    monkeypatch.undo()


def test_a_log_that_nobody_reads_hinders_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with open(write, "w") as pipe:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", pipe)
        logs.configure("text")
        for number in range(2000):
            logs.event("answered", number=number, padding="x" * 100)
        found = os.read(read, 1 << 16).decode()
        assert [line.split()[3] for line in found.splitlines()[:3]] == ["number=0", "number=1", "number=2"]
        os.close(read)
        logs.flush()
        monkeypatch.undo()
