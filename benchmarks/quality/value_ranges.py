"""Are the ranges and layouts of generators that nobody describes judged rightly, and is it said where they are not?

    python -m benchmarks value-ranges

Untrained generators that end as those of many kinds do: with a tanh or sigmoid, or without, in usual ranges and others,
dark, bright, of low contrast and nearly constant, with channels first and last, flat, in integers and half precision,
with labels of which one alone leaves the range; and sound. Each is packed with nothing told but its name (and kind,
where a shape alone cannot tell it), and what the bundle says is set beside what the generator was built for.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from benchmarks.quality.endings import Step, ending, mixed, number, scaled
from benchmarks.runner import Results, table
from latentserve.service.bundle import SampleSpec
from latentserve.service.packing.foreign import PackOptions, pack_foreign

TITLE = "Ranges and layouts that nobody tells"

_REFERENCE = 64  # samples: nothing is judged by them here
_NEAR = 0.15  # of the true span, by which either end of a range may be off where tails make it
_RGB, _GREY = [3, 16, 16], [1, 16, 16]
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class Case:
    """A generator, and what it was built for; no range: only what the samples' own values are."""

    name: str
    model: onnx.ModelProto
    shape: list[int]
    value_range: tuple[float, float] | None
    kind: str = "image"
    told: dict[str, Any] = field(default_factory=dict)


def measure(given: argparse.Namespace, results: Results) -> None:
    """Pack each."""
    results["trials"] = []
    with tempfile.TemporaryDirectory(prefix="value-ranges-") as scratch:
        for case in cases():
            results["trials"].append(judged(case, Path(scratch)))


def report(results: Results) -> list[str]:
    """How many were right, and each."""
    trials = results["trials"]
    count = {verdict: sum(one["verdict"] == verdict for one in trials) for verdict in ("right", "said", "silent")}
    doubted = sum(one["verdict"] == "right" and bool(one["remarks"]) for one in trials)
    rows = [
        [one["name"], _range(one["true"]), _range(one["found"]), one["shape"], one["verdict"], len(one["remarks"])]
        for one in sorted(trials, key=lambda one: ("silent", "said", "right").index(one["verdict"]))
    ]
    return [
        f"{len(trials)} generators. Judged rightly: {count['right']}, of which {doubted} with a word of doubt or of "
        f"what was understood; otherwise and said so: {count['said']}; wrongly without a word: {count['silent']} "
        "(aim: 0).",
        "",
        *table(["generator", "built for", "judged", "shape", "verdict", "remarks"], rows),
    ]


def judged(case: Case, scratch: Path) -> dict[str, Any]:
    """What the bundle of a generator says, beside what is true."""
    file, out = scratch / "generator.onnx", scratch / "bundle"
    onnx.save(case.model, file)
    sample = pack_foreign(file, out, "case", PackOptions(**case.told), reference_samples=_REFERENCE).sample
    card = (out / "MODEL_CARD.md").read_text()
    remarks = [line[2:] for line in card.partition("## What was guessed")[2].splitlines() if line.startswith("- ")]
    right = sample.kind == case.kind and sample.shape == case.shape and _agrees(case, sample)
    return {
        "name": case.name,
        "true": case.value_range,
        "found": sample.value_range,
        "shape": sample.shape,
        "verdict": "right" if right else "said" if remarks else "silent",
        "remarks": remarks,
    }


def _agrees(case: Case, sample: SampleSpec) -> bool:
    if case.value_range is None or sample.value_range is None:
        return case.value_range == sample.value_range
    span = case.value_range[1] - case.value_range[0]
    return bool(np.allclose(case.value_range, sample.value_range, rtol=0, atol=_NEAR * span))


def _range(value_range: tuple[float, float] | None) -> str:
    return "none" if value_range is None else f"[{value_range[0]:.3g}, {value_range[1]:.3g}]"


def cases() -> list[Case]:
    """All of them."""
    return [*_bounded(), *_without_an_end(), *_labelled(), *_layouts(), *_types(), *_sounds()]


