"""`latentserve bench` as a process, on real servers: its table, its figures, its refusals, and that nothing is left."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from latentserve.service.bundle import read_bundle
from tests.server import Server
from tests.service.benching.known import ANSWER, Known
from tests.service.commands.test_commands import Ended, assert_refused, process, run  # noqa: F401
from tests.service.test_bad_input import forge

CASES = [(1, 1), (1, 8), (1, 32), (64, 4), (1, None)]


def rows(table: list[str]) -> list[list[str]]:
    """The cells of an aligned table."""
    return [re.split(r"  +", line) for line in table]


def servers_of(bundle: Path) -> list[list[str]]:
    """The command lines of processes that serve a bundle."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "serve" in words and str(bundle) in words:
                found.append(words)
    return found


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that no other test serves."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_a_bundle(own_bundle: Path, tmp_path: Path) -> None:
    file, temporary = tmp_path / "figures.json", tmp_path / "temporary"
    temporary.mkdir()
    ended = process("bench", own_bundle, "--seconds", 0.2, "--json", file, TMPDIR=str(temporary))
    assert ended.status == 0, ended.err
    assert ended.err == ""
    manifest = read_bundle(own_bundle).manifest
    head, engine, gap, *table = ended.out.splitlines()
    assert head == f"{own_bundle}: toy {manifest.version}"
    assert re.match(
        r"the raw engine \(CPUExecutionProvider, threads: \d+, rows a batch: \d+\): [\d,]+ samples/s", engine
    )
    assert gap == ""
    names, *lines = rows(table[:6])
    assert names[:5] == ["requests", "connections", "requests/s", "samples/s", "over the engine"]
    assert [line[0].split(",")[0] for line in lines] == ["1 row"] * 3 + ["64 rows", "1 row"]
    assert all(len(line) == len(names) and line[-1] == "0" for line in lines)

    figures = json.loads(file.read_text())
    assert (figures["model"], figures["version"]) == ("toy", manifest.version)
    measured = figures["measurements"]
    assert [(each["rows"], each["connections"]) for each in measured] == CASES
    for each in measured:
        assert each["failed"] == 0
        assert each["answers"] > 0
        assert each["p50_ms"] <= each["p99_ms"]
        # A toy of 40 kFLOP: the engine alone is far ahead of anything with HTTP around it.
        assert 0 < each["over_engine"] < 1
        assert each["samples_per_second"] == each["rows"] * each["requests_per_second"]
        # 64 values of 4 bytes a sample, and heads.
        assert each["megabytes"] * 1e6 > each["answers"] * each["rows"] * 256
    saturation = max(each["requests_per_second"] for each in measured[:3])
    assert measured[4]["offered_per_second"] == pytest.approx(0.7 * saturation)

    assert servers_of(own_bundle) == []
    assert list(temporary.iterdir()) == []


def test_a_url(server: Server) -> None:
    before = server.metric("samples_total", model="plain")
    ours, theirs = pty.openpty()
    command = ["bench", server.url, "--model", "plain", "--seconds", "0.1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "latentserve", *command], stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    out = running.communicate(timeout=120)[0]
    os.close(theirs)
    progress = os.read(ours, 10_000).decode()
    os.close(ours)
    assert running.returncode == 0, progress
    head, gap, names, *lines = out.splitlines()
    version = server.http.get("/v1/models/plain").json()["version"]
    assert (head, gap) == (f"{server.url}: plain {version}", "")
    assert "engine" not in names
    assert len(rows(lines[:5])) == 5
    assert all(len(line) == len(rows([names])[0]) for line in rows(lines[:5]))
    assert "/5 loads" in progress  # how far it is shows as often as there is time
    assert progress.rpartition("\x1b[2K")[2] == "\x1b[?25h\r"  # the line is taken back
    server.wait_for(lambda: server.metric("samples_total", model="plain") > before + 64)


def test_refusals(run: Callable[..., Ended], server: Server, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    with Known(ANSWER) as stranger:
        elsewhere = f"http://127.0.0.1:{stranger.address.port}"
        for arguments, words in (
            ((server.url,), (server.url, "toy, plain", "--model")),
            ((server.url, "--model", "nobody"), (server.url, "nobody")),
            ((elsewhere,), (elsewhere, "no latentserve server")),
            (("http://127.0.0.1:1",), ("http://127.0.0.1:1", "refused")),
            (("https://nowhere.invalid:1/x",), ("nowhere.invalid",)),
            (("http://",), ("http://",)),
            ((tmp_path / "nothing",), ("no such bundle folder",)),
            ((tmp_path,), ("manifest.json",)),
            ((bundle, "--model", "toy"), ("--model",)),
            ((bundle, "--seconds", "nan"), ("--seconds",)),
            ((bundle, "--json", tmp_path), (str(tmp_path), "written")),
            ((bundle, "--json", tmp_path / "nowhere" / "x"), ("nowhere", "written")),
        ):
            assert_refused(run("bench", *arguments), *words)
    for options in ([], [bundle, "--seconds", "0"], [bundle, "--seconds", "long"]):
        assert run("bench", *options).status == 2


def test_a_server_that_cannot_be_is_not_left(tmp_path: Path) -> None:
    forged = forge(tmp_path)
    assert_refused(process("bench", forged, LATENTSERVE_MAX_BATCH="0"), "LATENTSERVE_MAX_BATCH")
    assert_refused(process("bench", forged), "forged", "golden probes")
    assert servers_of(forged) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupted_it_leaves_no_server(own_bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    interrupted(number, lambda: servers_of(own_bundle) != [], own_bundle, TMPDIR=str(temporary))
    assert servers_of(own_bundle) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_under_load(server: Server, number: signal.Signals) -> None:
    before = server.metric("requests_total", model="toy", code="200")
    interrupted(
        number,
        lambda: server.metric("requests_total", model="toy", code="200") > before + 10,
        server.url,
        *("--model", "toy", "--seconds", "600"),
    )
    server.wait_for(lambda: server.metric("inflight_requests") == 0)


def interrupted(number: signal.Signals, when: Callable[[], bool], *arguments: object, **environment: str) -> None:
    """`latentserve bench ARGUMENTS`, interrupted in time: it ends, and says nothing but that."""
    # What is ignored here (a shell does that for what it runs in the background) would be ignored there.
    usual = signal.signal(number, signal.default_int_handler)
    try:
        running = subprocess.Popen(
            [sys.executable, "-m", "latentserve", "bench", *map(str, arguments)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(number, usual)
    try:
        deadline = time.monotonic() + 60
        while not when():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode != 0
    assert out == ""
    assert err in ("", "\nAborted!\n")
