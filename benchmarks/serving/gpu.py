"""A large generator on a GPU: this server beside bare ONNX Runtime and torch, in fp32 and in fp16.

    python -m benchmarks.serving.gpu [--device cuda] [--seconds 3] [--repetitions 5] [--out FOLDER/NAME]

The server answers requests for 64 samples as uint8, four at a time. ONNX Runtime runs the bundle's graph with bound
inputs and outputs, torch the same weights in a CUDA graph; each at its best batch, and its samples stay on the device,
as a server's cannot. All are measured in turn in each repetition, for a device is not the same a minute later.
Written to benchmarks/results: gpu.json (everything) and gpu.md. `--device cpu` tries the script, on a tiny generator.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from benchmarks.figures import Figure, Record, figure, ratio, select, values
from benchmarks.generators import DIM, LARGE, TINY, Generator
from benchmarks.machine import describe_machine
from benchmarks.serving.alone import Alone, BoundEngine, TorchEngine, best_batch, samples_per_second
from latentserve import __version__
from latentserve.service.benching.load import closed_loop
from latentserve.service.benching.requests import RAW, seeded
from latentserve.service.benching.target import own_server
from latentserve.service.bundle import Bundle, Latent, Lineage, SampleSpec, read_bundle
from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.sampling.engine import require_cuda
from latentserve.service.sampling.sessions import Device

ROWS, CONNECTIONS = 64, 4  # rows of a request; requests under way
PRECISIONS = ("fp32", "fp16")
OURS, BARE, TORCH = "latentserve", "ONNX Runtime", "torch"

_RESULTS = Path(__file__).parents[1] / "results"
_REFERENCE_SAMPLES = 256  # drift is not what is measured here
_RATE = "samples_per_second"


def main() -> None:
    """Measure, and write JSON and a table. Exits with 2 where there is no CUDA."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement (default: 3)")
    parser.add_argument("--repetitions", type=int, default=5, help="of all of them (default: 5)")
    parser.add_argument("--out", type=Path, default=_RESULTS / "gpu", help="folder and first part of the results' name")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server under way is stopped like on ^C
    if given.device == "cuda":
        try:
            require_cuda()
        except LatentserveError as error:
            print(f"benchmarks.serving.gpu: {error}", file=sys.stderr)
            sys.exit(2)
    results = measure(
        LARGE if given.device == "cuda" else TINY, given.device, PRECISIONS, given.seconds, given.repetitions
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(report(results))
    print(report(results))


def measure(
    generator: Generator, device: Device, precisions: tuple[str, ...], seconds: float, repetitions: int
) -> dict[str, Any]:
    """Everything; `records` are the single measurements, `absent` what could not be measured, and why."""
    machine = {**describe_machine(), "gpu": _gpu() if device == "cuda" else None}
    os.environ["LATENTSERVE_DEVICE"] = device
    records: list[Record] = []
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch:
        model = generator.build()
        bundles = _bundles(model, Path(scratch))
        for precision in precisions:
            found = _measure_precision(bundles[precision], model, device, precision, seconds, repetitions, absent)
            for record in found:
                records.append(record)
                print("{repetition} {precision} {way}: {samples_per_second:.0f} samples/s".format(**record), flush=True)
    return {
        "machine": machine,
        "versions": _versions(),
        "settings": {
            "device": device,
            "generator": f"{generator.name}: {generator.about}",
            "rows": ROWS,
            "connections": CONNECTIONS,
            "seconds": seconds,
            "repetitions": repetitions,
        },
        "absent": absent,
        "records": records,
    }


def _measure_precision(
    bundle: Bundle,
    model: onnx.ModelProto,
    device: Device,
    precision: str,
    seconds: float,
    repetitions: int,
    absent: dict[str, str],
) -> Iterator[Record]:
    """One server, idle while the others run; the order of the ways turns from repetition to repetition."""
    opened: dict[str, Callable[[], Alone]] = {
        BARE: lambda: BoundEngine(bundle, device),
        TORCH: lambda: TorchEngine(model, device, precision),
    }
    alone: dict[str, tuple[Callable[[], object], int]] = {}
    for way, make in opened.items():
        try:
            engine = make()
            batch = best_batch(engine, seconds / 5)
            alone[way] = engine.prepare(batch), batch
        except Exception as error:  # torch, and what it runs on, fail in ways of their own
            absent[f"{way}, {precision}"] = one_line(error)
    with own_server(bundle.path) as target:
        requests = seeded(ROWS, RAW, dtype="uint8")
        closed_loop(target.address, requests, CONNECTIONS, seconds / 4)  # first ones are slower
        ways = [OURS, *alone]
        for repetition in range(repetitions):
            start = repetition % len(ways)
            for way in (*ways[start:], *ways[:start]):
                record: Record = {"repetition": repetition, "precision": precision, "way": way}
                if way == OURS:
                    load = closed_loop(target.address, requests, CONNECTIONS, seconds)
                    yield {**record, "batch": None, _RATE: ROWS * load.per_second, **asdict(load)}
                else:
                    run, batch = alone[way]
                    yield {**record, "batch": batch, _RATE: samples_per_second(run, batch, seconds)}


def _bundles(model: onnx.ModelProto, folder: Path) -> dict[str, Bundle]:
    """The generator as a bundle in fp32, and in fp16 with the samples of fp32 as golden ones."""
    sizes = [axis.dim_value for axis in model.graph.output[0].type.tensor_type.shape.dim[1:]]
    spec = SampleSpec(kind="image", shape=sizes, value_range=(-1, 1), channels="RGB")
    given: dict[str, Any] = {
        "name": "large",
        "latent": Latent(dim=DIM),
        "sample": spec,
        "reference_samples": _REFERENCE_SAMPLES,
    }
    assemble_bundle(folder / "fp32", generator=model.SerializeToString(), **given)
    fp32 = read_bundle(folder / "fp32")
    half = convert_float_to_float16(onnx.load_model_from_string(fp32.generator), keep_io_types=True)
    lineage = Lineage(evaluation={"precision": "fp16"})
    content = half.SerializeToString()
    assemble_bundle(folder / "fp16", generator=content, golden_sample=fp32.golden.sample, lineage=lineage, **given)
    return {"fp32": fp32, "fp16": read_bundle(folder / "fp16")}


def report(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    settings, machine, records = results["settings"], results["machine"], results["records"]
    lines = [
        "# A large generator on a GPU",
        "",
        f"{settings['generator']}. On {machine['gpu'] or machine['processor']}. Requests for {settings['rows']} "
        f"samples, uint8, {settings['connections']} at a time; medians [range] of {settings['repetitions']} "
        f"repetitions of {settings['seconds']:g} s, ratios within a repetition. "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + ".",
        "",
        "| precision | way | batch | samples/s | latentserve over it |",
        "|---|---|---|---|---|",
    ]
    for precision in dict.fromkeys(record["precision"] for record in records):
        ours = values(select(records, precision=precision, way=OURS), _RATE)
        for way in (OURS, BARE, TORCH):
            found = select(records, precision=precision, way=way)
            if found:
                rates = values(found, _RATE)
                batch = found[0]["batch"] or ""
                cells = [precision, way, str(batch), _shown(figure(rates.values())), _shown(ratio(ours, rates))]
                lines.append(f"| {' | '.join(cells)} |")
    failed = sum(record.get("failed", 0) for record in records)
    lines += ["", f"{failed} requests failed.", ""]
    for name, reason in results["absent"].items():
        lines += [f"Absent: {name} ({reason}).", ""]
    return "\n".join(lines)


def _shown(value: Figure | None) -> str:
    return "not measured" if value is None else str(value)


def _gpu() -> str | None:
    """Name and driver of the first GPU."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.splitlines()[0]


def _versions() -> dict[str, str]:
    found = {"latentserve": __version__}
    for package in ("onnxruntime-gpu", "onnxruntime", "torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
