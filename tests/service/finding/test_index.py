"""An index of an account: made once, whatever interrupts it, and no more of it than there is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.auditing import log as logging_of
from latentserve.service.auditing import trail as trailing
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditError, AuditLog
from latentserve.service.auditing.trail import Trail
from latentserve.service.finding import indexing
from latentserve.service.finding.feature_file import MARK, Features, FeatureWriter, feature_path
from latentserve.service.finding.features import dimensions
from latentserve.service.finding.indexing import Indexed, index_rows, indexed
from latentserve.service.opened import OpenedBundle, open_bundle
from latentserve.service.sampling.request import RowsRequest
from tests.service.finding.conftest import account_in, found, picture, send, written


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.features"))}


def rows(folder: Path, bundle: OpenedBundle) -> int:
    """Different ones that are in there."""
    size = dimensions(bundle.manifest.sample)
    there = [Features(path, size) for path in folder.glob("*.features")]
    return len({key for one in there for key in one.records["key"][one.records["row"] != MARK].tolist()})


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, tiles: OpenedBundle) -> Path:
    """Of answers of one row and of some, in several files, some rows sent twice."""
    folder = tmp_path_factory.mktemp("accounts") / "account"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging_of, "_SEGMENT_BYTES", 3000)
        log = account_in(folder)
        for number in range(30):
            send(log, tiles, f"r-{number}", n=number % 5 + 1, seed=number % 25)
        log.close()
        patch.setattr(indexing, "_ROWS", 16)
        index_rows(tiles, Trail(folder))
    assert len(files(folder)) == 2
    return folder


@given(data=st.data())
def test_what_interrupts_it_leaves_no_trace(
    data: st.DataObject, account: Path, tiles: OpenedBundle, tmp_path_factory: pytest.TempPathFactory
):
    """A writer that is killed leaves the beginning of what it would have written, of any length."""
    expected = files(account)
    torn = tmp_path_factory.mktemp("torn") / "account"
    shutil.copytree(account, torn)
    for name, content in expected.items():
        kept = data.draw(st.integers(-1, len(content)), name)
        if kept < 0:
            (torn / name).unlink()
        else:
            os.truncate(torn / name, kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "_ROWS", 16)
        index_rows(tiles, Trail(torn))
    assert files(torn) == expected
    shutil.rmtree(torn.parent)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_command_that_is_killed_again_and_again(tiles: OpenedBundle, tiles_bundle: Path, tmp_path: Path):
    folder = tmp_path / "account"
    log = account_in(folder)
    for number in range(20_000):
        send(log, tiles, f"r-{number}", n=2, seed=number)
    log.close()
    command = [sys.executable, "-P", "-m", "latentserve", "audit", "index", str(folder), "--bundle", str(tiles_bundle)]
    random = np.random.default_rng(0)
    for _ in range(10):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            time.sleep(random.uniform(1, 4))
            process.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True)
    torn = files(folder)
    for path in folder.glob("*.features"):
        path.unlink()
    index_rows(tiles, Trail(folder))
    assert files(folder) == torn


def test_only_what_is_new_is_made(tiles: OpenedBundle, tmp_path: Path):
    log = account_in(tmp_path)
    for seed in range(40):
        send(log, tiles, f"r-{seed}", n=3, seed=seed)
        send(log, tiles, f"again-{seed}", n=2, seed=seed)
    done: list[int] = []
    index_rows(tiles, Trail(tmp_path), done.append)
    assert (sum(done), rows(tmp_path, tiles)) == (80, 120)  # what is sent twice is kept once
    before = files(tmp_path)
    index_rows(tiles, Trail(tmp_path), done.append)
    assert files(tmp_path) == before
    assert sum(done) == 80
    send(log, tiles, "later", n=1, seed=99)
    assert indexed(Trail(tmp_path), tiles.manifest) == Indexed(80, 81, 0)
    index_rows(tiles, Trail(tmp_path))
    assert indexed(Trail(tmp_path), tiles.manifest) == Indexed(81, 81, 0)
    for name, content in files(tmp_path).items():
        assert content.startswith(before[name])  # nothing that was written is changed
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert found(written(picture(tiles, 99)), tmp_path, tiles).verdict == "exact"


def test_what_has_not_changed_is_counted_once(
    account: Path, tiles: OpenedBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(account, tmp_path / "account"))
    counted = []
    lines = trailing.sampled_lines
    monkeypatch.setattr(trailing, "sampled_lines", lambda *of: counted.append(of[0]) or lines(*of))
    for _ in range(3):
        assert indexed(Trail(folder), tiles.manifest) == Indexed(30, 30, 0)
    segments = Trail(folder).segments
    assert counted == segments
    with segments[-1].open("ab") as file:
        file.write(b'{"event": "else"}\n')
    assert indexed(Trail(folder), tiles.manifest) == Indexed(30, 30, 0)
    assert counted == [*segments, segments[-1]]


def test_rows_of_every_kind_of_request(shower_bundle: Path, bundle: Path, tmp_path: Path):
    """Labels, conditions, latents and noise, and what was not kept."""
    shower = open_bundle(shower_bundle)
    latents = np.random.default_rng(0).normal(size=(400, 7)).astype(np.float32)
    for folder, keep in ((tmp_path / "kept", True), (tmp_path / "lost", False)):
        log = Account(AuditLog(folder), "refuse", keep=keep)
        for number, fields in enumerate(
            (
                {"label": 1, "condition": {"energy": 50.0}},
                {"labels": [0, 1, 2]},
                {"conditions": [{"energy": 5.0}, {}, {"angle": 0.1}]},
                {"n": 5, "offset": 7, "truncation": 0.5},
            )
        ):
            request = shower.request(seed=7, **fields)
            log.sent(f"r-{number}", None, "/v1/samples", shower.manifest, request, request.n, "image/png")
        request = RowsRequest(400, seed=9, latents=latents)
        log.sent("latents", None, "/v1/samples", shower.manifest, request, 400, "image/png")
        log.close()
        index_rows(shower, Trail(folder))
    assert indexed(Trail(tmp_path / "kept"), shower.manifest) == Indexed(5, 5, 0)
    assert rows(tmp_path / "kept", shower) == 411  # one is the same by two requests
    assert indexed(Trail(tmp_path / "lost"), shower.manifest) == Indexed(4, 5, 1)


def test_two_at_once_and_files_of_something_else(tiles: OpenedBundle, tmp_path: Path):
    log = account_in(tmp_path)
    send(log, tiles, "one", seed=1)
    log.close()
    (segment,) = Trail(tmp_path).segments
    path = feature_path(segment, tiles.manifest.version)
    writer = FeatureWriter(path, dimensions(tiles.manifest.sample))
    with pytest.raises(AuditError, match="another process is at it"):
        index_rows(tiles, Trail(tmp_path))
    writer.close()
    path.write_bytes(b"something else, and more than a head of it")
    for work in (
        lambda: index_rows(tiles, Trail(tmp_path)),
        lambda: found(written(picture(tiles, 1)), tmp_path, tiles),
    ):
        with pytest.raises(AuditError, match="no index of this release"):
            work()


def test_without_an_index_that_is_said(tiles: OpenedBundle, tmp_path: Path):
    log = account_in(tmp_path)
    send(log, tiles, "one", seed=1)
    verified = found(written(picture(tiles, 1)), tmp_path, tiles)
    assert (verified.verdict, verified.log) == ("no", {"answers": 0, "of": 1})
    assert "latentserve audit index" in verified.why
