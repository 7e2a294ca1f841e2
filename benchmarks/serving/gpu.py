"""A large generator on a GPU: this server beside bare ONNX Runtime, in fp32.

    python -m benchmarks gpu [--device cuda] [--seconds 3] [--repetitions 5]

The server answers requests for 64 samples as uint8, four at a time. ONNX Runtime runs the bundle's graph with bound
inputs and outputs at its best batch, and its samples stay on the device, as a server's cannot. They are measured in
turn in each repetition, for a device is not the same a minute later. `--device cpu` tries the script, on a tiny
generator.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.commands import latentserve
from benchmarks.environments import AbsentError
from benchmarks.figures import Record, figure, ratio, select, shown, values
from benchmarks.generators import DIM, LARGE, TINY
from benchmarks.runner import Results, table
from latentserve.service.benching.load import closed_loop
from latentserve.service.benching.requests import RAW, seeded
from latentserve.service.benching.target import own_server
from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.bundle.files import GENERATOR
from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.sampling.engine import require_cuda
from latentserve.service.sampling.sessions import Device, open_session

TITLE = "A large generator on a GPU"

ROWS, CONNECTIONS = 64, 4  # rows of a request; requests under way
BATCHES = (16, 32, 64, 128, 256)
OURS, BARE = "latentserve", "ONNX Runtime"

_REFERENCE_SAMPLES = 256  # drift is not what is measured here
_RATE = "samples_per_second"


class BoundEngine:
    """A bundle's graph in ONNX Runtime, with the options that the server gives it, inputs and outputs bound."""

    def __init__(self, bundle: Bundle, device: Device) -> None:
        self._session = open_session(onnxruntime, bundle.generator, GENERATOR, device, len(os.sched_getaffinity(0)))
        self._shape, self._device = bundle.manifest.sample.shape, device

    def prepare(self, batch: int) -> Callable[[], None]:
        """What runs one batch of this size, latents copied from the host. Raises where it does not fit the device."""
        latents = np.random.default_rng(0).normal(size=(batch, DIM)).astype(np.float32)
        allocate = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        z = allocate([batch, DIM], np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("z", z)
        binding.bind_ortvalue_output("sample", allocate([batch, *self._shape], np.float32, self._device, 0))

        def run() -> None:
            z.update_inplace(latents)
            self._session.run_with_iobinding(binding)

        run()
        return run

    def best_batch(self, seconds: float) -> int:
        """The batch size with the most samples a second."""
        rates: dict[int, float] = {}
        for batch in BATCHES:
            try:
                rates[batch] = samples_per_second(self.prepare(batch), batch, seconds)
            except Exception as error:  # of the runtime's, for want of memory
                if not rates:
                    raise
                print(f"batches of {batch} do not fit: {one_line(error)}", flush=True)
                break
        return max(rates, key=rates.__getitem__)


def samples_per_second(run: Callable[[], object], batch: int, seconds: float) -> float:
    """Of batches one after the other."""
    began, rows = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not rows:
        run()
        rows += batch
    return rows / spent


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement (default: 3)")
    parser.add_argument("--repetitions", type=int, default=5, help="of all of them (default: 5)")


def measure(given: argparse.Namespace, results: Results) -> None:
    """`records` are the single measurements. Raises AbsentError: there is no CUDA."""
    if given.device == "cuda":
        try:
            require_cuda()
        except LatentserveError as error:
            raise AbsentError(str(error)) from None
    generator = LARGE if given.device == "cuda" else TINY
    os.environ["LATENTSERVE_DEVICE"] = given.device
    records: list[Record] = []
    results |= {
        "gpu": _gpu() if given.device == "cuda" else None,
        "generator": f"{generator.name}: {generator.about}",
        "seconds": given.seconds,
        "repetitions": given.repetitions,
        "records": records,
    }
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch:
        file, folder = Path(scratch) / "generator.onnx", Path(scratch) / "bundle"
        file.write_bytes(generator.build().SerializeToString())
        few = ("--reference-samples", _REFERENCE_SAMPLES)
        latentserve("pack", file, "--name", "large", "--value-range", -1, 1, "--out", folder, *few)
        engine = BoundEngine(read_bundle(folder), given.device)
        batch = engine.best_batch(given.seconds / 3)
        alone = engine.prepare(batch)
        requests = seeded(ROWS, RAW, dtype="uint8")
        with own_server(folder) as target:
            closed_loop(target.address, requests, CONNECTIONS, given.seconds / 4)  # first ones are slower
            for repetition in range(given.repetitions):
                for way in (OURS, BARE) if repetition % 2 else (BARE, OURS):
                    record: Record = {"repetition": repetition, "way": way, "batch": batch}
                    if way == OURS:
                        load = closed_loop(target.address, requests, CONNECTIONS, given.seconds)
                        record |= {"batch": ROWS, _RATE: ROWS * load.per_second, **asdict(load)}
                    else:
                        record[_RATE] = samples_per_second(alone, batch, given.seconds)
                    records.append(record)
                    print("{repetition} {way}: {samples_per_second:.0f} samples/s".format(**record), flush=True)


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['generator']}. On {results['gpu'] or 'the CPU'}. Requests for {ROWS} samples, uint8, "
        f"{CONNECTIONS} at a time; medians [range] of {results['repetitions']} repetitions of {results['seconds']:g} "
        "s, ratios within a repetition."
    )
    rates = {way: values(select(records, way=way), _RATE) for way in (OURS, BARE)}
    rows = [
        (way, select(records, way=way)[0]["batch"], figure(of.values()), shown(ratio(rates[OURS], of), 0.85, 0.95))
        for way, of in rates.items()
    ]
    yield from ("", *table(("way", "batch", "samples/s", "latentserve over it (floor 0.85, aim 0.95)"), rows), "")
    yield f"{sum(record.get('failed', 0) for record in records)} requests failed."


def _gpu() -> str | None:
    """Name and driver of the first GPU."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.splitlines()[0]
