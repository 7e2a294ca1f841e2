"""Whether an untouched bundle is ever said to have drifted because its reference is small.

    python -m benchmarks small-references [--generators 40] [--rows 20000] [--long 1000000]

Untrained generators of five kinds (dense pictures of low and of full contrast, pictures with labels and a critic,
convolutional ones, tables, sound) with seeds and gains of their own, each packed with references of 300 to 3,000 rows.
Each bundle is judged as `latentserve drift` does, where every row is looked at, and as a server does, whose monitor
looks at the share of batches that its budget allows, by a clock that says that 1,000 rows come in a second; after every
500 rows, and a cause other than none or not_enough_samples counts, whether it stands at the end or not. At last some of
the bundles with the smallest reference are judged on many more rows.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.drift.causes import serve
from benchmarks.generators import convolutional
from benchmarks.runner import Results, table
from latentserve.service.bundle import Latent, SampleSpec, read_bundle
from latentserve.service.drift import judge_bundle
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.settings import load_settings
from latentserve.service.watching.judge import Judge
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.reference import read_reference

TITLE = "Small references"
SIZES = (300, 500, 1000, 3000)
KINDS = ("dense, low contrast", "dense", "labels and a critic", "convolutional", "table", "sound")

_DIM = 64
_LABELS = 10
_QUIET = ("none", "not_enough_samples")
_ROWS_A_REQUEST, _ROWS_A_ROUND = 50, 500
_ROWS_PER_SECOND = 1000.0  # the setting's default
_LONG = 3  # generators that are judged for long


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generators", type=int, default=40)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--long", type=int, default=1_000_000, help="rows of the long exposure")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Every generator, every size of reference, both judges."""
    results["trials"] = []
    for one in run(range(given.generators), SIZES, given.rows, given.long):
        results["trials"].append(one)
        print(one, flush=True)


def run(generators: range, sizes: tuple[int, ...], rows: int, long: int = 0) -> Iterator[dict[str, Any]]:
    """Every generator with every size of reference, by both judges; the causes that were named, and the evidence."""
    with tempfile.TemporaryDirectory(prefix="small-references-") as scratch:
        for index in generators:
            for size in sizes:
                bundle = pack(Path(scratch) / "bundle", index, size)
                for judge, named in (("drift", _by_command), ("server", _by_server)):
                    yield {"generator": index, "kind": kind(index), "reference": size, "judge": judge, "rows": rows} | (
                        named(bundle, rows)
                    )
        for index in generators[: _LONG if long else 0]:
            bundle, size = pack(Path(scratch) / "bundle", index, min(sizes)), min(sizes)
            about = {"generator": index, "kind": kind(index), "reference": size, "judge": "drift", "rows": long}
            yield about | _by_command(bundle, long)


def kind(index: int) -> str:
    """Of a generator."""
    return KINDS[index % len(KINDS)]


def pack(out: Path, index: int, reference: int) -> Path:
    """The bundle of a generator with a reference of so many rows."""
    rng = np.random.default_rng(index)
    gain = float(rng.uniform(0.2, 2.0))
    options: dict[str, Any] = {"labels": None, "critic": None}
    name = kind(index)
    if name == "convolutional":
        sample = SampleSpec(kind="image", shape=[3, 16, 16], value_range=(-1, 1), channels="RGB")
        generator = convolutional(16, (16, 8), colours=3)
        for tensor in generator.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                drawn = rng.normal(size=values.shape) * values.std() * gain
                tensor.CopyFrom(numpy_helper.from_array(drawn.astype(np.float32), tensor.name))
    elif name == "table":
        sample = SampleSpec(kind="table", shape=[12], columns=[f"field {column}" for column in range(12)])
        generator = _dense(rng, 12, gain, "Identity", rounded=4)
    elif name == "sound":
        sample = SampleSpec(kind="audio", shape=[1, 2048], value_range=(-1, 1), sample_rate=16_000)
        generator = _dense(rng, 2048, gain, "Tanh")
    else:
        sample = SampleSpec(kind="image", shape=[1, 32, 32], value_range=(0, 1), channels="L")
        labelled = name == "labels and a critic"
        generator = _dense(rng, 1024, gain / 4 if "low" in name else gain, "Sigmoid", labels=labelled)
        if labelled:
            options = {"labels": [str(label) for label in range(_LABELS)], "critic": _critic(rng, 1024)}
    for tensor in generator.graph.output:
        del tensor.type.tensor_type.shape.dim[1:]
        for size in sample.shape:
            tensor.type.tensor_type.shape.dim.add().dim_value = size
    generator.graph.node.append(helper.make_node("Reshape", ["flat", "shape"], ["sample"]))
    last = generator.graph.node[-2]
    last.output[0] = "flat"
    generator.graph.initializer.append(numpy_helper.from_array(np.array([-1, *sample.shape], np.int64), "shape"))
    assemble_bundle(
        out,
        name=f"untouched-{index}",
        generator=generator.SerializeToString(),
        latent=Latent(dim=_DIM),
        sample=sample,
        reference_samples=reference,
        **options,
    )
    return out


