"""Run where the package `ctgan` is: train it, export what it has learned, and write the rows that its `sample` draws.

    python ctgan_rows.py CTGAN|TVAE made|TABLE.csv.gz FOLDER

Writes FOLDER/bundle and FOLDER/rows.json. Nothing of `ctgan` is done again here: the generators of random numbers that
it draws from are replaced by those of the bundle, and its generator is put into evaluation mode.
"""

import json
import sys
from pathlib import Path
from typing import Any

import ctgan
import numpy as np
import pandas as pd
import torch

from latentserve.service.sampling.latents import draw_latents
from latentserve.training import from_ctgan
from latentserve.training.export import export_bundle

SEED, BATCH, BATCHES = 3, 500, 4


def made() -> tuple[pd.DataFrame, list[str]]:
    """A table with a column of each kind."""
    numbers, rows = np.random.default_rng(0), 2000
    table = pd.DataFrame(
        {
            "school": numbers.choice(np.array(["none", "some", None], object), rows),
            "age": np.where(numbers.random(rows) < 0.5, numbers.normal(25, 3, rows), numbers.normal(60, 8, rows)),
            "income": numbers.lognormal(8, 1, rows),
            "rich": numbers.random(rows) < 0.3,
            "rooms": numbers.integers(1, 4, rows),
            "grade": numbers.choice([1.5, 2.5], rows),
            "weight": numbers.normal(70, 9, rows).astype(np.float32),
        }
    )
    table["age"] = table["age"].round().astype("int64")
    return table, ["school", "rich", "rooms", "grade"]


def read(path: str) -> tuple[pd.DataFrame, list[str]]:
    table = pd.read_csv(path).head(6000)
    return table, [name for name in table.columns if table[name].dtype == object]


def draw(model: Any, kind: str, z: np.ndarray, embedding: int) -> pd.DataFrame:
    """The rows that `sample` draws where its chance is z [BATCH * BATCHES, dim]."""
    blocks = iter(np.split(z, BATCHES))
    block: list[np.ndarray] = []

    def normal(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        block[:] = [next(blocks)]
        return torch.from_numpy(block[0][:, :embedding])

    torch.normal = normal
    if kind == "TVAE":
        spread = iter(z[:, embedding:].T)
        np.random.normal = lambda mean, std: mean + std * next(spread)[: len(mean)]
        return model.sample(len(z) - 1)
    sampler = model._data_sampler
    shares = sampler._discrete_column_category_prob.flatten()
    upto = np.cumsum(shares[shares != 0] / shares.sum())

    def condition(batch: int) -> np.ndarray:
        place = np.searchsorted(upto, block[0][:, embedding], side="right")
        return np.eye(sampler.dim_cond_vec(), dtype="float32")[place]

    at = [0]
    spans = [span for column in model._transformer.output_info_list for span in column]
    entries = sum(span.dim for span in spans if span.activation_fn == "softmax")

    def gumbel_softmax(logits: torch.Tensor, tau: float, **_: Any) -> torch.Tensor:
        start = at[0] % entries
        at[0] += logits.shape[1]
        uniform = block[0][:, -entries:][:, start : start + logits.shape[1]].astype(float)
        return ((logits.double() + torch.from_numpy(-np.log(-np.log(uniform)))) / tau).softmax(dim=1).float()

    sampler.sample_original_condvec = condition
    model._gumbel_softmax = gumbel_softmax
    model._generator.eval()
    return model.sample(len(z) - 1)


def main(kind: str, source: str, out: Path) -> None:
    table, discrete = made() if source == "made" else read(source)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = getattr(ctgan, kind)(epochs=20 if source == "made" else 2, batch_size=BATCH, enable_gpu=False)
    model.fit(table, discrete)
    manifest = export_bundle(from_ctgan(model), out / "bundle", name=kind.lower(), reference_samples=2000)
    z = draw_latents(manifest.latent, SEED, 0, BATCH * BATCHES)
    rows = draw(model, kind, z, manifest.latent.width)
    plain = rows.astype(object).where(rows.notna(), None)
    told = {"seed": SEED, "columns": list(plain.columns), "rows": plain.to_numpy().tolist()}
    (out / "rows.json").write_text(json.dumps(told))


main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
