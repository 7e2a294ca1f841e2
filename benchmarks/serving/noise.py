"""What it costs that noise inputs are drawn for each row: rows a second of requests beside the engine alone, fed by
arrays that were made beforehand.

    python -m benchmarks noise

Networks of several sizes take 40,000 numbers of noise a row, as maps that are added between their convolutions, and are
packed as strangers' files are. Four askers want 16 rows each, in batches of 16, of one engine thread; the engine alone
runs batches of 16; the same with `--noise constant`. They take turns in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.figures import Record, figure, select, shown
from benchmarks.runner import Results, table
from latentserve.service.bundle import read_bundle
from latentserve.service.packing.foreign import PackOptions, pack_foreign
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import Span, draw_noise_of
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler

TITLE = "What noise inputs cost"

_SIDE, _LAYERS, _DIM = 100, 4, 512
_NOISE = _SIDE * _SIDE * _LAYERS
_CHANNELS = {0.25: 19, 1.0: 38, 2.0: 53, 4.0: 75}  # of each layer, by 10^9 operations a row
_ROWS, _ASKERS = 16, 4


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=5)


def measure(given: argparse.Namespace, results: Results) -> None:
    """Every network, in turn with and without its noise drawn."""
    records: list[Record] = []
    results |= {"rounds": given.rounds, "seconds": given.seconds, "records": records}
    with tempfile.TemporaryDirectory(prefix="noise-") as folder:
        for size, channels in _CHANNELS.items():
            for load, rates in _measure_one(Path(folder), channels, given.rounds, given.seconds):
                records.append({"size": size, "load": load, **rates})
            results.save()


def _measure_one(folder: Path, channels: int, rounds: int, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    onnx.save(network(channels), folder / "generator.onnx")
    engines = {}
    for noise in ("random", "constant"):
        described = PackOptions(noise=noise)  # type: ignore[arg-type]
        pack_foreign(folder / "generator.onnx", folder / noise, "noisy", described, reference_samples=64)
        engines[noise] = Engine(read_bundle(folder / noise), "cpu", threads=1, max_batch=_ROWS)
    samplers = {noise: Sampler(engine, max_queue_rows=1024) for noise, engine in engines.items()}
    random = engines["random"]
    inputs = RowsRequest(n=_ROWS).inputs(random.bundle.manifest, 0, _ROWS)
    latent = random.bundle.manifest.latent
    acts: dict[str, Callable[[], float]] = {
        "engine": lambda: _rate(lambda: random.generate(inputs), seconds),
        "drawing": lambda: _rate(lambda: draw_noise_of(latent, [Span(0, 0, _ROWS)]), seconds / 4),
        "requests": lambda: asyncio.run(_ask(samplers["random"], seconds)),
        "requests, noise constant": lambda: asyncio.run(_ask(samplers["constant"], seconds)),
    }
    for sampler in samplers.values():
        sampler.engine.warm_up()
        sampler.start()
    for number in range(rounds):
        for load, act in acts.items():
            yield load, {"round": number, "rows_per_second": act()}
    for sampler in samplers.values():
        sampler.stop()


def _rate(act: Callable[[], object], seconds: float) -> float:
    """Rows a second of something that makes _ROWS of them."""
    made, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        act()
        made += _ROWS
    return made / passed


async def _ask(sampler: Sampler, seconds: float) -> float:
    """Each asker has one request under way, of a seed of its own, until the time is over."""
    made, began = 0, time.perf_counter()

    async def ask(seed: int) -> None:
        nonlocal made
        while time.perf_counter() - began < seconds:
            await sampler.rows(RowsRequest(_ROWS, seed))
            made += _ROWS
            seed += _ASKERS

    await asyncio.gather(*(ask(number) for number in range(_ASKERS)))
    return made / (time.perf_counter() - began)


def network(channels: int) -> onnx.ModelProto:
    """Latents [n, 512], and a map of noise for each of four 3x3 convolutions of so many channels, of 100x100 pixels."""
    rng = np.random.default_rng(0)
    square = np.array([-1, channels, _SIDE // 4, _SIDE // 4])
    weights = {
        "w": rng.normal(size=(_DIM, square[1:].prod())) / np.sqrt(_DIM),
        "colours": rng.normal(size=(3, channels, 1, 1)) / np.sqrt(channels),
    }
    nodes = [
        helper.make_node("MatMul", ["z", "w"], ["h"]),
        helper.make_node("Reshape", ["h", "square"], ["s"]),
        helper.make_node("Resize", ["s", "", "scales"], ["x0"], mode="nearest"),
    ]
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", _DIM])]
    for layer in range(_LAYERS):
        weights[f"k{layer}"] = rng.normal(size=(channels, channels, 3, 3)) / np.sqrt(9 * channels)
        inputs.append(helper.make_tensor_value_info(f"noise{layer}", TensorProto.FLOAT, ["n", 1, _SIDE, _SIDE]))
        nodes += [
            helper.make_node("Conv", [f"x{layer}", f"k{layer}"], [f"c{layer}"], pads=[1] * 4),
            helper.make_node("Add", [f"c{layer}", f"noise{layer}"], [f"n{layer}"]),
            helper.make_node("LeakyRelu", [f"n{layer}"], [f"x{layer + 1}"], alpha=0.2),
        ]
    nodes += [
        helper.make_node("Conv", [f"x{_LAYERS}", "colours"], ["rgb"]),
        helper.make_node("Tanh", ["rgb"], ["sample"]),
    ]
    held = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    held += [numpy_helper.from_array(square, "square"), numpy_helper.from_array(np.float32([1, 1, 4, 4]), "scales")]
    value = helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["n", 3, _SIDE, _SIDE])
    graph = helper.make_graph(nodes, "noisy", inputs, [value], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['rounds']} rounds of {results['seconds']} s; medians with the least and the greatest, ratios within "
        f"a round. {_NOISE:,} numbers of noise a row, batches of {_ROWS}, one engine thread."
    )
    rows = []
    for size in dict.fromkeys(record["size"] for record in records):
        rates = {
            load: {one["round"]: one["rows_per_second"] for one in select(records, size=size, load=load)}
            for load in ("engine", "drawing", "requests", "requests, noise constant")
        }
        engine = rates["engine"]
        asked, constant = (
            figure(rates[load][n] / engine[n] for n in engine) for load in ("requests", "requests, noise constant")
        )
        drawing = figure(1e9 / (rate * _NOISE) for rate in rates["drawing"].values())
        each = (figure(rates[load].values()) for load in ("engine", "requests"))
        rows.append((f"{size:g}", *each, shown(asked, 0.9), shown(constant, 0.9), shown(drawing)))
    head = (
        "10^9 operations a row", "engine, rows/s", "requests, rows/s", "ratio (aim 0.9 from 1 on)",
        "ratio with --noise constant", "drawing, ns a number",
    )  # fmt: skip
    yield from ("", *table(head, rows), "")
    rate = statistics.median(record["rows_per_second"] for record in select(records, load="drawing"))
    yield (
        f"On paper, for a GPU: one core draws the noise of {rate:,.0f} rows a second, and {4 * _NOISE // 1000} kB a "
        f"row are sent to it. A network that makes more than {rate / 9:,.0f} rows a second there is held back by more "
        "than a tenth; then its noise is to be constant, or to be drawn on the device."
    )
