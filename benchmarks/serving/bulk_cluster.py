"""Jobs of many rows on a Ray cluster: rows per second of processor time, beside processes without Ray; and with a node
that is killed.

    python -m benchmarks bulk-cluster [--rounds 3]

The cluster has a head that runs no tasks and two nodes of one core each, all on this machine; beside it two processes
of `latentserve sample` of one core each (`taskset`) make half of the rows each. Both are looked at from the moment that
each has made two shards, until the last one is there, every 50 ms: processor time of the processes that make shards,
and apart from it that of Ray's own and of the command. A node is killed when a third of the shards are there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from benchmarks.figures import figure, select, shown
from benchmarks.runner import Results, table
from benchmarks.serving.edges.bundles import pack

TITLE = "Jobs of many rows on a cluster"
SHORT = True

_ROWS = {"table": 4_000_000, "pictures": 40_000}
_SHARDS = 40
_SHARE = 0.9
_MEMORY = 200 << 20  # of a node's store of objects: shards do not go through it here
_TICKS = os.sysconf("SC_CLK_TCK")
_MOMENT = 0.05
_BEGUN = 4  # shards that are there when looking begins


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)


def measure(given: argparse.Namespace, results: Results) -> None:
    """`jobs`: a record for each."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        raise AbsentError("needs latentserve[ray]") from None
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    share = 10 if given.short else 1
    results |= {"rounds": 1 if given.short else given.rounds, "jobs": []}
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        made = dict(zip(_ROWS, pack(Path(name), "census", "digits"), strict=True))
        for number in range(results["rounds"]):
            for kind, rows in _ROWS.items():
                n, out = rows // share, Path(name) / "out"
                words = _words(made[kind], kind, n, out)
                expected = None
                for how in ("processes", "cluster", "a node killed"):
                    if how == "processes":
                        found = _look(_processes(words, n), out, _of_ours)
                        expected = _read(out)
                    else:
                        found = _on_cluster(Cluster, words, out, kill=how == "a node killed")
                        found["equal"] = _read(out).equals(expected)
                    shutil.rmtree(out)
                    results["jobs"].append({"round": number, "kind": kind, "how": how, "n": n, **found})
                    results.save()


def _on_cluster(made_by: Any, words: list[str], out: Path, *, kill: bool) -> dict[str, Any]:
    """A job on a cluster of its own."""
    head = {"num_cpus": 0, "object_store_memory": _MEMORY, "include_dashboard": False}
    cluster = made_by(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
        environment = {**os.environ, "RAY_ADDRESS": cluster.address}
        running = subprocess.Popen([*words, "--engine", "ray"], env=environment)
        return _look([running], out, _of_ray, cluster if kill else None)
    finally:
        cluster.shutdown()


def _words(bundle: Path, kind: str, rows: int, out: Path) -> list[str]:
    words = ["sample", bundle, "-n", rows, "--seed", 1, "--format", "parquet", "--out", out]
    words += ["--shard-rows", rows // _SHARDS, *(["--dtype", "uint8"] if kind == "pictures" else [])]
    return [*program(), *map(str, words)]


def _processes(words: list[str], n: int) -> list[subprocess.Popen[bytes]]:
    """Two, of a core and half of the rows each, into folders of their own."""
    running = []
    for place, core in enumerate(sorted(os.sched_getaffinity(0))[:2]):
        own = list(words)
        own[own.index("-n") + 1] = str(n // 2)
        own[own.index("--out") + 1] += f"/{place}"
        command = ["taskset", "--cpu-list", str(core), *own, "--offset", str(place * n // 2)]
        running.append(subprocess.Popen(command))
    return running


def _look(
    running: list[subprocess.Popen[bytes]], out: Path, is_maker: Callable[[str], bool], cluster: Any = None
) -> dict[str, Any]:
    """A job: the share of its shards and the seconds after its start, and the processor time that went into them. A
    node of `cluster` is killed meanwhile."""
    try:
        return _looked_at(running, out, is_maker, cluster)
    finally:
        for process in running:
            process.kill()


def _looked_at(
    running: list[subprocess.Popen[bytes]], out: Path, is_maker: Callable[[str], bool], cluster: Any
) -> dict[str, Any]:
    before: dict[int, float] = {}
    last: dict[int, tuple[float, bool]] = {}
    began, first, shards = 0.0, 0, 0
    while any(process.poll() is None for process in running):
        for pid, name, seconds in _descendants():
            last[pid] = seconds, last.get(pid, (0, False))[1] or is_maker(name)
        shards = len(list(out.rglob("*.parquet")))
        if not began and shards >= _BEGUN:
            began, first, before = time.monotonic(), shards, {pid: seconds for pid, (seconds, _) in last.items()}
        if cluster is not None and shards >= _SHARDS // 3:
            cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
            cluster = None
        time.sleep(_MOMENT)
    spent = time.monotonic() - began
    if any(process.returncode for process in running) or not began:
        raise AbsentError("a job failed")
    took = {pid: (seconds - before.get(pid, 0), makes) for pid, (seconds, makes) in last.items()}
    ours, others = (sum(seconds for seconds, makes in took.values() if makes is wanted) for wanted in (True, False))
    done = (_SHARDS - first) / _SHARDS
    return {"share": done, "seconds": spent, "makers_cpu": ours, "others_cpu": others}


def _of_ours(name: str) -> bool:
    return "latentserve" in name


def _of_ray(name: str) -> bool:
    return name.startswith("ray::")


def _descendants() -> Iterator[tuple[int, str, float]]:
    """Of this process: their ids, command lines, and seconds of processor time."""
    parents, found = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(stat[1])
                name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = name, (int(stat[11]) + int(stat[12])) / _TICKS
    for pid, (name, seconds) in found.items():
        above = parents.get(pid, 0)
        while above not in (0, 1, os.getpid()):
            above = parents.get(above, 0)
        if above == os.getpid():
            yield pid, name, seconds


def _read(out: Path) -> pa.Table:
    """The rows, in order, without what the schema says of a shard."""
    paths = sorted(out.rglob("*.parquet"), key=lambda path: path.name)
    return pa.concat_tables([pq.read_table(path).replace_schema_metadata(None) for path in paths])


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield f"{results['rounds']} rounds; medians with the least and the greatest, ratios within a round."
    rows = []
    for kind in _ROWS:
        beside = {one["round"]: _rate(one) for one in select(results["jobs"], kind=kind, how="processes")}
        for how in ("processes", "cluster", "a node killed"):
            found = select(results["jobs"], kind=kind, how=how)
            if not found:
                continue
            ratio = figure(_rate(one) / beside[one["round"]] for one in found)
            equal = all(one.get("equal", True) for one in found)
            rows.append(
                (
                    kind, how, shown(figure(map(_rate, found))), "" if how == "processes" else shown(ratio, _SHARE),
                    shown(figure(one["n"] * one["share"] / one["seconds"] for one in found)),
                    shown(figure(one["others_cpu"] / one["seconds"] for one in found)),
                    "" if how == "processes" else "yes" if equal else "no",
                )
            )  # fmt: skip
    head = (
        "sample", "made by", "rows per CPU-second", f"ratio (aim >= {_SHARE})", "rows/s",
        "Ray's own processes and the command, cores", "equal",
    )  # fmt: skip
    yield from ("", *table(head, rows))


def _rate(record: dict[str, Any]) -> float:
    """Rows for each second of a processor in the processes that made them."""
    return float(record["n"] * record["share"] / record["makers_cpu"])
