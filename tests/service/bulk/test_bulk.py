"""Jobs of many rows, as the command makes them: the rows of HTTP, whatever was killed meanwhile."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from latentserve import __version__
from latentserve.service.access.key_file import changing
from latentserve.service.access.keys import new_key
from latentserve.service.bulk.cluster import Told, Work, _task
from latentserve.service.bulk.job import read_job
from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.cli import cli
from latentserve.service.errors import LatentserveError
from tests.conftest import make_bundle, make_shower
from tests.generators import dense_generator
from tests.server import Server

COMMAND = [sys.executable, "-P", "-m", "latentserve", "sample"]
N, SEED, SHARD = 1000, 7, 300


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of words and whole numbers, with labels and conditions."""
    columns = [
        Column(name="share", type="float64", decimals=2),
        Column(name="sign", type="string", categories=["small", "large"]),
        Column(name="count", type="int64", missing=0),
    ]
    spec = SampleSpec(kind="table", shape=[3], columns=columns)
    return make_shower(tmp_path_factory.mktemp("bundles") / "table", "table", sample=spec)


def bulk(source: object, out: Path, form: str, *words: object, n: int = N, shard: int | None = SHARD) -> str:
    """What the command says at its end. Raises what it raises."""
    given = ["sample", source, "-n", n, "--seed", SEED, "--out", out, "--format", form, *words]
    given += [] if shard is None else ["--shard-rows", shard]
    done = CliRunner().invoke(cli, [str(word) for word in given], catch_exceptions=False, standalone_mode=False)
    return done.output


