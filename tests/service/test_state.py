"""A server's own folder: locked as long as it lives, gone with it; the next one takes away what a killed one left."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from latentserve.service.state import StateError, StateFolder

_HOLDS_ONE = """
import sys, time
from pathlib import Path
from latentserve.service.state import StateFolder
folder = StateFolder(Path(sys.argv[1]))
print(folder.path, flush=True)
sys.stdin.read()
folder.close()
"""


@contextmanager
def server(home: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a folder of its own, until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS_ONE, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()


def test_it_goes_with_its_server(tmp_path: Path):
    with StateFolder(tmp_path / "new" / "home") as folder:
        assert folder.path.parent == tmp_path / "new" / "home"
        assert (folder.path / "metrics").is_dir()
        assert (folder.path / "evidence").is_dir()
        assert folder.path.stat().st_mode & 0o777 == 0o700
        folder.count_start()
    assert list((tmp_path / "new" / "home").iterdir()) == []


def test_it_is_made_again_where_somebody_has_taken_it_away(tmp_path: Path):
    with StateFolder(tmp_path) as folder:
        assert not folder.make_again()
        shutil.rmtree(folder.path)
        assert folder.make_again()
        folder.count_start()
        assert (folder.path / "metrics").is_dir()
        with StateFolder(tmp_path):
            assert folder.path.is_dir()  # it is locked
    assert list(tmp_path.iterdir()) == []


def test_servers_of_one_home_have_a_folder_each(tmp_path: Path):
    with server(tmp_path) as (first, one), StateFolder(tmp_path) as two:
        assert one != two.path
        assert one.is_dir()
        first.communicate("")
        assert not one.exists()
        assert two.path.is_dir()


def test_what_a_killed_server_left_the_next_one_takes_away(tmp_path: Path):
    with server(tmp_path) as (killed, left):
        (left / "metrics" / "counter_1-2.db").write_bytes(b"0")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        with server(tmp_path) as (_, other), StateFolder(tmp_path) as own:
            assert not left.exists()
            assert other.is_dir()  # it lives
            assert sorted(tmp_path.iterdir()) == sorted([other, own.path])


def test_what_was_left_half_taken_away_the_next_one_takes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Killed in the middle of it, a server leaves its lock: by that its folder is known."""
    left = StateFolder(tmp_path)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    left.close()
    assert (left.path / "latentserve.lock").exists()
    monkeypatch.undo()
    with StateFolder(tmp_path) as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.path.name]


def test_nothing_else_is_taken_away(tmp_path: Path):
    """Folders of a user that are called alike, and what looks like a server's but is elsewhere."""
    (tmp_path / "latentserve-data").mkdir()
    (tmp_path / "latentserve-data" / "samples.npy").write_bytes(b"0")
    (tmp_path / "latentserve-notes").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "latentserve.lock").write_text("")
    (tmp_path / "latentserve-link").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    with StateFolder(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_a_process_that_was_forked_takes_nothing_away(tmp_path: Path):
    with StateFolder(tmp_path) as folder:
        if (child := os.fork()) == 0:
            folder.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert (folder.path / "metrics").is_dir()


def test_where_it_cannot_be_made_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"^LATENTSERVE_HOME=.*/file: .*: File exists$"):
        StateFolder(tmp_path / "file")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StateError, match=r"No space left on device$"):
        StateFolder(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(StateError, match=rf"^{tmp_path} .*No space left on device$"):
        StateFolder(None)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_without_a_temporary_folder_it_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(StateError) as refused:
        StateFolder(None)
    assert "\n" not in str(refused.value)
    assert "LATENTSERVE_HOME" in str(refused.value)
