"""What is decoded is decoded once: kept on disk with its digest, and believed only where it is whole."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import wavfile

from latentserve.service.cli import cli
from latentserve.training.data import Dataset, cache, load, pictures, sounds
from latentserve.training.data import dataset as dataset_module
from latentserve.training.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where things are kept, however few."""
    monkeypatch.setattr(cache, "LEAST", 1)
    monkeypatch.setattr(dataset_module, "LEFT_FREE", 0)
    monkeypatch.setenv(cache.PLACE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pictures of two classes, one of them broken."""
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for row in range(4):
            pixels = RNG.integers(0, 256, (5, 6, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{row}.png")
    (tmp_path / "data" / "dog" / "3.png").write_bytes(b"no picture")
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is decoded from now on."""
    names: list[str] = []
    plain_picture, plain_sound = pictures._decode, sounds._decode

    def picture(given: list[str], *others: object) -> object:
        names.extend(given)
        return plain_picture(given, *others)

    def sound(*given: object) -> object:
        names.extend(map(str, given[1]))
        return plain_sound(*given)

    monkeypatch.setattr(pictures, "_decode", picture)
    monkeypatch.setattr(sounds, "_decode", sound)
    return names


def read(data: Path, **options: object) -> Dataset:
    return load("files", data, broken="skip", **options)


def same(one: Dataset, other: Dataset) -> bool:
    equal = np.array_equal(one.samples, other.samples) and np.array_equal(one.labels, other.labels)
    return equal and one.description == other.description and notes(one) == notes(other)


def copied(dataset: Dataset) -> Dataset:
    """Whatever becomes of the file that it is mapped from."""
    return replace(dataset, samples=np.array(dataset.samples), entry=None)


def notes(dataset: Dataset) -> list[str]:
    """Without where it is kept."""
    return [note for note in dataset.notes if "kept" not in note]


def entries(place: Path) -> list[Path]:
    return [entry for entry in place.iterdir() if entry.is_dir()]


def test_what_was_decoded_once_is_mapped_ever_after(
    data: Path, place: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.PLACE, "")
    plain = read(data)
    monkeypatch.setenv(cache.PLACE, str(place))
    first = read(data)
    del decoded[:]
    again = read(data)
    assert decoded == []
    assert same(plain, first)
    assert same(first, again)
    assert isinstance(again.samples, np.memmap)
    assert not again.samples.flags.writeable
    assert any(note.startswith("decoded once, and kept in") for note in first.notes)
    assert any(note.startswith("decoded before, and mapped from") for note in again.notes)
    assert any(note == "left out: 1 broken, as told: 3.png" for note in again.notes)
    assert not list(place.glob("*.lock")) + list(place.glob("*.partial"))


def test_its_digest_is_computed_once_for_the_same_labels(
    data: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(data).description
    computed = []
    plain = Dataset._digest
    monkeypatch.setattr(Dataset, "_digest", lambda one: (computed.append(one.label_names), plain(one))[1])
    assert read(data).description == first
    assert computed == []
    assert read(data, folders="none").description.sha256 != first.sha256  # the same pixels of other labels
    assert computed == [[]]


@pytest.mark.parametrize("change", ["content", "another", "fewer", "size", "background"])
def test_other_files_or_options_are_decoded(data: Path, place: Path, decoded: list[str], change: str) -> None:
    read(data)
    options: dict[str, object] = {}
    file = data / "cat" / "0.png"
    match change:
        case "content":
            stated = file.stat()
            file.write_bytes(file.read_bytes())
            os.utime(file, ns=(stated.st_atime_ns, stated.st_mtime_ns + 1))
        case "another":
            shutil.copy(file, data / "cat" / "9.png")
        case "fewer":
            file.unlink()
        case "size":
            options["size"] = 3
        case _:
            options["background"] = "black"
    del decoded[:]
    read(data, **options)
    assert decoded


@pytest.mark.parametrize("damage", ["half", "nothing written", "no samples", "no rows", "no json", "version", "shape"])
def test_an_entry_that_is_not_whole_or_of_another_version_is_made_again(
    data: Path, place: Path, decoded: list[str], damage: str
) -> None:
    plain = copied(read(data))
    (entry,) = entries(place)
    samples, about = entry / "samples.bin", json.loads((entry / "about.json").read_text())
    match damage:
        case "half":
            os.truncate(samples, samples.stat().st_size // 2)
        case "nothing written":
            samples.write_bytes(bytes(samples.stat().st_size))
        case "no samples":
            samples.unlink()
        case "no rows":
            (entry / "rows.bin").unlink()
        case "no json":
            (entry / "about.json").write_text('{"format": 1, "sha')
        case "version":
            (entry / "about.json").write_text(json.dumps(about | {"format": 0}))
        case _:
            (entry / "about.json").write_text(json.dumps(about | {"shape": [3, "4"]}))
    del decoded[:]
    assert same(read(data), plain)
    assert decoded
    del decoded[:]
    assert same(read(data), plain)
    assert not decoded


def test_what_a_killed_process_left_is_cleared(data: Path, place: Path) -> None:
    read(data)
    (entry,) = entries(place)
    entry.rename(entry.with_name(f"{entry.name}.0123abcd.partial"))
    read(data)
    assert [one.name for one in entries(place)] == [entry.name]


def test_where_nothing_can_be_kept_data_are_decoded_and_that_is_said(
    data: Path, place: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read(data)
    del decoded[:]
    monkeypatch.setenv(cache.PLACE, "/proc/latentserve")  # where not even root may write
    dataset = read(data)
    assert same(dataset, plain)
    assert len(decoded) == 8
    assert any("cannot be kept in /proc/latentserve (No such file or directory)" in note for note in dataset.notes)


def test_an_entry_on_a_disk_that_may_only_be_read_is_used(
    data: Path, place: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read(data)
    (entry,) = entries(place)
    for file in entry.glob("sha256-*"):
        file.unlink()
    del decoded[:]

    def refuse(*given: object, **named: object) -> None:
        raise OSError(30, "Read-only file system")

    # Root writes wherever it likes: what would write says what such a disk says.
    for of, name in ((Path, "mkdir"), (Path, "replace"), (Path, "unlink")):
        monkeypatch.setattr(of, name, refuse)
    assert same(read(data), plain)
    assert decoded == []


def test_a_disk_without_room_keeps_nothing(
    data: Path, place: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_module, "LEFT_FREE", 1 << 60)
    dataset = read(data)
    assert any(note == f"{place} has no room for them: they are decoded at each start" for note in dataset.notes)
    assert not entries(place)
    assert len(dataset) == 7


def test_what_is_broken_is_refused_as_ever(data: Path, place: Path) -> None:
    with pytest.raises(DataError, match=r"3\.png: not a picture"):
        load("files", data)
    assert not entries(place)


def test_few_bytes_are_not_kept(data: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST", 1 << 20)
    read(data)
    assert not place.exists()


def test_where_things_are_kept_is_a_setting_that_commands_know(place: Path) -> None:
    done = CliRunner().invoke(cli, ["train", "--help"])
    assert (done.exit_code, done.stderr) == (0, "")


def recordings(folder: Path) -> Path:
    folder.mkdir()
    for row in range(3):
        wavfile.write(folder / f"{row}.wav", 8000, RNG.integers(-(2**15), 2**15, 100 + row, np.int16))
    return folder


def archive(folder: Path) -> Path:
    content = io.BytesIO()
    with zipfile.ZipFile(folder, "w") as file:
        for row in range(3):
            content.seek(0)
            Image.fromarray(RNG.integers(0, 256, (4, 4), np.uint8)).save(content, "PNG")
            file.writestr(f"{row}.png", content.getvalue())
    return folder


def parquet(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    rows = []
    for _ in range(3):
        content = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (4, 4), np.uint8)).save(content, "PNG")
        rows.append({"bytes": content.getvalue(), "path": None})
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"image": rows, "label": ["a", "b", "a"]}), path)
    return path


@pytest.mark.parametrize(("make", "name"), [(recordings, "sounds"), (archive, "a.zip"), (parquet, "a.parquet")])
def test_whatever_is_decoded_is_kept(
    make: Callable[[Path], Path], name: str, tmp_path: Path, place: Path, decoded: list[str]
) -> None:
    path = make(tmp_path / name)
    size = 50 if name == "sounds" else None
    first = load("files", path, size=size)
    del decoded[:]
    again = load("files", path, size=size)
    assert decoded == []
    assert isinstance(again.samples, np.memmap)
    assert same(first, again)


TWICE = """
import sys, time
from pathlib import Path
from latentserve.training.data import cache, dataset, load, pictures
cache.LEAST, dataset.LEFT_FREE = 1, 0
plain = pictures._decode
def slow(*given):
    time.sleep(1)
    return plain(*given)
pictures._decode = slow
input()
kept = load("files", Path(sys.argv[1]), broken="skip")
print(kept.description.sha256, [note for note in kept.notes if "decoded" in note])
"""


def test_of_two_processes_at_once_one_decodes_and_the_other_waits(data: Path, place: Path) -> None:
    command, pipe = [sys.executable, "-c", TWICE, str(data)], subprocess.PIPE
    both = [subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(2)]
    try:
        for one in both:
            one.stdin.write("\n")
            one.stdin.flush()
        (out, err), (other, other_err) = [one.communicate(timeout=120) for one in both]
    finally:
        for one in both:
            one.kill()
    assert out.split()[0] == other.split()[0], err + other_err
    assert sorted("decoded once" in told for told in (out, other)) == [False, True]
    assert (err + other_err).count("another process is decoding these files; waiting for it") == 1
    assert len(entries(place)) == 1
