"""A search in ranges of rows, looked at and made into shards in any order by the tasks of a cluster, here without one:
to the byte what a search is that looks at one row after the other."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from latentserve import __version__
from latentserve.service.bulk import ranges
from latentserve.service.bulk.cluster import Seen, Told, Work, _look, _make_of
from latentserve.service.bulk.folder import Done, Folder, Store
from latentserve.service.bulk.job import Job, read_job
from latentserve.service.bulk.progress import Progress
from latentserve.service.bulk.ranges import Join, Joined, Looked
from latentserve.service.bulk.run import Ended, Makers, Shards, run_job
from latentserve.service.bundle import Manifest, read_bundle
from latentserve.service.errors import BudgetError
from tests.server import Server
from tests.service.bulk.test_bulk import bulk, files
from tests.service.bulk.test_bulk import table as table


class KilledError(Exception):
    """Instead of a kill."""


def anywhere(source: str, manifest: Manifest, out: Path, rng: random.Random, most: int = 1000) -> Makers:
    """Tasks of a job in any order, so many shards; then it is killed."""

    def make(folder: Store, shards: Shards, _: Progress) -> Generator[Done, None, None]:
        join = Join(shards.job, manifest, shards)
        work = Work(__version__, shards.job.to_json(), source, manifest.name, [], str(out))
        ready: list[tuple[Joined, list[object]]] = []
        made = 0
        while True:
            some = [found for _ in range(rng.randint(1, 4)) if (found := join.next_range()) is not None]
            seen = {}
            for one in rng.sample(some, len(some)):
                seen[one] = _look(work, tuple(one))
            for one in some:
                told, held = Seen(*seen[one][0]), seen[one][1]
                assert told.looked is not None, told.error
                ready += [(joined, []) for joined in join.add(one, Looked(*told.looked), held)]
            if not some and (rest := join.rest()) is not None:
                ready.append((rest, []))
            rng.shuffle(ready)
            while ready and (not some or rng.random() < 0.5):
                joined = ready.pop()[0]
                known = tuple(joined.shard), joined.rows, joined.next_offset, [one.places for one in joined.pieces]
                done = Told(*_make_of(work, known, *(one.held for one in joined.pieces)))
                assert done.done is not None, done.error
                yield Done(*done.done)
                made += 1
                if made == most:
                    raise KilledError
            if not some and not ready:
                return

    return make


def made_anywhere(bundle: Path, job: Job, out: Path, seed: int, kills: int = 0, url: str | None = None) -> Ended:
    """The job as a cluster makes it; killed some times."""
    rng, manifest, source = random.Random(seed), read_bundle(bundle).manifest, url or str(bundle)
    for _ in range(kills):
        with pytest.raises(KilledError):
            run_job(Folder(out), anywhere(source, manifest, out, rng, most=2), lambda _: job, job.seed, Progress())
    return run_job(Folder(out), anywhere(source, manifest, out, rng), lambda _: job, job.seed, Progress())


Case = tuple[object, ...]
SHORT: tuple[tuple[Case, ...], ...] = (
    (("parquet", "--where", '{"share": {"min": 0.1}}', "--balance", "sign"),),
    (("npz", "--best-of", 3, "--where", '{"$label": {"in": [3, 8]}}', "--dtype", "uint8"),),
)
TABLE: tuple[Case, ...] = (
    ("parquet", "--where", '{"share": {"min": 0.1}}'),
    ("parquet", "--where", '{"share": {"min": 0.1}, "$label": {"in": ["photon", "pion"]}}', "--balance", "sign"),
    ("npz", "--balance", "$label", "--shard-rows", 60),
    ("npz", "--where", '{"$condition.energy": {"min": 30}}', "--offset", 12345),
    ("npz", "--where", '{"share": {"min": 0.3}}', "--budget", 500, "--allow-fewer"),
)
PICTURES: tuple[Case, ...] = (
    ("npz", "--where", '{"$score": {"min": 0}}', "--dtype", "uint8"),
    ("webdataset", "--best-of", 3, "--where", '{"$label": {"in": [3, 8]}}', "--balance", "$label"),
    ("png", "--best-of", 4, "--label", 3),
    ("png", "--balance", "$label"),
)


@pytest.mark.parametrize(
    ("most", "of_table", "of_pictures"),
    [(37, *SHORT), *(pytest.param(most, TABLE, PICTURES, marks=pytest.mark.full) for most in (37, 1000))],
)
def test_shards_are_those_of_one_row_after_the_other(
    bundle: Path,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    of_table: tuple[Case, ...],
    of_pictures: tuple[Case, ...],
):
    monkeypatch.setattr(ranges, "_ROWS", most)
    cases = [(table, case) for case in of_table] + [(bundle, case) for case in of_pictures]
    for number, (path, (form, *words)) in enumerate(cases):
        whole, out = tmp_path / f"whole-{number}", tmp_path / f"out-{number}"
        bulk(path, whole, str(form), *words, n=210, shard=None if "--shard-rows" in words else 50)
        job = read_job((whole / "job.json").read_bytes(), "")
        shards = len((whole / "shards.jsonl").read_text().splitlines())
        ended = made_anywhere(path, job, out, most + number, kills=(shards - 1) // 2)
        assert files(out) == files(whole), words
        assert ended.shards == shards


def test_here_goes_on_from_a_cluster_and_a_cluster_from_here(table: Path, tmp_path: Path):
    words = ("--where", '{"share": {"min": 0.1}}', "--balance", "sign")
    bulk(table, tmp_path / "whole", "parquet", *words, n=210, shard=50)
    job = read_job((tmp_path / "whole" / "job.json").read_bytes(), "")
    manifest = read_bundle(table).manifest
    for number in range(2):
        out = tmp_path / "out"
        some = anywhere(str(table), manifest, out, random.Random(number), most=3)
        with pytest.raises(KilledError):
            run_job(Folder(out), some, lambda _: job, job.seed, Progress())
        bulk(table, out, "parquet", *words, n=210, shard=50)
        assert files(out) == files(tmp_path / "whole")
        for name in random.Random(number).sample(sorted(path.name for path in out.glob("*.parquet")), 3):
            (out / name).unlink()
        made_anywhere(table, job, out, number)
        assert files(out) == files(tmp_path / "whole")
        shutil.rmtree(out)


def test_too_few_rows_are_told(table: Path, tmp_path: Path):
    where = json.dumps({"share": {"min": 0.1}})
    bulk(table, tmp_path / "less", "npz", "--where", where, "--budget", 500, "--allow-fewer", n=400, shard=100)
    job = read_job((tmp_path / "less" / "job.json").read_bytes(), "")
    asked = {name: value for name, value in job.asked.items() if name != "allow_fewer"}
    found = sum(json.loads(line)["rows"] for line in (tmp_path / "less" / "shards.jsonl").read_text().splitlines())
    with pytest.raises(BudgetError, match=f"budget: of 500 rows {found} were found to be such; 400 are wanted"):
        made_anywhere(table, job._replace(asked=asked), tmp_path / "few", 0)


@pytest.mark.full
def test_ranges_of_a_server(bundle: Path, server: Server, tmp_path: Path):
    for form, *words in (("npz", "--where", '{"$label": {"in": [3, 8]}}'), ("png", "--balance", "$label")):
        bulk(bundle, tmp_path / f"{form}-whole", form, *words, n=210, shard=50)
        job = read_job((tmp_path / f"{form}-whole" / "job.json").read_bytes(), "")
        made_anywhere(bundle, job, tmp_path / form, 0, url=server.url)
        assert files(tmp_path / form) == files(tmp_path / f"{form}-whole")