def _bounded() -> list[Case]:
    """Whose last operators bound them."""
    one, unit = (-1.0, 1.0), (0.0, 1.0)
    tanh = {"gain 0.5": (0.5, 0), "gain 1": (1, 0), "gain 3": (3, 0), "dark": (2, -3), "very dark": (1.5, -4)}
    tanh |= {"bright": (2, 3), "of low contrast": (0.15, 0.1), "nearly constant": (0.02, 0)}
    sigmoid = {"gain 1": (1, 0), "gain 4": (4, 0), "dark": (2, -4), "an early VAE": (0.1, -1), "constant": (0.001, 0)}
    found = [Case(f"tanh, {k}", ending(_RGB, "Tanh", gain=g, offset=o), _RGB, one) for k, (g, o) in tanh.items()]
    found += [
        Case(f"sigmoid, {k}", ending(_GREY, "Sigmoid", gain=g, offset=o), _GREY, unit) for k, (g, o) in sigmoid.items()
    ]
    tails: dict[str, tuple[list[Step], tuple[float, float]]] = {
        "tanh to [0, 1]": (["Tanh", *scaled(0.5, 0.5)], unit),
        "tanh to [0, 255]": (["Tanh", *scaled(127.5, 127.5)], (0, 255)),
        "tanh to [-0.5, 0.5]": (["Tanh", *scaled(0.5)], (-0.5, 0.5)),
        "sigmoid to [0, 255]": (["Sigmoid", *scaled(255)], (0, 255)),
        "sigmoid to [-1, 1]": (["Sigmoid", *scaled(2, -1)], one),
        "sigmoid to [-0.5, 0.5]": (["Sigmoid", *scaled(1, -0.5)], (-0.5, 0.5)),
        "clipped to [-1, 1]": ([("Clip", {"low": number(-1), "high": number(1)})], one),
        "clipped to [0, 1]": ([("Clip", {"low": number(0), "high": number(1)})], unit),
        "tanh to [-5, 5]": (["Tanh", *scaled(5)], (-5, 5)),
        "softsign": (["Softsign"], one),
    }
    found += [Case(name, ending(_RGB, *steps, gain=3), _RGB, meant) for name, (steps, meant) in tails.items()]
    normalised: list[Step] = ["Sigmoid", *_imagenet()]
    return [*found, Case("normalised like ImageNet", ending(_RGB, *normalised, gain=3), _RGB, (-2.118, 2.64))]


def _without_an_end() -> list[Case]:
    """That nothing bounds: a last convolution, or nothing at all."""
    size = 3 * 16 * 16
    one, unit, byte = (-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)
    tanh: list[Step] = ["Tanh", mixed(size)]
    sigmoid: list[Step] = ["Sigmoid", mixed(size)]
    built: dict[str, tuple[list[Step], float, float, tuple[float, float] | None]] = {
        "[-1, 1] with tails": (tanh, 3, 0, one),
        "[-1, 1] with long tails": (["Tanh", mixed(size, 0.25)], 3, 0, one),
        "[-1, 1], dark": (tanh, 2, -3, one),
        "[-1, 1], normal": ([], 0.48, 0, one),
        "[-1, 1], normal, narrow": ([], 0.3, 0, one),
        "[-1, 1] of low contrast": ([], 0.1, 0.2, one),
        "[0, 1] with tails": (sigmoid, 3, 0, unit),
        "[0, 1], dark": (sigmoid, 2, -3, unit),
        "[0, 1], normal": ([], 0.17, 0.5, unit),
        "[0, 1], nearly constant": ([], 0.01, 0.5, unit),
        "[0, 255] with tails": ([*sigmoid, *scaled(255)], 3, 0, byte),
        "[0, 255], normal": ([], 45, 128, byte),
        "[0, 255], dark": ([], 8, 25, byte),
        "[-0.5, 0.5] with tails": ([*tanh, *scaled(0.5)], 3, 0, (-0.5, 0.5)),
        "normalised like ImageNet, with tails": (["Sigmoid", *_imagenet(), mixed(size, 0.03)], 3, 0, (-2.118, 2.64)),
        "standard normal": ([], 1, 0, (-3.5, 3.5)),
        "logarithms of energies": ([], 2, -5, (-13, 3)),
        "decibels": ([], 12, -40, (-90, 10)),
        "nearly constant about 0": ([], 0.004, 0, one),
    }
    return [
        Case(f"no last tanh: {name}", ending(_RGB, *steps, gain=gain, offset=offset), _RGB, meant)
        for name, (steps, gain, offset, meant) in built.items()
    ]


