"""How much memory does `latentserve pack` take, beyond that of one call of the engine?

    python -m benchmarks pack-memory

Generators of pictures of several sizes, with weights from a megabyte to more than protobuf's 2 GiB, as one file or with
external data. Each is packed by the command, in a process of its own with its defaults, and the bundle's generator is
called once, in another, for as many rows as make one megapixel. What is told is the largest resident size that Linux
has seen of each process (VmHWM), pages of mapped files among it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.generators import DIM, convolutional
from benchmarks.packing.watched import watched
from benchmarks.runner import Results, table

TITLE = "The memory of packing"
RESUMES = True

SIDES = (256, 512, 1024)
WEIGHTS = {"1 MB": 1_000_000, "350 MB": 350_000_000, "2.1 GB": 2_100_000_000}
ONE_FILE = 1_500_000_000  # bytes of weights of a file that holds them
BOUND, FACTOR = 2_000_000_000, 3  # bytes beyond one call, and so many times the weights more

_MEGAPIXEL = 1 << 20
_CHANNELS = {side: (32,) * (side.bit_length() - 5) + (16, 16) for side in SIDES}  # 8 x 8 at first, 1 MB


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, metavar="PIXELS", help="of the pictures")
    parser.add_argument("--weights", nargs="+", default=list(WEIGHTS), choices=WEIGHTS, help="of the generators")
    parser.add_argument("--reference-samples", type=int, metavar="N", help="that pack makes; its default takes minutes")


def measure(given: argparse.Namespace, results: Results) -> None:
    records: list[dict[str, Any]] = results.setdefault("records", [])
    for weights in given.weights:
        for side in given.sides:
            if not any((one["side"], one["weights"]) == (side, weights) for one in records):
                records.append(_case(side, weights, given.reference_samples))
                results.save()


def report(results: Results) -> list[str]:
    rows = []
    for one in results.get("records", []):
        most = BOUND + FACTOR * one["weight_bytes"]
        beyond = one["pack_bytes"] - one["call_bytes"]
        rows.append(
            (
                f"3x{one['side']}x{one['side']}", one["weights"], one["files"], _gb(one["pack_bytes"]),
                _gb(one["call_bytes"]), _gb(beyond), f"<= {_gb(most)}{'' if beyond <= most else ' (missed)'}",
                f"{one['pack_seconds']:.0f}",
            )
        )  # fmt: skip
    head = ("sample", "weights", "brought as", "pack, GB", "one call, GB", "beyond, GB", "aim, GB", "pack, s")
    return [
        "The largest resident size of `latentserve pack` beside that of one engine call whose samples "
        f"are one megapixel. The aim is {BOUND / 1e9:.0f} GB and {FACTOR} times the weights beyond the call.",
        "",
        *table(head, rows),
    ]


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f}"


def _case(side: int, weights: str, reference: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_generator(folder / "generator.onnx", side, WEIGHTS[weights])
        files = len(list(folder.iterdir()))
        began = time.monotonic()
        words = [folder / "generator.onnx", "--name", "measured", "--out", folder / "bundle"]
        packed = watched("pack", *words, *(() if reference is None else ("--reference-samples", reference)))
        seconds = time.monotonic() - began
        called = watched("call", folder / "bundle", max(1, _MEGAPIXEL // side**2))
    return {
        "side": side, "weights": weights, "weight_bytes": size, "files": "one file" if files == 1 else "external data",
        "pack_bytes": packed, "call_bytes": called, "pack_seconds": round(seconds, 1),
    }  # fmt: skip


def write_generator(file: Path, side: int, size: int) -> int:
    """Write a generator of pictures 3 x side x side with about so many bytes of weights: a convolutional one, and
    before it layers that are as wide as it takes; in a file beside it where they are many. How many bytes it has."""
    model = convolutional(side, _CHANNELS[side], colours=3)
    graph = model.graph
    left = size - sum(len(tensor.raw_data) for tensor in graph.initializer)
    width = max(1, int((DIM**2 + max(left, 0) / 4) ** 0.5) - DIM)  # width^2 + 2 DIM width numbers
    nodes = [
        helper.make_node("MatMul", ["z", "wide0"], ["wide/0"]),
        helper.make_node("LeakyRelu", ["wide/0"], ["wide/1"], alpha=0.2),
        helper.make_node("MatMul", ["wide/1", "wide1"], ["wide/2"]),
        helper.make_node("LeakyRelu", ["wide/2"], ["wide/3"], alpha=0.2),
        helper.make_node("MatMul", ["wide/3", "wide2"], ["wide/4"]),
    ]
    (first,) = (node for node in graph.node if "z" in node.input)
    first.input[0] = "wide/4"
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
    shapes = {"wide0": (DIM, width), "wide1": (width, width), "wide2": (width, DIM)}
    external = size > ONE_FILE
    data = file.with_name(file.name + ".data")
    rng = np.random.default_rng(0)
    with data.open("wb") as stream:
        for name, (rows, columns) in shapes.items():
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, columns])
            begins = stream.tell()
            for _ in range(rows):
                stream.write((rng.standard_normal(columns, np.float32) / np.float32(rows**0.5)).tobytes())
            if external:
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", data.name), ("offset", begins), ("length", 4 * rows * columns)):
                    tensor.external_data.add(key=key, value=str(value))
            graph.initializer.append(tensor)
    if not external:
        content, at = data.read_bytes(), 0
        for tensor in graph.initializer[-len(shapes) :]:
            tensor.raw_data = content[at : (at := at + 4 * tensor.dims[0] * tensor.dims[1])]
        data.unlink()
    file.write_bytes(model.SerializeToString())
    return sum(4 * int(np.prod(tensor.dims)) for tensor in graph.initializer)
