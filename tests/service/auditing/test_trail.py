"""The account in a folder: what is written is found, whatever became of the index, or of the process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latentserve.service.auditing import log as logging_of
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditError, AuditLog, UnauditedError
from latentserve.service.auditing.trail import Trail
from latentserve.service.bundle import Manifest, read_bundle
from latentserve.service.sampling.request import RowsRequest


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> Manifest:
    return read_bundle(bundle).manifest


def account_in(folder: Path, *, keep: bool = True) -> Account:
    return Account(AuditLog(folder), "refuse", keep=keep)


def fill(account: Account, manifest: Manifest, lines: int, first: int = 0) -> None:
    for number in range(first, first + lines):
        request = RowsRequest(n=number % 5 + 1, seed=number // 10, offset=10 * (number % 10))
        account.sent(f"r-{number}", "0123456789ab", "/v1/samples", manifest, request, request.n, "image/png")


def ids(lines: object) -> list[str]:
    return [line["id"] for line in lines]  # type: ignore[attr-defined]


def check(folder: Path, manifest: Manifest, lines: int) -> None:
    trail = Trail(folder)
    assert ids(trail.lines()) == [f"r-{number}" for number in range(lines)]
    for number in (0, 1, lines // 2, lines - 2, lines - 1):
        assert ids(trail.of_request(f"r-{number}")) == [f"r-{number}"]
        row = 10 * (number % 10) + number % 5
        found = trail.of_row(manifest.name, manifest.version, number // 10, row)
        assert ids(found) == [f"r-{number}"]
    assert ids(trail.of_row(manifest.name, manifest.version, 0, 5)) == []
    assert ids(trail.of_row(manifest.name, "another", 0, 0)) == []
    assert ids(trail.of_row("another", manifest.version, 0, 0)) == []
    assert ids(trail.of_row(manifest.name, manifest.version, lines, 0)) == []
    assert ids(trail.of_request("r-")) == []


@pytest.mark.parametrize("index", ["whole", "not written yet", "none", "half an entry less", "of something else"])
def test_lines_are_found_by_request_and_by_row(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, index: str
):
    monkeypatch.setattr(logging_of, "_SEGMENT_BYTES", 20_000)
    monkeypatch.setattr(logging_of, "_ENTRIES_BYTES", 32 * 16)
    account = account_in(tmp_path)
    fill(account, manifest, 500)
    if index != "not written yet":
        account.close()
    indices = sorted(tmp_path.glob("*.index"))
    assert len(indices) >= 4
    for path in indices:
        if index == "none":
            path.unlink()
        elif index == "half an entry less":
            os.truncate(path, path.stat().st_size - 16)
        elif index == "of something else":
            path.write_bytes(b"\xff" * 640)
    check(tmp_path, manifest, 500)
    assert all(path.stat().st_size <= 20_000 for path in tmp_path.glob("*.ndjson"))


def test_lines_of_many_processes_come_in_the_order_of_time(tmp_path: Path, manifest: Manifest):
    accounts = [account_in(tmp_path) for _ in range(3)]
    for number in range(60):
        fill(accounts[number % 3], manifest, 1, number)
    check(tmp_path, manifest, 60)


def test_half_a_line_is_none_of_a_process_that_was_killed(tmp_path: Path, manifest: Manifest):
    account = account_in(tmp_path)
    fill(account, manifest, 20)
    (segment,) = tmp_path.glob("*.ndjson")
    with segment.open("ab") as file:
        file.write(b'{"time":"2026","id":"r-20","event":"sam')
    check(tmp_path, manifest, 20)


def test_nothing_written_is_ever_changed(tmp_path: Path, manifest: Manifest):
    account = account_in(tmp_path)
    before = b""
    for _ in range(5):
        fill(account, manifest, 10)
        (segment,) = tmp_path.glob("*.ndjson")
        content = segment.read_bytes()
        assert content.startswith(before)
        assert len(content) > len(before)
        before = content
    assert segment.stat().st_mode & 0o777 == 0o600


def test_segments_may_be_moved_away_meanwhile(tmp_path: Path, manifest: Manifest):
    for first in (0, 10):
        account = account_in(tmp_path)
        fill(account, manifest, 10, first)
        account.close()
    trail = Trail(tmp_path)
    trail.segments[0].unlink()
    assert ids(trail.lines()) == [f"r-{number}" for number in range(10, 20)]
    assert ids(trail.of_request("r-0")) == []
    assert ids(trail.of_row(manifest.name, manifest.version, 0, 0)) == []
    assert ids(trail.of_request("r-12")) == ["r-12"]
    trail.segments[0].mkdir()
    with pytest.raises(AuditError, match=r"\.ndjson: cannot be read \(Is a directory\)"):
        list(trail.lines())


def test_what_is_long_is_kept_once_by_its_digest(tmp_path: Path, manifest: Manifest):
    latents = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    labels = np.arange(1000) % 10
    account = account_in(tmp_path)
    for _ in range(2):
        account.sent("long", None, "/v1/samples", manifest, RowsRequest(100, latents=latents), 100, "x")
    account.sent("labels", None, "/v1/samples", manifest, RowsRequest(1000, 7, labels=labels), 1000, "x")
    account.sent("few", None, "/v1/samples", manifest, RowsRequest(3, 7, labels=labels[:3]), 3, "x")
    trail = Trail(tmp_path)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    line = next(trail.of_request("long"))
    sha256 = line["latents"]["sha256"]
    assert trail.kept(sha256, ".npy").endswith(latents.tobytes())
    assert next(trail.of_request("few"))["labels"] == [0, 1, 2]
    other = account_in(tmp_path / "other", keep=False)
    other.sent("long", None, "/v1/samples", manifest, RowsRequest(100, latents=latents), 100, "x")
    assert next(Trail(tmp_path / "other").of_request("long"))["latents"]["sha256"] == sha256
    with pytest.raises(AuditError, match="was not kept"):
        Trail(tmp_path / "other").kept(sha256, ".npy")


def test_how_many_rows_were_sent_is_told_in_the_end(tmp_path: Path, manifest: Manifest):
    account = account_in(tmp_path)
    sent = account.sent("one", None, "/v1/samples", manifest, RowsRequest(1000, 7), 1000, "x")
    other = account.sent("one", None, "/v1/samples", manifest, RowsRequest(10, 8), 10, "x")
    assert sent is not None
    assert other is not None
    sent.rows += 256
    sent.end()
    sent.broke()  # said once
    trail = Trail(tmp_path)
    first, second, ended = trail.of_request("one")
    assert (ended["sent"], ended["of"]) == (256, 1000)
    assert trail.ended(first) == ended
    assert trail.ended(second) is None


FULL = """
import resource, sys
from pathlib import Path
from latentserve.service.auditing.log import AuditLog, UnauditedError
log = AuditLog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
written = 0
try:
    for number in range(100):
        log.write(b'{"id":"%d","pad":"%s"}\\n' % (number, b"x" * 50), b"%d" % number)
        written += 1
except UnauditedError as error:
    print(written, error)
"""


def test_a_line_that_there_is_no_room_for_leaves_nothing_behind(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    written, _, cause = done.stdout.partition(" ")
    assert cause.startswith("no account of this can be kept: ")
    (segment,) = tmp_path.glob("*.ndjson")
    lines = segment.read_bytes().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(number) for number in range(int(written))]
    assert 10 < int(written) < 100
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_what_is_done_where_there_is_no_room(tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch):
    asked = ("one", None, "/v1/samples", manifest, RowsRequest(1, 7), 1, "x")
    refusing, serving = account_in(tmp_path / "a"), Account(AuditLog(tmp_path / "b"), "serve", keep=True)

    def full(_log: AuditLog) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "_begin", full)
        with pytest.raises(UnauditedError, match="No space left"):
            refusing.sent(*asked)
        with pytest.raises(UnauditedError):
            refusing.require()
        assert serving.sent(*asked) is None
        serving.require()
        assert serving.lost == 1
    assert refusing.sent(*asked) is not None
    refusing.require()


def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(AuditError, match="no account can be kept there"):
        AuditLog(tmp_path / "file" / "folder")
    with pytest.raises(AuditError, match="cannot be read"):
        Trail(tmp_path / "nothing")