def _labelled() -> list[Case]:
    """Of which some labels only fill the range."""
    added = np.linspace(-0.1, 0.1, 200)
    added[137], added[138] = 6, -6
    narrow = np.linspace(-0.85, -0.75, 10)
    narrow[7] = 0.8
    return [
        Case("tanh, two of 200 labels fill it", ending(_RGB, "Tanh", gain=0.3, labels=added), _RGB, (-1, 1)),
        Case("no last tanh, one of 10 labels fills it", ending(_RGB, gain=0.1, labels=narrow), _RGB, (-1, 1)),
    ]


def _layouts() -> list[Case]:
    """Channels last, or none, or nothing but numbers."""
    one = (-1.0, 1.0)
    picture = {"told": {"kind": "image"}}
    return [
        Case("[16, 16, 3]", ending([16, 16, 3], "Tanh", gain=2), _RGB, one),
        Case("[28, 28, 1]", ending([28, 28, 1], "Tanh", gain=2), [1, 28, 28], one),
        Case("[16, 16, 4]", ending([16, 16, 4], "Tanh", gain=2), [4, 16, 16], one),
        Case("[4, 4, 3]", ending([4, 4, 3], "Tanh", gain=3), [3, 4, 4], one),
        Case("[4, 16, 16]", ending([4, 16, 16], "Tanh", gain=2), [4, 16, 16], one),
        Case("[28, 28]", ending([28, 28], "Sigmoid", gain=4), [1, 28, 28], (0, 1)),
        Case("[784], told to be pictures", ending([784], "Sigmoid", gain=4), [1, 28, 28], (0, 1), **picture),
        Case("[3072], told to be pictures", ending([3072], "Tanh", gain=2), [3, 32, 32], one, **picture),
        Case("[784]", ending([784], "Sigmoid", gain=4), [1, 28, 28], (0, 1)),
        Case("[24, 40], told to be pictures", ending([24, 40], "Tanh", gain=2), [1, 24, 40], one, **picture),
        Case("[12, 40], no pictures", ending([12, 40]), [12, 40], None, "array"),
        Case("no shape in the graph", ending([16, 16, 3], "Tanh", gain=2, known=False), _RGB, one),
    ]


def _types() -> list[Case]:
    """Integers, and floating-point numbers of other sizes."""
    byte = (0.0, 255.0)
    to_byte: list[Step] = ["Sigmoid", *scaled(255)]
    types = {"uint8": TensorProto.UINT8, "int16": TensorProto.INT16, "int64": TensorProto.INT64}
    found = [Case(name, ending(_RGB, *to_byte, gain=3, dtype=kind), _RGB, byte) for name, kind in types.items()]
    halves = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE, "bfloat16": TensorProto.BFLOAT16}
    found += [Case(k, ending(_RGB, "Tanh", gain=2, dtype=kind), _RGB, (-1, 1)) for k, kind in halves.items()]
    return [
        *found,
        Case("uint8 [16, 16, 3]", ending([16, 16, 3], *to_byte, gain=3, dtype=TensorProto.UINT8), _RGB, byte),
        Case("uint8 of 0 and 1", ending(_RGB, "Sigmoid", ("Round", {}), dtype=TensorProto.UINT8), _RGB, (0, 1)),
        Case("bool", ending(_GREY, "Relu", gain=2, dtype=TensorProto.BOOL), _GREY, (0, 1)),
    ]


def _sounds() -> list[Case]:
    """Whose full scale is [-1, 1], said by no range at all."""
    told = {"kind": "audio"}
    loud: list[Step] = ["Tanh", *scaled(30_000)]
    return [
        Case("sound [2048, 1]", ending([2048, 1], "Tanh"), [1, 2048], None, "audio", told),
        Case("sound [2, 2048]", ending([2, 2048], "Tanh"), [2, 2048], None, "audio", told),
        Case("sound [2048]", ending([2048], "Tanh"), [2048], None, "audio", told),
        Case("sound in int16", ending([2048, 1], *loud, dtype=TensorProto.INT16), [1, 2048], None, "audio", told),
        Case("sound as int16, in float32", ending([1, 2048], *loud), [1, 2048], (-32768, 32768), "audio", told),
    ]


def _imagenet() -> list[Step]:
    """Normalised as torchvision's weights want it, channel by channel."""
    mean, std = (np.repeat(np.array(one, np.float32), 16 * 16) for one in (_MEAN, _STD))
    return [("Sub", {"b": mean}), ("Div", {"b": std})]
