"""What is looked at: samples, interpolations and curves as pictures that travel inside a page."""

import base64
import io
import math
import wave
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import Column, Latent, SampleSpec
from latentserve.service.encoding import tables
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.training.data import Dataset
from latentserve.training.evaluation.views import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 48  # pixels of an image's height in a page
STEPS = 10  # of an interpolation


class Shown(NamedTuple):
    """Something for the template to show: a picture or a recording as a data URI, a row as its columns and values, or
    numbers as a text."""

    kind: Literal["pixels", "plot", "audio", "row", "numbers"]
    content: Any
    width: int | None = None  # of pixels


def sheet(images: Samples, columns: int) -> Shown:
    """Images [n, C, H, W] in [-1, 1] as one picture, so many in a row."""
    picture = np.moveaxis(contact_sheet(to_uint8(images, (-1, 1)), columns), 0, -1)
    shown = Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    scale = max(1, -(-LEAST // images.shape[2]))
    return Shown("pixels", _data_uri(buffer, "image/png"), shown.width * scale)


def figure(draw: Sequence[Any], columns: int = 3) -> Shown:
    """Plots, each a callable that draws on axes, side by side."""
    from matplotlib.figure import Figure  # slow to import, and not needed for images

    rows = math.ceil(len(draw) / columns)
    plot = Figure(figsize=(4 * min(columns, len(draw)), 2.6 * rows), layout="constrained")
    axes = plot.subplots(rows, min(columns, len(draw)), squeeze=False).ravel()
    for axis, each in zip(axes, draw, strict=False):
        each(axis)
    for axis in axes[len(draw) :]:
        axis.set_axis_off()
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=80)
    return Shown("plot", _data_uri(buffer, "image/png"))


def each_shown(samples: Samples, data: Dataset) -> list[Shown]:
    """Samples [n, *shape] one by one: an image, a recording to listen to, a row, or numbers."""
    if data.kind == "image":
        return [sheet(sample[None], 1) for sample in samples]
    if data.kind == "audio":
        return [_audio(sample, data.sample_rate or 1) for sample in samples]
    if data.kind == "table" and data.columns is not None:
        names = [column.name for column in data.columns]
        rows = tables.rows(samples, SampleSpec(kind="table", shape=[len(names)], columns=data.columns))
        return [Shown("row", list(zip(names, map(_told, values), strict=True))) for values in rows]
    return [Shown("numbers", _numbers(sample)) for sample in samples]


def interpolations(latent: Latent, rows: int, seed_latents: Samples) -> Samples:
    """Latents [rows * STEPS, dim] on ways between pairs of latents [2 rows, dim], a way for each part: for a normal
    prior on circles, whose points all have a length that it makes (White 2016, Sampling Generative Networks), else
    straight lines. Noise stays what it is at the beginning."""
    ends = np.cumsum([part.width for part in latent.pieces])[:-1]
    ways = []
    for part, columns in zip(latent.pieces, np.split(seed_latents.astype(np.float64), ends, axis=1), strict=True):
        start, end = columns[:rows, None], columns[rows : 2 * rows, None]
        if part.noise:
            ways.append(np.repeat(start, STEPS, axis=1))
        elif part.prior == "uniform":
            ways.append(_line(start, end))
        else:
            ways.append(part.shift + _circle(start - part.shift, end - part.shift))
    return np.concatenate(ways, axis=2).reshape(rows * STEPS, -1).astype(np.float32)


_AT = np.linspace(0, 1, STEPS)[None, :, None]


def _line(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 - _AT) * start + _AT * end


def _circle(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = [np.linalg.norm(each, axis=2, keepdims=True) for each in (start, end)]
    angle = np.arccos(((start * end).sum(axis=2, keepdims=True) / (lengths[0] * lengths[1])).clip(-1, 1))
    # Where both point the same way there is no circle, and a line does.
    safe = np.where(np.sin(angle) > 1e-6, angle, 1.0)
    circle = (np.sin((1 - _AT) * safe) * start + np.sin(_AT * safe) * end) / np.sin(safe)
    return np.where(np.sin(angle) > 1e-6, circle, _line(start, end))


def points(samples: Samples, title: str) -> Any:
    """A plot of samples by their first two numbers."""
    flat = samples.reshape(len(samples), -1)

    def draw(axis: "Axes") -> None:
        axis.scatter(flat[:, 0], flat[:, 1] if flat.shape[1] > 1 else np.zeros(len(flat)), s=2, linewidths=0)
        axis.set_title(title)

    return draw


def histogram(real: NDArray[Any], fake: NDArray[Any], column: Column) -> Any:
    """A plot of one column, real beside generated."""

    def draw(axis: "Axes") -> None:
        if column.categories is not None:
            count = len(column.categories)
            shares = [
                np.bincount(np.rint(each).astype(int).clip(0, count - 1), minlength=count) for each in (real, fake)
            ]
            most = np.argsort(-shares[0], kind="stable")[:12]
            for at, (each, name) in enumerate(zip(shares, ("real", "generated"), strict=True)):
                axis.bar(np.arange(len(most)) + 0.4 * at, each[most] / each.sum(), 0.4, label=name)
            axis.set_xticks(np.arange(len(most)) + 0.2, [str(column.categories[k])[:10] for k in most], rotation=60)
        else:
            kept = [each if column.missing is None else each[each != column.missing] for each in (real, fake)]
            edges = np.histogram_bin_edges(np.concatenate(kept), 30).tolist()
            for each, name in zip(kept, ("real", "generated"), strict=True):
                axis.hist(each, edges, alpha=0.5, density=True, label=name)
        axis.set_title(column.name)
        axis.legend()

    return draw


def waveform(samples: Samples, title: str) -> Any:
    """A plot of a few recordings [n, C, L], one above the other."""

    def draw(axis: "Axes") -> None:
        for at, sample in enumerate(samples[:6]):
            axis.plot(sample[0] / 2 - at, linewidth=0.5)
        axis.set_title(title)

    return draw


def _data_uri(buffer: io.BytesIO, media_type: str) -> str:
    """A file inside a page."""
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _audio(sample: NDArray[np.float32], rate: int) -> Shown:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sample.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sample.T.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return Shown("audio", _data_uri(buffer, "audio/wav"))


def _told(value: Any) -> str:
    return "missing" if value is None else str(value)


def _numbers(sample: NDArray[np.float32]) -> str:
    flat = sample.ravel()
    return ", ".join(f"{value:.3g}" for value in flat[:12]) + (", ..." if flat.size > 12 else "")
