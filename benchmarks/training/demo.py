"""How long `make demo` takes from a fresh clone until it answers, and with what.

    python -m benchmarks demo [--install "uv pip install --python .venv/bin/python --torch-backend=cpu"]

What is committed here is cloned into an empty folder, with no environment; the parts are told apart by the commands
that make prints. Packages come from the index and from pip's or uv's cache, as they would for a user who has installed
some of them before; `--no-cache` downloads all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.environments import AbsentError
from benchmarks.runner import Results, table
from latentserve.service.benching.process import free_port, last_line, process_group

TITLE = "make demo from a fresh clone"

_PARTS = {"installation": "latentserve train", "training": "latentserve export", "export": "/v1/samples"}
_TOP = Path(__file__).parents[2]
_MINUTES = 30


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--install", help="make's INSTALL")
    parser.add_argument("--no-cache", action="store_true", help="of pip and uv")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Seconds of each part. Raises AbsentError: it ended, or did not answer in time."""
    port = free_port()
    variables = {
        key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS")
    }
    if given.no_cache:
        variables |= {"PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1"}
    words = [f"PORT={port}", *([f"INSTALL={given.install}"] if given.install else [])]
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        clone, log = Path(folder) / "latentserve", Path(folder) / "log"
        subprocess.run(["git", "clone", "--quiet", str(_TOP), str(clone)], check=True)
        began = time.monotonic()
        ends: dict[str, float] = {}
        with process_group(["make", "demo", *words], log, variables, clone) as process:
            while "start" not in ends:
                time.sleep(0.1)
                now, text = time.monotonic() - began, log.read_text(errors="replace")
                for part, sign in _PARTS.items():
                    if part not in ends and sign in text:
                        ends[part] = now
                if len(ends) == len(_PARTS) and _answers(port):
                    ends["start"] = now
                if process.poll() is not None or now > 60 * _MINUTES:
                    raise AbsentError(f"make demo does not answer; its last line: {last_line(log)}")
    starts = dict(zip(ends, (0.0, *ends.values()), strict=False))
    results |= {
        "install": given.install or "pip",
        "cache": not given.no_cache,
        "seconds": {part: round(end - starts[part], 1) for part, end in ends.items()},
    }


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    seconds = results["seconds"]
    cache = "what was in its cache" if results["cache"] else "no cache"
    yield f"Installed by `{results['install']}`, with {cache}; until a request for a sample is answered."
    rows = [*((part, f"{took:.0f}") for part, took in seconds.items()), ("all", f"{sum(seconds.values()):.0f}")]
    yield from ("", *table(("", "s"), rows))


def _answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/v1/samples", json={"seed": 1}).status_code == 200
    except httpx.HTTPError:
        return False
