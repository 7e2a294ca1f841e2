"""Requests a second: this server, the same ONNX file behind plain BentoML, and the bare engine, in one run.

    python -m benchmarks.serving [--out benchmarks/results/serving.json]

All with one engine thread. The servers run one at a time, interleaved over the repetitions, since two on the same
cores would measure each other. The figures to read are the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import onnxruntime

from benchmarks.generators import DIM, convolutional_28
from benchmarks.load import closed_loop, post
from service import __version__
from service.packing.foreign import Told, pack_foreign

_JSON, _RAW = "application/json", "application/octet-stream"


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--port", type=int, default=3210)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latentserve-bench-") as scratch:
        results = measure(Path(scratch), given.connections, given.seconds, given.repetitions, given.port)
    print_table(results)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(results, indent=2) + "\n")


def measure(scratch: Path, connections: list[int], seconds: float, repetitions: int, port: int) -> dict[str, object]:
    """All servers at all numbers of connections, `repetitions` times."""
    model, bundle = scratch / "generator.onnx", scratch / "bundle"
    model.write_bytes(convolutional_28().SerializeToString())
    pack_foreign(model, bundle, "bench", Told())
    python, scripts = sys.executable, Path(sys.executable).parent
    ours = [python, "-m", "service", "serve", str(bundle), "--port", str(port)]
    plain = [str(scripts / "bentoml"), "serve", "benchmarks.peers.plain_bentoml:Plain", "--port", str(port)]
    environment = os.environ | {
        "BENTOML_DO_NOT_TRACK": "True",
        "LATENTSERVE_THREADS": "1",
        "PEER_MODEL": str(model),
    }
    latents = np.random.default_rng(0).normal(size=(256, 1, DIM)).round(6)
    bodies = [json.dumps({"z": latent.tolist()}).encode() for latent in latents]
    cases: dict[str, tuple[list[str], Callable[[int], bytes]]] = {
        "latentserve, raw float32": (ours, lambda i: post("/v1/samples", b'{"seed":%d}' % i, _RAW)),
        "latentserve, JSON with PNG": (ours, lambda i: post("/v1/samples", b'{"seed":%d}' % i, _JSON)),
        "plain BentoML batchable, JSON": (plain, lambda i: post("/generate", bodies[i % 256], _JSON)),
    }
    runs: dict[str, dict[int, list[dict[str, float]]]] = {name: {c: [] for c in connections} for name in cases}
    engine: list[float] = []
    for repetition in range(repetitions):
        engine.append(bare_engine(model))
        for name, (command, request) in cases.items():
            with running(command, environment | {"BENTOML_HOME": str(scratch / f"home-{repetition}")}, port):
                for count in connections:
                    load = closed_loop(port, request, count, warm_up=2.0, seconds=seconds)
                    runs[name][count].append(asdict(load))
                    print(f"{name}, {count} connections: {load}", flush=True)
    return {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {"latentserve": __version__, "onnxruntime": onnxruntime.__version__},
        "settings": {"seconds": seconds, "repetitions": repetitions, "engine_threads": 1, "generator": "59 MFLOP"},
        "bare_engine_samples_per_second": {"median": statistics.median(engine), "runs": engine},
        "runs": runs,
    }


def bare_engine(model: Path, seconds: float = 2.0) -> float:
    """Samples a second of ONNX Runtime alone on one thread, at the best of several batch sizes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    best = 0.0
    for batch in (1, 4, 16, 64):
        z = np.random.default_rng(0).normal(size=(batch, DIM)).astype(np.float32)
        session.run(None, {"z": z})
        began, rows = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            session.run(None, {"z": z})
            rows += batch
        best = max(best, rows / spent)
    return best


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    """A server as a process, ready to answer."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        else:
            raise TimeoutError(f"{command} did not answer")
        yield
    finally:
        process.terminate()
        process.wait(30)


def print_table(results: dict) -> None:
    """Medians, and ratios to plain BentoML and to the bare engine."""
    bare = results["bare_engine_samples_per_second"]["median"]
    print(f"\nbare engine: {bare:.0f} samples/s")
    base = {
        count: statistics.median(run["requests_per_second"] for run in runs)
        for count, runs in results["runs"]["plain BentoML batchable, JSON"].items()
    }
    print("| server | connections | requests/s | p50 ms | p99 ms | over plain BentoML | over the bare engine |")
    print("|---|---|---|---|---|---|---|")
    for name, by_count in results["runs"].items():
        for count, runs in by_count.items():
            rate, p50, p99 = (
                statistics.median(run[key] for run in runs) for key in ("requests_per_second", "p50_ms", "p99_ms")
            )
            print(
                f"| {name} | {count} | {rate:.0f} | {p50:.1f} | {p99:.1f} "
                f"| {rate / base[count]:.2f} | {rate / bare:.2f} |"
            )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