def files(folder: Path) -> Mapping[str, bytes]:
    """Every file of a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(folder: Path) -> np.ndarray:
    """The samples of all `.npz` shards."""
    return np.concatenate([np.load(path)["samples"] for path in sorted(folder.glob("*.npz"))])


def test_shards_have_the_rows_of_http(bundle: Path, server: Server, tmp_path: Path):
    said = bulk(bundle, tmp_path / "out", "npz", "--offset", 5, "--label", "digit 3", "--truncation", 0.7)
    assert said.endswith(f"{tmp_path / 'out'}: 1000 samples of seed 7 in 4 shards\n")
    names = [f"{first:09}-{min(first + SHARD, N + 5):09}.npz" for first in range(5, N, SHARD)]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npz")) == names
    asked = {"model": "toy", "n": N, "seed": SEED, "offset": 5, "label": "digit 3", "truncation": 0.7}
    answer = server.samples(**asked, deterministic=True, accept="application/x-npy")
    assert np.array_equal(whole(tmp_path / "out"), np.load(io.BytesIO(answer.content)))
    job = json.loads((tmp_path / "out" / "job.json").read_bytes())
    assert job["asked"] == {"n": N, "seed": SEED, "offset": 5, "label": 3, "truncation": 0.7}
    for line in (tmp_path / "out" / "shards.jsonl").read_text().splitlines():
        told = json.loads(line)
        content = (tmp_path / "out" / told["shard"]).read_bytes()
        assert (told["size"], told["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_seed_that_was_drawn_is_kept(bundle: Path, tmp_path: Path):
    command = ["sample", str(bundle), "-n", "50", "--format", "npz", "--out", str(tmp_path / "out")]
    first, second = (CliRunner().invoke(cli, command).output.splitlines()[-1] for _ in range(2))
    assert first == second
    assert "samples of seed" in first


def test_a_server_gives_the_same_bytes(bundle: Path, table: Path, start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(bundle, table)
    for form, path, words in (
        ("npz", bundle, ("--dtype", "uint8")),
        ("webdataset", bundle, ()),
        ("parquet", table, ("--condition", "energy=50")),
        ("parquet", table, ("--where", '{"count": {"min": 0}}', "--balance", "sign")),
        ("parquet", table, ("--balance", "$label", "--shard-rows", 150)),
    ):
        here, there = tmp_path / "here", tmp_path / "there"
        shard = None if "--shard-rows" in words else SHARD
        bulk(path, here, form, *words, shard=shard)
        bulk(server.url, there, form, *words, "--model", path.name, shard=shard)
        assert files(here) == files(there), words
        shutil.rmtree(here)
        shutil.rmtree(there)
    with pytest.raises(LatentserveError, match="model: one of toy, table"):
        bulk(server.url, tmp_path / "which", "npz")


def test_rows_that_are_looked_for_go_on_from_shard_to_shard(table: Path, tmp_path: Path):
    where = {"share": {"min": 0.1}}
    bulk(table, tmp_path / "out", "parquet", "--where", json.dumps(where), "--balance", "sign", shard=100)
    frames = [pq.read_table(path).to_pandas() for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert [len(frame) for frame in frames] == [100] * 10
    from latentserve import open_bundle

    found = open_bundle(table).search(N, seed=SEED, where=where, balance="sign")
    assert [row for frame in frames for row in frame["$row"]] == found.numbers.tolist()
    with pytest.raises(LatentserveError, match="--shard-rows: a multiple of 2 is needed"):
        bulk(table, tmp_path / "odd", "parquet", "--balance", "sign", shard=101)
    with pytest.raises(LatentserveError, match="budget: of 500 rows"):
        bulk(table, tmp_path / "few", "parquet", "--where", '{"share": {"min": 50}}', "--budget", 500, n=400)
    said = bulk(table, tmp_path / "less", "npz", "--where", '{"share": {"min": 0.1}}', "--budget", 500, "--allow-fewer")
    assert f"{len(whole(tmp_path / 'less'))} samples" in said
    again = bulk(
        table, tmp_path / "less", "npz", "--where", '{"share": {"min": 0.1}}', "--budget", 500, "--allow-fewer"
    )
    assert again.splitlines()[-1] == said.splitlines()[-1]


def test_pictures_in_folders_and_in_archives(bundle: Path, tmp_path: Path):
    bulk(bundle, tmp_path / "png", "png")
    bulk(bundle, tmp_path / "tar", "webdataset")
    bulk(bundle, tmp_path / "npz", "npz", "--dtype", "uint8")
    expected = whole(tmp_path / "npz")
    lines = [
        json.loads(line)
        for file in sorted((tmp_path / "png").glob("*/metadata.jsonl"))
        for line in file.read_text().splitlines()
    ]
    assert [line["row"] for line in lines] == list(range(N))
    members = {}
    for path in sorted((tmp_path / "tar").glob("*.tar")):
        with tarfile.open(path) as archive:
            members |= {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert len(members) == 3 * N
    for row in (0, 299, 300, 999):
        path = next((tmp_path / "png").glob(f"*/{row:09}.png"))
        assert members[f"{row:09}.png"] == path.read_bytes()
        assert np.array_equal(np.asarray(Image.open(path)), expected[row, 0])
        assert members[f"{row:09}.cls"].decode() == str(int(lines[row]["label"].removeprefix("digit ")))
        assert json.loads(members[f"{row:09}.json"]) == {name: lines[row][name] for name in ("seed", "row", "label")}


def test_every_kind_has_its_forms(plain_bundle: Path, table: Path, tmp_path: Path):
    sound = SampleSpec(kind="audio", shape=[2, 16], sample_rate=8000)
    sounds = make_shower(tmp_path / "sounds", "sounds", sample=sound)
    for path, forms in ((plain_bundle, ("parquet", "npz", "webdataset")), (table, ("parquet", "npz")),
                        (sounds, ("parquet", "npz", "webdataset"))):  # fmt: skip
        for form in ("parquet", "npz", "webdataset", "png"):
            out = tmp_path / f"{path.name}-{form}"
            if form in forms:
                assert "40 samples" in bulk(path, out, form, n=40, shard=None)
            else:
                with pytest.raises(LatentserveError, match="--format parquet or npz"):
                    bulk(path, out, form, n=40)
    with tarfile.open(next((tmp_path / "plain-webdataset").glob("*.tar"))) as archive:
        member = archive.extractfile("000000003.npy")
        assert member is not None
        expected = np.load(next((tmp_path / "plain-npz").glob("*.npz")))["samples"][3]
        assert np.array_equal(np.load(io.BytesIO(member.read())), expected)


def test_files_name_the_producer(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And a job that names one is another than one that does not."""
    monkeypatch.setenv("LATENTSERVE_AIGC_PRODUCER", "Ours")
    bulk(bundle, tmp_path / "out", "png", n=20)
    content = next((tmp_path / "out").glob("*/000000003.png")).read_bytes()
    assert b"TC260:AIGC>{" in content
    assert b"&quot;ContentProducer&quot;:&quot;Ours&quot;" in content
    assert b"samples/7?offset=3" in content
    monkeypatch.delenv("LATENTSERVE_AIGC_PRODUCER")
    with pytest.raises(LatentserveError, match="producer is Ours there, and not given here"):
        bulk(bundle, tmp_path / "out", "png", n=20)