def _dense(
    rng: np.random.Generator, size: int, gain: float, last: str, *, labels: bool = False, rounded: int = 0
) -> onnx.ModelProto:
    """W2 relu(W1 z + E[label]) and a last function; of a table the first columns are `rounded` to whole numbers."""
    hidden = int(rng.choice([32, 64, 256]))
    weights = {
        "w1": rng.normal(size=(_DIM, hidden)) / np.sqrt(_DIM),
        "w2": rng.normal(size=(hidden, size)) / np.sqrt(hidden) * gain,
        "embedding": rng.normal(size=(_LABELS, hidden)),
    }
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", _DIM])]
    nodes = [helper.make_node("MatMul", ["z", "w1"], ["h"])]
    if labels:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
        nodes.append(helper.make_node("Gather", ["embedding", "label"], ["e"]))
    nodes += [
        helper.make_node("Add", ["h", "e"], ["sum"]) if labels else helper.make_node("Identity", ["h"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    if rounded:
        nodes += [
            helper.make_node("Split", ["y", "parts"], ["whole", "rest"], axis=1),
            helper.make_node("Round", ["whole"], ["round"]),
            helper.make_node("Concat", ["round", "rest"], ["y2"], axis=1),
        ]
    nodes.append(helper.make_node(last, ["y2" if rounded else "y"], ["sample"]))
    initializers = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([rounded, size - rounded], np.int64), "parts"))
    return _model("generator", nodes, inputs, {"sample": ["batch", size]}, initializers)


def _critic(rng: np.random.Generator, size: int) -> bytes:
    """48 features relu(W x), of which the score is the mean."""
    weights = [numpy_helper.from_array((rng.normal(size=(size, 48)) / np.sqrt(size)).astype(np.float32), "w")]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    nodes = [
        helper.make_node("Flatten", ["sample"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["features"]),
        helper.make_node("ReduceMean", ["features", "axis"], ["score"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", 1, 32, 32])]
    return _model("critic", nodes, inputs, {"score": ["batch"], "features": ["batch", 48]}, weights).SerializeToString()


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: dict[str, list[Any]],
    initializers: list[TensorProto],
) -> onnx.ModelProto:
    made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, shape in outputs.items()]
    graph = helper.make_graph(nodes, name, inputs, made, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _by_command(bundle: Path, rows: int) -> dict[str, Any]:
    """The verdict of `latentserve drift`. An alarm that was raised and cleared on the way would not be seen: it stands
    for four times the rows that it took, so of rows at the end it is."""
    found = judge_bundle(read_bundle(bundle), load_settings(bundles=(bundle,)), None, rows, float("inf"))
    evidence = found["evidence"]
    return {"named": _named([found["cause"]]), "log_evidence": evidence["log_evidence"]}


def _by_server(bundle: Path, rows: int) -> dict[str, Any]:
    """The verdicts of a server after each round, on rows whose seeds it drew."""
    read = read_bundle(bundle)
    reference, engine = read_reference(read), Engine(read, "cpu", 1)
    rng = np.random.default_rng()
    seen, causes = 0, []
    with tempfile.TemporaryDirectory(prefix="small-references-") as folder:
        judge = Judge(Path(folder), read.manifest, reference, _ROWS_PER_SECOND)
        metrics = ModelMetrics(read.manifest.name, read.manifest.version, metric_series(read, reference))
        monitor = Monitor(engine, reference, metrics, judge.ledger, clock=lambda: seen / _ROWS_PER_SECOND)
        while seen < rows:
            for _ in range(_ROWS_A_ROUND // _ROWS_A_REQUEST):
                serve(engine, monitor, RowsRequest(n=_ROWS_A_REQUEST, seed=int(rng.integers(2**53)), arm="server"))
                seen += _ROWS_A_REQUEST
            monitor.settle()
            judge.hold()
            causes.append(judge.verdict()["cause"])
        evidence = judge.log_evidence()
        judge.stop()
    return {"named": _named(causes), "log_evidence": evidence}


def _named(causes: list[str]) -> list[str]:
    return sorted(set(causes) - set(_QUIET))


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    trials = results["trials"]
    yield f"Untouched bundles of {len({one['generator'] for one in trials})} generators. Aim: no alarm."
    yield ""
    rows = []
    for judge, seen, size in sorted({(one["judge"], one["rows"], one["reference"]) for one in trials}):
        own = [one for one in trials if (one["judge"], one["rows"], one["reference"]) == (judge, seen, size)]
        joint = max(one["log_evidence"].get("joint", 0.0) for one in own)
        other = max(value for one in own for name, value in one["log_evidence"].items() if name != "joint")
        alarms = sum(bool(one["named"]) for one in own)
        rows.append((judge, f"{seen:,}", f"{size:,}", len(own), alarms, f"{joint:.1f}", f"{other:.1f}"))
    evidence = "greatest log evidence of the features together (an alarm at 23.3)"
    yield from table(("judged by", "rows", "reference", "bundles", "alarms", evidence, "of anything else"), rows)
    yield ""
    yield f"{sum(bool(one['named']) for one in trials)} alarms of {len(trials)}."
