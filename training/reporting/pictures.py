"""Pictures of a run: grids of samples, curves of audio and series, columns of tables, and the losses over images."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import Column
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.training.data import Dataset
from latentserve.training.files import named_if_not_written

CELL = 56  # least height of one image in a grid, in pixels
WIDTH = 128  # pixels of a picture
CURVE = 48  # pixels of the curve's height
WINDOW = 128  # frames that a column of the spectrogram is made of; half as many pixels high
DEPTH = 6.0  # decades of power below the strongest that are still lit
REALS = 2_500  # rows of the data, at the most
COLUMNS = 30  # at the most; the first ones
ACROSS = 5
BARS = 15  # categories at the most, the commonest in the data
TEXT = 12  # characters of one


def save_samples(samples: NDArray[np.float32], path: Path, columns: int | None = None) -> None:
    """Write a picture of samples: images [N, C, H, W] as a grid, audio and series [N, C, T] as a grid of their curves,
    others [N, ...] as points, by two numbers of each. A grid is as square as may be, or of so many columns."""
    if samples.ndim in (3, 4):
        save_grid(samples if samples.ndim == 4 else curves(samples), path, columns)
        return
    from matplotlib.figure import Figure  # slow to import, and not needed for images

    numbers = samples.reshape(len(samples), -1)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axis = figure.subplots()
    axis.scatter(numbers[:, 0], numbers[:, 1] if numbers.shape[1] > 1 else np.zeros(len(numbers)), s=2, linewidths=0)
    _save(figure, path)


def save_grid(images: NDArray[np.float32], path: Path, columns: int | None = None) -> None:
    """Write images [N, C, H, W] in [-1, 1] (C is 1, 3 or 4) as one PNG, square or of so many columns, enlarged to be
    looked at."""
    sheet = np.moveaxis(contact_sheet(to_uint8(images, (-1, 1)), columns), 0, -1)
    picture = Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet)
    scale = -(-CELL // images.shape[2])
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    with named_if_not_written(path):
        picture.save(path)


def save_losses(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses and the critic's scores of `stats.jsonl` over images as one PNG."""
    from matplotlib.figure import Figure  # slow to import, and not needed before the first snapshot

    figure = Figure(figsize=(8, 6))
    losses, scores = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.09, top=0.96)  # a layout found by itself takes twice as long
    images = [line["images"] for line in lines]
    for axis, names in ((losses, ("critic_loss", "generator_loss")), (scores, ("real_score", "fake_score"))):
        for name in names:
            axis.plot(images, [line.get(name, math.nan) for line in lines], label=name.replace("_", " "))
        axis.legend()
        axis.grid(alpha=0.3)
    losses.set_ylabel("loss")
    scores.set_ylabel("critic's score")
    scores.set_xlabel("images seen")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with named_if_not_written(path):
        figure.savefig(path)


def save_columns(rows: NDArray[np.float32], labels: NDArray[np.int64], dataset: Dataset, path: Path) -> None:
    """Draw the columns of generated rows float32 [N, columns] beside the data set's own.

    Of the labels int64 [N] there may be as many of each as one likes: each counts as often as it is in the data.
    """
    from matplotlib.figure import Figure  # slow to import, and not needed before the first snapshot

    columns = (dataset.columns or [])[:COLUMNS]
    reals = dataset.take(slice(0, REALS))
    real_counts = np.bincount(dataset.labels, minlength=labels.max() + 1)  # of some labels there may be no row
    weights = real_counts[labels] / np.bincount(labels)[labels]
    down = -(-len(columns) // ACROSS)
    figure = Figure(figsize=(3 * ACROSS, 2.4 * down), layout="constrained")
    for at, (column, axis) in enumerate(zip(columns, figure.subplots(down, ACROSS, squeeze=False).flat, strict=False)):
        draw = _numbers if column.categories is None else _categories
        draw(axis, column, reals[:, at], np.ones(len(reals)), rows[:, at], weights)
        axis.set_title(column.name, fontsize=9)
        axis.tick_params(labelsize=6)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    _save(figure, path)


def _categories(axis: Any, column: Column, real: Any, real_weights: Any, fake: Any, fake_weights: Any) -> None:
    """Shares of the commonest categories, as bars."""
    names = column.categories or []
    shares = [
        np.bincount(values.astype(np.int64), weights, len(names)) / weights.sum()
        for values, weights in ((real, real_weights), (fake, fake_weights))
    ]
    common = np.argsort(-shares[0], kind="stable")[:BARS]
    for share, aside, name in zip(shares, (-0.2, 0.2), ("data", "generated"), strict=True):
        axis.bar(np.arange(len(common)) + aside, share[common], width=0.4, label=name)
    axis.set_xticks(range(len(common)), [str(names[place])[:TEXT] for place in common], rotation=90)


def _numbers(axis: Any, column: Column, real: Any, real_weights: Any, fake: Any, fake_weights: Any) -> None:
    """The share of rows up to each number: one at the end, but for those whose number is missing."""
    for values, weights, name in ((real, real_weights, "data"), (fake, fake_weights, "generated")):
        order = np.argsort(values, kind="stable")
        order = order[values[order] != np.float32(column.missing)] if column.missing is not None else order
        axis.step(values[order], weights[order].cumsum() / weights.sum(), where="post", label=name)
    axis.set_ylim(0, 1.02)


Images = NDArray[np.float32]


def curves(samples: NDArray[np.float32]) -> Images:
    """Pictures float32 [N, 1, H, WIDTH] in [-1, 1] of samples float32 [N, C, T], all to one scale."""
    channel = samples[:, 0]
    drawn = _curve(channel)
    if channel.shape[1] > WINDOW:
        drawn = np.concatenate([drawn, _spectrogram(channel)], axis=1)
    return drawn[:, None]


def _curve(values: NDArray[np.float32]) -> Images:
    """[N, CURVE, WIDTH]: each column is lit from the least to the largest value of its frames."""
    edges = np.arange(WIDTH + 1) * (values.shape[1] - 1) / WIDTH
    columns = [values[:, int(start) : int(np.ceil(end)) + 1] for start, end in pairwise(edges)]
    lowest, highest = (np.stack([bound(column, axis=1) for column in columns], axis=1) for bound in (np.min, np.max))
    top = np.abs(values).max(initial=np.finfo(np.float32).tiny)
    heights = np.linspace(top, -top, CURVE)[None, :, None]
    half = top / CURVE
    lit = (heights >= lowest[:, None] - half) & (heights <= highest[:, None] + half)
    return np.where(lit, np.float32(1), np.float32(-1))


def _spectrogram(values: NDArray[np.float32]) -> Images:
    """[N, WINDOW / 2, WIDTH]: log power, high frequencies above."""
    starts = np.linspace(0, values.shape[1] - WINDOW, WIDTH).astype(int)
    windows = np.stack([values[:, start : start + WINDOW] for start in starts], axis=1) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)[:, :, 1:]) ** 2
    decades = np.log10(np.maximum(power / (power.max() or 1), 10**-DEPTH))
    return (2 * decades / DEPTH + 1).transpose(0, 2, 1)[:, ::-1].astype(np.float32)