def killed(command: list[str], out: Path, rng: random.Random, kills: int) -> int:
    """Run a command and kill it at random moments, so many times, then let it end: how often it was killed before it
    had ended by itself."""
    done = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out / "job.json").exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.4))
        done += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return done


@pytest.mark.parametrize(
    ("form", "kills"),
    [
        ("parquet", 2),
        *(pytest.param(form, 20, marks=pytest.mark.full) for form in ("parquet", "npz", "webdataset", "png")),
    ],
)
def test_a_job_that_is_killed_goes_on_to_the_same_bytes(slow_bundle: Path, tmp_path: Path, form: str, kills: int):
    bulk(slow_bundle, tmp_path / "whole", form, shard=50)
    words = ["-n", str(N), "--seed", str(SEED), "--format", form, "--shard-rows", "50"]
    out = tmp_path / "killed"
    rng = random.Random(kills)
    assert killed([*COMMAND, str(slow_bundle), *words, "--out", str(out)], out, rng, kills)
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.full
def test_a_server_that_is_started_again_is_waited_for(slow_bundle: Path, tmp_path: Path):
    """And so is a job over it that was killed."""
    words = ["-n", "3000", "--seed", "3", "--format", "parquet", "--shard-rows", "100"]
    subprocess.run([*COMMAND, str(slow_bundle), *words, "--out", str(tmp_path / "whole")], check=True)
    out, path = tmp_path / "out", tmp_path / "socket"
    command = [*COMMAND, f"http+unix:{path}", *words, "--out", str(out)]
    with Server(slow_bundle, socket=path):
        first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _wait_for(out, 3, first)
        first.kill()
        first.wait()
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        _wait_for(out, 8, second)
    with Server(slow_bundle, socket=path):
        _, said = second.communicate()
    assert second.returncode == 0, said
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.full
def test_a_key_with_a_quota_takes_its_time(bundle: Path, start_server: Callable[..., Server], tmp_path: Path):
    text, key = new_key("slow", ["sample"], rows_per_second=400)
    with changing(tmp_path / "keys.json") as keys:
        keys.append(key)
    server = start_server(bundle, keys=tmp_path / "keys.json", open_metadata=True)
    bulk(bundle, tmp_path / "here", "npz")
    began = time.monotonic()
    bulk(server.url, tmp_path / "there", "npz", "--key", text)
    assert time.monotonic() - began > 0.5
    assert files(tmp_path / "here") == files(tmp_path / "there")
    with pytest.raises(LatentserveError, match="401"):
        bulk(server.url, tmp_path / "none", "npz", "--key", "x" * 40)
    job = read_job((tmp_path / "here" / "job.json").read_bytes(), "")
    work = Work(__version__, job.to_json(), server.url, None, [], str(tmp_path / "nowhere"), text)
    told = Told(*_task(work, tuple(job.shard(0))))
    assert told.done is not None, told.error
    assert told.content is not None


def _wait_for(out: Path, shards: int, process: subprocess.Popen[Any]) -> None:
    while len(list(out.glob("*.parquet"))) < shards:
        assert process.poll() is None
        time.sleep(0.01)


def test_an_object_store_is_a_folder(bundle: Path, tmp_path: Path):
    """Here one in memory; what is there already is not made again, and what is another job's is told."""
    fsspec = pytest.importorskip("fsspec", reason="needs latentserve[ray]")
    bulk(bundle, tmp_path / "out", "parquet")
    store = fsspec.filesystem("memory")
    for form in ("parquet", "parquet", "png"):
        url = f"memory://bulk-{form}"
        bulk(bundle, url, form)
    there = {Path(name).name: store.cat_file(name) for name in store.find("/bulk-parquet")}
    assert there == {name: content for name, content in files(tmp_path / "out").items() if name != ".lock"}
    assert len(store.find("/bulk-png")) == N + 4 + 2
    store.rm("/bulk-parquet/" + min(there))
    bulk(bundle, "memory://bulk-parquet", "parquet")
    assert store.cat_file("/bulk-parquet/" + min(there)) == there[min(there)]
    with pytest.raises(LatentserveError, match="memory://bulk-parquet: its job is another one: form is parquet there"):
        bulk(bundle, "memory://bulk-parquet", "npz")
    with pytest.raises(LatentserveError, match="nowhere://x: Protocol not known: nowhere"):
        bulk(bundle, "nowhere://x", "npz")


