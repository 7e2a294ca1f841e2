"""How fast an account is written, and how fast a request or a row is found in it, and made again.

    python -m benchmarks audit [--lines 10000000] [--folder FOLDER] [--short]

The account is written by the server's own code, without a server: lines of requests of a row each, for 1,000 seeds and
20 keys. Then `latentserve audit` is run as a user runs it, each time a process of its own, for lines at the beginning,
in the middle and at the end; before each run the account's files are dropped from the system's cache, where it lets
itself be told so. FOLDER, where it holds an account of so many lines already, is measured as it is.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from benchmarks.figures import figure, shown
from benchmarks.generators import TINY
from benchmarks.runner import Results, table
from benchmarks.serving.servers import Subject
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditLog
from latentserve.service.bundle import Manifest, read_bundle
from latentserve.service.sampling.request import RowsRequest

TITLE = "An account of millions of requests"
SHORT = True

SECONDS_AIM, MEGABYTES_AIM = 10.0, 500.0
_SEEDS = 1000
_KEYS = 20
_PLACES = ("beginning", "middle", "end")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="an account of that many lines, made here if it is not there")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Raises AbsentError: the command fails, or finds nothing."""
    lines = 20_000 if given.short else given.lines
    with ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audit-")))
        subject = Subject(here, threads=1)
        subject.model.write_bytes(TINY.build().SerializeToString())
        subject.pack("bundle")
        manifest = read_bundle(here / "bundle").manifest
        folder = given.folder or here / "account"
        results |= {"lines": lines, "found": [], "written": None}
        if not list(folder.glob("*.ndjson")):
            results["written"] = _write(folder, manifest, lines)
        results["bytes"] = {kind: sum(file.stat().st_size for file in folder.glob(f"*.{kind}")) for kind in _KINDS}
        results.save()
        for place in _PLACES:
            number = {"beginning": 7, "middle": lines // 2, "end": lines - 8}[place]
            seed, row = number % _SEEDS, number // _SEEDS
            for by, words in (
                ("request id", ["--id", _id(number)]),
                ("row", ["--model", manifest.name, "--version", manifest.version, "--seed", seed, "--row", row]),
            ):
                for again in (False, True):
                    more = ["--recreate", here / "bundle", "--out", here / "again.npy"] if again else []
                    figures = _run([folder, *words, *more], folder, _id(number), here)
                    results["found"].append({"place": place, "by": by, "recreated": again, **figures})
                    results.save()


_KINDS = ("ndjson", "index")


def _id(number: int) -> str:
    return f"{random.Random(number).getrandbits(48):012x}-{number:x}"


def _write(folder: Path, manifest: Manifest, lines: int) -> dict[str, float]:
    account = Account(AuditLog(folder), "refuse", keep=True)
    keys = [f"{random.Random(-number).getrandbits(48):012x}" for number in range(1, _KEYS + 1)]
    began, processor = time.perf_counter(), time.process_time()
    for number in range(lines):
        request = RowsRequest(1, number % _SEEDS, number // _SEEDS)
        account.sent(_id(number), keys[number % _KEYS], "/v1/samples", manifest, request, 1, "image/png")
    account.close()
    return {"seconds": time.perf_counter() - began, "microseconds": 1e6 * (time.process_time() - processor) / lines}


def _run(words: list[object], folder: Path, expected: str, here: Path) -> dict[str, float]:
    """Seconds and megabytes of `latentserve audit`. Raises AbsentError."""
    for file in folder.iterdir():
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    command = [*program(), "audit", *map(str, words)]
    began = time.perf_counter()
    with (here / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    text = (here / "said").read_text()
    if process.returncode or (expected not in text and "made again" not in text):
        raise AbsentError(f"latentserve audit: {text.strip()[-300:] or 'found nothing'}")
    return {"seconds": seconds, "megabytes": usage.ru_maxrss / 1024}


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    sizes = " and ".join(f"{results['bytes'][kind] / 1e9:.2f} GB of {kind}" for kind in _KINDS)
    yield f"{results['lines']:,} lines: {sizes}."
    if (written := results["written"]) is not None:
        yield (
            f"Written in {written['seconds']:.0f} s by one process, {written['microseconds']:.1f} us of processor time "
            "a line, the making of its request and id among them."
        )
    rows = []
    for by in ("request id", "row"):
        for again in (False, True):
            found = [one for one in results["found"] if (one["by"], one["recreated"]) == (by, again)]
            seconds, megabytes = (figure(one[of] for one in found) for of in ("seconds", "megabytes"))
            done = "found and made again" if again else "found"
            rows.append((f"by {by}, {done}", shown(seconds, SECONDS_AIM), shown(megabytes, MEGABYTES_AIM)))
    head = ("", f"seconds (aim <= {SECONDS_AIM:g})", f"MB (aim <= {MEGABYTES_AIM:g})")
    yield from ("", *table(head, rows))
