"""Do the generators that people have serve the rows that they themselves give?

    python -m benchmarks families

Small networks of the families that are published, rebuilt, with random weights. Each becomes a bundle by one call of
`export_bundle`, whose arguments are shown; the rows that are served for a seed are compared with what the module itself
gives in torch for the same latents, noise, labels and conditions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.runner import Results, table
from latentserve import open_bundle
from latentserve.service.bundle import read_bundle
from latentserve.service.sampling.request import RowsRequest
from latentserve.training.export import export_bundle
from tests.families import FAMILIES, own_rows

TITLE = "Rows that are served, and the module's own"

BOUND = 1e-4  # of the samples' span: what float32 kernels differ by

_SEED, _ROWS = 5, 32


def measure(given: argparse.Namespace, results: Results) -> None:
    results["records"] = []
    for name in FAMILIES:
        results["records"].append(_case(name))
        results.save()


def report(results: Results) -> list[str]:
    head = ("network", "packed by", "understood as", "largest difference, of the span", "verdict", "s")
    rows = [
        (
            one["network"], f"`{one['call']}`", one["inputs"], f"{one['difference']:.1e}",
            "equal" if one["difference"] <= BOUND else "not equal", f"{one['seconds']:.0f}",
        )
        for one in results["records"]
    ]  # fmt: skip
    return [
        f"{_ROWS} rows of a seed, served by `open_bundle(path).sample`. Equal: all values within {BOUND:g} of the span "
        "of the module's own.",
        "",
        *table(head, rows),
    ]


def _case(name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    family = FAMILIES[name]
    module = family.make()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bundle"
        began = time.monotonic()
        manifest = export_bundle(module, out, name="family", reference_samples=64, **family.told)
        seconds = time.monotonic() - began
        served = open_bundle(out).sample(_ROWS, seed=_SEED)
        own = own_rows(name, module, read_bundle(out), RowsRequest(n=_ROWS, seed=_SEED).inputs(manifest, 0, _ROWS))
    off = np.abs(served - own.numpy()).max() / np.ptp(own.numpy())
    parts = [f"{part.name} {part.shape}{' noise' * part.noise}" for part in manifest.latent.pieces]
    parts += [f"{len(manifest.labels)} labels"] if manifest.labels else []
    parts += [one.name for one in manifest.conditions or ()]
    parts += [] if manifest.onnx.batch is None else [f"{manifest.onnx.batch} row at a time"]
    words = ["module", *(f"{key}={_word(value)}" for key, value in family.told.items())]
    return {
        "network": name,
        "call": f"export_bundle({', '.join(words)})",
        "inputs": ", ".join(parts),
        "difference": float(off),
        "seconds": seconds,
    }


def _word(value: object) -> str:
    return "[energy]" if isinstance(value, list) and not isinstance(value[0], str) else repr(value)
