"""The file of keys: who may read and write it, and what a server makes of it as it changes."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latentserve.service.access import key_file
from latentserve.service.access.key_file import KeyFileError, KeyRing, changing, key_path, key_ring, read_keys
from latentserve.service.access.keys import SCOPES, Key, new_key
from latentserve.service.errors import NotReadyError


def add(path: Path, name: str = "one", **given: object) -> tuple[str, Key]:
    text, key = new_key(name, SCOPES, **given)  # type: ignore[arg-type]
    with changing(path) as keys:
        keys.append(key)
    return text, key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture(autouse=True)
def _looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "_FRESH_SECONDS", 0)


def test_a_key_is_32_random_bytes_of_which_the_hash_is_kept(path: Path):
    texts = [add(path, f"k{number}")[0] for number in range(20)]
    assert len(set(texts)) == 20
    assert all(len(text) == len("ls_") + 43 for text in texts)
    content = path.read_text()
    assert not any(text in content or text[3:] in content for text in texts)
    assert path.stat().st_mode & 0o777 == 0o600
    ring = KeyRing(path, required=True)
    assert [ring.find(text.encode()).name for text in texts] == [f"k{number}" for number in range(20)]
    assert ring.find(texts[0][:-1].encode()) is None
    assert ring.find(b"") is None


def test_a_ring_reads_the_file_again_when_it_changes(path: Path):
    first, _ = add(path)
    ring = KeyRing(path, required=True)
    assert ring.find(first.encode()).fault(time.time()) is None
    second, _ = add(path, "two")
    assert ring.find(second.encode()).name == "two"
    with changing(path) as keys:
        keys[0] = keys[0].model_copy(update={"revoked": datetime.now(UTC)})
    assert ring.find(first.encode()).fault(time.time()) == "was revoked"
    assert ring.find(second.encode()).fault(time.time()) is None


def test_a_key_expires(path: Path):
    text, key = add(path, expires=datetime.now(UTC) + timedelta(seconds=100))
    now = time.time()
    assert key.fault(now) is None
    assert key.fault(now + 101) == "has expired"
    assert KeyRing(path, required=True).find(text.encode()).fault(now + 101) == "has expired"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o666, 0o777, 0o601])
def test_a_file_that_others_have_rights_to_is_refused(path: Path, mode: int):
    text, _ = add(path)
    ring = KeyRing(path, required=True)
    assert ring.find(text.encode()) is not None
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}"):
        read_keys(path)
    for _ in range(2):
        with pytest.raises(NotReadyError):
            ring.find(text.encode())
    path.chmod(0o640)
    assert ring.find(text.encode()) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"keys": 1}',
        b'{"keys": [{"id": "x"}]}',
        b'{"schema_version": 2, "keys": []}',
        b'{"keys": [], "more": 1}',
    ],
)
def test_a_file_that_is_none_is_told_in_one_line_and_lets_nobody_in(path: Path, content: bytes):
    text, _ = add(path)
    ring = KeyRing(path, required=True)
    ring.find(text.encode())
    path.write_bytes(content)
    with pytest.raises(KeyFileError) as caught:
        read_keys(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(NotReadyError):
        ring.find(text.encode())
    with pytest.raises(KeyFileError), changing(path) as keys:  # nothing is lost of what is there
        keys.clear()
    assert path.read_bytes() == content


def test_what_an_editor_of_another_system_makes_of_it_is_read(path: Path):
    text, _ = add(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert KeyRing(path, required=True).find(text.encode()) is not None


def test_two_keys_of_one_id_are_refused(path: Path):
    _, key = add(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({"keys": document["keys"] * 2}))
    with pytest.raises(KeyFileError, match="two keys"):
        read_keys(path)
    assert key.id == document["keys"][0]["id"]


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(KeyFileError):
        read_keys(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_keys(tmp_path / "nothing")
    with pytest.raises(KeyFileError, match="No such file"), changing(tmp_path / "no" / "folder"):
        pass


def test_keys_are_on_when_the_file_is_there_and_then_for_good(path: Path, monkeypatch: pytest.MonkeyPatch):
    ring = KeyRing(path, required=False)
    assert not ring.on
    text, _ = add(path)
    monkeypatch.setattr(ring, "_looked", -1e9)
    assert ring.on
    assert ring.find(text.encode()) is not None
    path.unlink()
    assert ring.on
    with pytest.raises(NotReadyError):
        ring.find(text.encode())


def test_a_file_that_is_named_is_needed(path: Path):
    ring = KeyRing(path, required=True)
    assert ring.on
    with pytest.raises(NotReadyError):
        ring.find(b"x")
    text, _ = add(path)
    assert ring.find(text.encode()) is not None


def test_where_the_keys_are(tmp_path: Path):
    assert key_path(None, None) is None
    assert key_ring(None, None) is None
    assert key_path(None, tmp_path) == tmp_path / "keys.json"
    assert key_path(tmp_path / "other", tmp_path) == tmp_path / "other"


def test_many_add_at_once_and_none_is_lost(path: Path):
    def some(first: int) -> None:
        for number in range(first, first + 5):
            add(path, f"k{number}")

    threads = [threading.Thread(target=some, args=(10 * number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_keys(path)) == 30
    assert os.listdir(path.parent) == ["keys.json"]  # noqa: PTH208


def test_a_link_to_the_file_stays_a_link(tmp_path: Path):
    """As Kubernetes mounts secrets."""
    (tmp_path / "data").mkdir()
    (tmp_path / "keys.json").symlink_to(tmp_path / "data" / "keys.json")
    add(tmp_path / "data" / "keys.json")
    text, _ = add(tmp_path / "keys.json", "two")
    assert (tmp_path / "keys.json").is_symlink()
    assert KeyRing(tmp_path / "keys.json", required=True).find(text.encode()).name == "two"