def test_what_is_wrong_with_a_folder_is_one_line(bundle: Path, tmp_path: Path):
    out = tmp_path / "out"
    bulk(bundle, out, "npz")
    before = files(out)
    for words, said in (
        (("--truncation", 0.5), "its job is another one: truncation is not given there, and 0.5 here"),
        (("--dtype", "uint8"), "its job is another one: dtype is float32 there, and uint8 here"),
    ):
        with pytest.raises(LatentserveError, match=said):
            bulk(bundle, out, "npz", *words)
    other = make_bundle(tmp_path / "other", generator=dense_generator(seed=1).SerializeToString(), critic=None)
    with pytest.raises(LatentserveError, match=r"its rows are of toy [0-9a-f]{12}; this is toy [0-9a-f]{12}"):
        bulk(other, out, "npz")
    with pytest.raises(LatentserveError, match="--shard-rows: 10000000000 rows would be 10000000000 shards"):
        bulk(bundle, tmp_path / "many", "npz", n=10**10, shard=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(LatentserveError, match="is not empty, and no job's"):
        bulk(bundle, tmp_path / "mine", "npz")
    with pytest.raises(LatentserveError, match="cannot be written"):
        bulk(bundle, tmp_path / "mine" / "notes.txt" / "out", "npz")
    assert files(out) == before
    (out / "job.json").write_bytes((out / "job.json").read_bytes()[:50])
    with pytest.raises(LatentserveError, match=r"job\.json: is not what was written there"):
        bulk(bundle, out, "npz")


def test_a_shard_that_was_cut_off_is_made_again(bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for form in ("parquet", "png"):
        out = tmp_path / form
        bulk(bundle, out, form)
        before = files(out)
        cut, gone = sorted(name for name in before if name.startswith("0"))[:: len(before) // 2][:2]
        os.truncate(out / cut, 10)
        (out / gone).unlink()
        with (out / "shards.jsonl").open("ab") as file:
            file.write(b'{"shard": "00')
        bulk(bundle, out, form)
        assert files(out) == before
    assert "is not what was written there, and is made again" in caplog.text


def test_two_jobs_at_once(slow_bundle: Path, tmp_path: Path):
    command = [
        *COMMAND,
        str(slow_bundle),
        "-n",
        "4000",
        "--seed",
        "3",
        "--format",
        "npz",
        "--out",
        str(tmp_path / "out"),
    ]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "out" / "job.json").exists():
            assert first.poll() is None
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        first.kill()
        first.wait()
    assert (second.returncode, second.stderr) == (1, f"latentserve: {tmp_path / 'out'}: another job is writing there\n")


def test_a_full_disk_and_room_made_on_it(bundle: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(
            LatentserveError, match="No space left on device; the same command goes on when there is room"
        ):
            bulk(bundle, disk / "out", "npz", n=3000)
        assert 0 < len(list((disk / "out").glob("*.npz"))) < 10
        assert not list((disk / "out").glob(".part-*"))
        subprocess.run(["mount", "-o", "remount,size=3m", str(disk)], check=True)
        bulk(bundle, disk / "out", "npz", n=3000)
        assert len(whole(disk / "out")) == 3000
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_takes_no_more(bundle: Path, tmp_path: Path):
    """Here a file that may not grow; what the system says of a full disk goes the same way."""
    out = tmp_path / "out"
    command = [*COMMAND, str(bundle), "-n", "3000", "--seed", "3", "--format", "npz", "--out", str(out)]

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    refused = subprocess.run(command, preexec_fn=small, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (1, f"latentserve: {out}: cannot be written (File too large)\n")
    subprocess.run(command, check=True, capture_output=True)
    assert len(whole(out)) == 3000
