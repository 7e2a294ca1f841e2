"""The same job on a real Ray cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from latentserve import __version__
from latentserve.service.bulk.cluster import Told, Work, _task
from latentserve.service.bulk.folder import Folder
from latentserve.service.bulk.job import read_job
from latentserve.service.errors import LatentserveError
from tests.service.bulk.test_bulk import COMMAND, SEED, bulk, files

# Every process collects all tests, and importing it takes seconds: whoever runs these does.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs latentserve[ray]")

WORDS = ["-n", "2000", "--seed", str(SEED), "--format", "parquet", "--shard-rows", "100"]
MEMORY = 100 << 20  # bytes of a node's store
UNSAID = {"RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node of a core, and a test's own beside it that can be lost."""
    from ray.cluster_utils import Cluster

    os.environ.update(UNSAID)
    # Nobody looks at it, adds nodes or reads its logs.
    bare = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": MEMORY, **bare})
    yield made
    made.shutdown()


def command(bundle: Path, out: object, *words: str) -> list[str]:
    return [*COMMAND, str(bundle), *WORDS, "--engine", "ray", "--out", str(out), *words]


@pytest.mark.full
def test_a_cluster_writes_the_same(cluster: Any, bundle: Path, tmp_path: Path):
    bulk(bundle, tmp_path / "whole", "parquet", n=2000, shard=100)
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    subprocess.run(command(bundle, tmp_path / "out"), env=environment, check=True)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_node_that_is_lost_costs_no_byte(cluster: Any, slow_bundle: Path, tmp_path: Path):
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    bulk(slow_bundle, tmp_path / "whole", "parquet", n=2000, shard=100)
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    out = tmp_path / "out"
    with subprocess.Popen(command(slow_bundle, out), env=environment, stderr=subprocess.PIPE, text=True) as running:
        while len(list(out.glob("*.parquet"))) < 4:
            assert running.poll() is None, running.stderr
            time.sleep(0.02)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        there = len(list(out.glob("*.parquet")))
        assert running.stderr is not None
        said = running.stderr.read()
    assert running.returncode == 0, said
    assert there < 20
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.full
def test_the_command_of_the_page(cluster: Any, bundle: Path, tmp_path: Path):
    page = (Path(__file__).parents[3] / "docs" / "bulk.md").read_text()
    (line,) = re.findall(r"^latentserve (sample .* --engine ray)$", page, re.M)
    words = re.sub("10000000", "2000", line).replace("demo/bundle", str(bundle)).split()
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    subprocess.run([*COMMAND, *words[1:]], env=environment, check=True, cwd=tmp_path)
    assert pq.read_table(next((tmp_path / "cluster").glob("*.parquet"))).num_rows == 2000


@pytest.mark.full
def test_a_store_that_is_no_folder(cluster: Any, slow_bundle: Path, tmp_path: Path):
    bulk(slow_bundle, tmp_path / "whole", "parquet", n=2000, shard=100)
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    subprocess.run(command(slow_bundle, f"local://{tmp_path / 'out'}"), env=environment, check=True)
    expected = files(tmp_path / "whole")
    assert files(tmp_path / "out") == {name: content for name, content in expected.items() if name != ".lock"}


def refused(bundle: Path, out: Path, program: str, address: str, *words: str) -> str:
    """What the command says, in a process in which `program` came first."""
    run = f"{program}; from latentserve.service.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", run, *command(bundle, out, *words)[4:]],
        env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def test_no_cluster_is_one_line(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "ray", None)
        with pytest.raises(LatentserveError) as caught:
            bulk(bundle, tmp_path / "none", "parquet", "--engine", "ray")
    assert str(caught.value) == "--engine ray needs latentserve[ray]"
    said = refused(bundle, tmp_path / "out", "pass", "127.0.0.1:9")
    assert said.startswith("latentserve: --engine ray: no Ray cluster that can be used at RAY_ADDRESS=127.0.0.1:9: ")


@pytest.mark.full
def test_a_search_goes_on_after_a_node_and_the_command_are_lost(slow_bundle: Path, tmp_path: Path):
    """On a cluster of its own, one of whose nodes is lost."""
    from ray.cluster_utils import Cluster

    words = ["--where", '{"$label": {"in": [1, 3, 8]}}', "--balance", "$label", "--shard-rows", "60"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run([*COMMAND, str(slow_bundle), *WORDS, *words, "--out", str(whole)], check=True)
    own = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            own.add_node(num_cpus=1, wait=False)
        own.wait_for_nodes()
        environment = {**os.environ, **UNSAID, "RAY_ADDRESS": own.address}
        first = subprocess.Popen(command(slow_bundle, out, *words), env=environment)
        try:
            _wait_for(out, 4, first)
        finally:
            first.kill()
            first.wait()
        with subprocess.Popen(command(slow_bundle, out, *words), env=environment) as second:
            _wait_for(out, 10, second)
            own.remove_node(own.worker_nodes.copy().pop(), allow_graceful=False)
        assert second.returncode == 0
    finally:
        own.shutdown()
    assert files(out) == files(whole)


def _wait_for(out: Path, shards: int, process: subprocess.Popen[Any]) -> None:
    while len(list(out.glob("*.parquet"))) < shards:
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.full
def test_another_cluster_than_is_needed_is_one_line(cluster: Any, bundle: Path, tmp_path: Path):
    said = refused(bundle, tmp_path / "out", "import ray; ray.__version__ = '2.0.0'", cluster.address)
    assert "no Ray cluster that can be used" in said
    assert "ersion" in said


def test_a_node_that_does_not_see_the_folder_sends_its_shards(bundle: Path, tmp_path: Path):
    bulk(bundle, tmp_path / "out", "npz")
    content = (tmp_path / "out" / "job.json").read_bytes()
    job = read_job(content, "")
    work = Work(__version__, content, str(bundle), None, [], str(tmp_path / "elsewhere"))
    told = Told(*_task(work, tuple(job.shard(1))))
    assert told.content is not None
    assert told.done is not None
    (tmp_path / "other").mkdir()
    assert Folder(tmp_path / "other").write(job.shard(1), told.content) == (told.done.size, told.done.sha256)
    name = job.shard(1).name
    assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    told = Told(*_task(work._replace(out="memory://bulk-of-another"), tuple(job.shard(1))))
    assert told.content is not None, "what is in this process's memory is nobody else's"
    assert Told(*_task(work._replace(release="0"), tuple(job.shard(1)))).error.endswith("; the command is 0")
    with pytest.raises(LatentserveError, match="job"):
        read_job(b"{}", "job")
