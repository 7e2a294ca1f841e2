"""Jobs of many rows: how many rows a second, beside the bare engine; memory at two sizes; and kills at random moments.

    python -m benchmarks bulk [--table BUNDLE] [--rounds 5] [--kills 50]

`latentserve sample --format parquet` of a table of words and whole numbers (BUNDLE instead of it: any table) and of
pictures of 28x28 in bytes. The engine beside it has one thread, as in the job, draws its latents by seed, and calls the
graph at the batch that is fastest of several; it is measured before each job, in a process of its own in which nothing
else runs. A job's rows a second are those from the moment its folder was there to its end; with all that comes before,
the whole command's. Memory is the most that the command's process ever had. A killed job is started, killed (SIGKILL)
at a moment drawn from the time that an undisturbed one takes, started again, and compared file by file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from benchmarks.figures import figure, select, shown
from benchmarks.runner import Results, table
from benchmarks.serving.edges.bundles import pack
from latentserve.service.bundle import read_bundle
from latentserve.service.bundle.files import GENERATOR
from latentserve.service.sampling.engine import require_runtime
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sessions import open_session

TITLE = "Jobs of many rows"
SHORT = True

KINDS = ("table", "pictures")
ROWS = {"table": 10_000_000, "pictures": 200_000}
_KILLED_ROWS = {"table": 1_000_000, "pictures": 20_000}
_SHARD_ROWS = {"table": 100_000, "pictures": 2_000}  # of the killed ones
_SHARE, _MEGABYTES = 0.9, 500
_BATCHES = (16, 64, 256, 1024)
_MOMENT = 0.1
_TRIED_SECONDS, _ENGINE_SECONDS = 1.0, 5.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", type=Path, metavar="BUNDLE", help="a table, instead of the one that is made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=50, help="half of each kind")


def measure(given: argparse.Namespace, results: Results) -> None:
    """`jobs`, `kills`: a record for each."""
    share = 20 if given.short else 1
    rounds, kills = (1, 4) if given.short else (given.rounds, given.kills)
    results |= {"rounds": rounds, "jobs": [], "kills": []}
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        scratch = Path(name)
        made = pack(scratch, "census", "digits")
        bundles = {"table": given.table or made[0], "pictures": made[1]}
        for number in range(rounds):
            for kind in KINDS:
                engine, batch = _engine(bundles[kind], kind)
                for part in (10, 1):
                    record = {"round": number, "kind": kind, "engine_rows": engine, "batch": batch}
                    job = _job(bundles[kind], kind, ROWS[kind] // share // part, scratch / "job", seed=number)
                    results["jobs"].append(record | job)
                    results.save()
        for kind in KINDS:
            _kill(results, bundles[kind], kind, kills // 2, scratch)


def _command(bundle: Path, kind: str, rows: int, out: Path, seed: int) -> list[str]:
    words = ["sample", bundle, "-n", rows, "--seed", seed, "--format", "parquet", "--out", out]
    words += ["--dtype", "uint8"] if kind == "pictures" else []
    return [*program(), *map(str, words)]


def _job(bundle: Path, kind: str, rows: int, out: Path, seed: int) -> dict[str, Any]:
    """One, whose folder is removed."""
    began, megabytes = time.time(), 0.0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(_command(bundle, kind, rows, out, seed), stdout=subprocess.DEVNULL, stderr=said)
        try:
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                megabytes = max(megabytes, _most_megabytes(process.pid))
                time.sleep(_MOMENT)
        except BaseException:  # nobody waits for it
            process.kill()
            raise
        stopped = time.time()
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        if process.returncode:
            said.seek(0)
            raise AbsentError(f"a job failed: {said.read().decode().strip()}")
    usage = ended[2]
    started = (out / "job.json").stat().st_mtime
    size = sum(path.stat().st_size for path in out.iterdir())
    shutil.rmtree(out)
    return {
        "rows": rows, "rows_per_second": rows / (stopped - started), "whole_rows_per_second": rows / (stopped - began),
        "cpu_seconds": usage.ru_utime + usage.ru_stime, "megabytes": megabytes, "bytes": size,
    }  # fmt: skip


def _most_megabytes(pid: int) -> float:
    """That a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0  # it has ended


