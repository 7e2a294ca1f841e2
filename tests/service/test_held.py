"""A bundle's files as they were when they were first held: whatever lies there later, that is what is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.held import Held, HeldFiles
from latentserve.service.trust import Trust


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def hold(folder: Path) -> Held:
    """What a worker would find in its environment."""
    (told,) = HeldFiles([folder]).environment.values()
    found: dict[str, Held] = json.loads(told)
    return found[str(folder)]


def replace(copy: Path, other: Path) -> None:
    shutil.rmtree(copy)
    shutil.copytree(other, copy)


def by_link(copy: Path, other: Path) -> None:
    copy.unlink()
    copy.symlink_to(other)
    shutil.rmtree(copy.with_name("copy"))


def take_away(copy: Path, _other: Path) -> None:
    shutil.rmtree(copy)


@pytest.mark.parametrize("happens", [replace, take_away, by_link])
def test_what_is_held_is_read_whatever_lies_there(
    happens: Callable[[Path, Path], None], copy: Path, bundle: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    folder = copy
    if happens is by_link:
        folder = tmp_path / "current"
        folder.symlink_to(copy)
    held = hold(folder)
    happens(folder, plain_bundle)
    with ThreadPoolExecutor(4) as pool:  # who reads at the same time shares no place in the files
        found = list(pool.map(lambda _: read_bundle(folder, Trust(), held), range(8)))
    expected = read_bundle(bundle, Trust())
    assert {one.manifest.version for one in found} == {expected.manifest.version}
    assert {one.generator for one in found} == {expected.generator}
    assert found[0].others["MODEL_CARD.md"].read() == (bundle / "MODEL_CARD.md").read_bytes()


def test_files_that_were_written_over_are_refused(copy: Path, plain_bundle: Path) -> None:
    """With the manifest, as `cp` does: a new version that holds together."""
    held = hold(copy)
    for file in plain_bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(BundleError, match="SHA-256 is"):
        read_bundle(copy, Trust(), held)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "spoil",
    [
        shutil.rmtree,
        lambda copy: (copy / "manifest.json").unlink(),
        lambda copy: (copy / "manifest.json").write_text("{"),
        lambda copy: (copy / "manifest.json").write_text("[]"),
        lambda copy: (copy / "manifest.json").write_text('{"sha256": 1}'),
        lambda copy: (copy / "model.sig").symlink_to("manifest.json"),
    ],
)
def test_of_what_is_no_bundle_nothing_is_held(spoil: Callable[[Path], object], copy: Path) -> None:
    before = open_files()
    spoil(copy)
    assert HeldFiles([copy]).descriptors == []
    assert open_files() <= before