def _kill(results: Results, bundle: Path, kind: str, kills: int, scratch: Path) -> None:
    rng = random.Random(0)
    whole, out = scratch / "whole", scratch / "killed"
    command = [
        *_command(bundle, kind, _KILLED_ROWS[kind], whole, seed=1), "--shard-rows", str(_SHARD_ROWS[kind])
    ]  # fmt: skip
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds, expected = time.monotonic() - began, _hashes(whole)
    command = [word if word != str(whole) else str(out) for word in command]
    for number in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        moment = rng.uniform(0, seconds)
        try:
            time.sleep(moment)
            running = process.poll() is None
        finally:
            process.kill()
            process.wait()
        there = len(list(out.glob("*.parquet"))) if out.exists() else 0
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        equal = done.returncode == 0 and _hashes(out) == expected
        record = {"kind": kind, "number": number, "seconds": moment, "running": running, "shards": there}
        results["kills"].append(record | {"equal": equal, "said": "" if equal else done.stderr[-500:]})
        results.save()
        shutil.rmtree(out, ignore_errors=True)  # of one that never began there is none
    shutil.rmtree(whole)


def _hashes(folder: Path) -> dict[str, str]:
    """Of all files, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _engine(bundle: Path, kind: str) -> tuple[float, int]:
    """Rows a second, and the batch, in a process of its own."""
    command = [sys.executable, "-P", "-m", __name__, str(bundle), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    rate, batch = done.stdout.split()
    return float(rate), int(batch)


def engine_rows_per_second(bundle: Path) -> tuple[float, int]:
    """Of ONNX Runtime in a loop: the generator as it is, one thread, latents drawn by seed; and the best batch."""
    found = read_bundle(bundle)
    session = open_session(require_runtime(), found.generator, GENERATOR, "cpu", 1, files=found.beside)
    request = RowsRequest(n=1 << 40)

    def rate(batch: int, seconds: float) -> float:
        start, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            session.run(["sample"], request.inputs(found.manifest, start, batch).feed())
            start += batch
        return start / spent

    tried = [rate(batch, _TRIED_SECONDS) for batch in _BATCHES]
    best = _BATCHES[int(np.argmax(tried))]
    return rate(best, _ENGINE_SECONDS), best


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield f"{results['rounds']} rounds; medians with the least and the greatest, ratios within a round."
    rows = []
    for kind in KINDS:
        for n in sorted({one["rows"] for one in select(results["jobs"], kind=kind)}):
            found = select(results["jobs"], kind=kind, rows=n)
            ratio = figure(one["rows_per_second"] / one["engine_rows"] for one in found)
            rows.append(
                (
                    kind, f"{n:,}", shown(figure(one["engine_rows"] for one in found)),
                    shown(figure(one["rows_per_second"] for one in found)), shown(ratio, _SHARE),
                    shown(figure(one["whole_rows_per_second"] for one in found)),
                    shown(figure(one["cpu_seconds"] / one["rows"] * 1e6 for one in found)),
                    shown(figure(one["megabytes"] for one in found), _MEGABYTES),
                )
            )  # fmt: skip
    head = (
        "sample", "rows", "engine, rows/s", "job, rows/s", f"ratio (aim >= {_SHARE})", "whole command, rows/s",
        "CPU, us a row", f"memory, MB (aim < {_MEGABYTES})",
    )  # fmt: skip
    yield from ("", *table(head, rows), "")
    for kind in KINDS:
        kills = select(results["kills"], kind=kind)
        if kills:
            equal, running = sum(one["equal"] for one in kills), sum(one["running"] for one in kills)
            begun = sum(one["shards"] > 0 for one in kills)
            yield (
                f"{kind}: killed {len(kills)} times, {running} before the job's end, {begun} with shards there; "
                f"afterwards equal to an undisturbed job: {equal} of {len(kills)}."
            )
            yield ""


if __name__ == "__main__":  # one measurement, in a process of its own
    print(*engine_rows_per_second(Path(sys.argv[1])))
