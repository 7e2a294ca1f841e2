"""Samples on a terminal: pictures as pictures, tables as tables, a sound as a line of its waveform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import tables
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.service.terminal import graphics
from latentserve.service.terminal.graphics import Graphics, Pixels

MOST = 1_000  # samples that are shown at a time

_CELL = 8, 16  # pixels of a character, about: what a terminal's own graphics are sized by
_LEAST_SIDE = 48  # pixels of a small picture's longer side, where pixels are small
_LINES = 40  # of a table
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-~=+*#"
_NUMBERS = 12  # of an array's row, that are written out

Samples = NDArray[np.float32]


def draw(
    console: Console, samples: Samples, spec: SampleSpec, how: Graphics, labels: Sequence[str] | None = None
) -> None:
    """Show samples float32 [n, *spec.shape], each with its label where there are any."""
    if spec.kind == "image":
        _pictures(console, to_uint8(samples, spec.value_range or (-1.0, 1.0)), how)
        _captions(console, labels)
    elif spec.kind == "table":
        console.print(_table(samples, spec, console.options.ascii_only))
    elif spec.kind == "audio":
        for place, sound in enumerate(samples):
            name = f"{place} {labels[place]} " if labels else f"{place} "
            console.print(_waveform(sound, name, spec.sample_rate or 1, console))
    elif _is_map(spec.shape):
        _pictures(console, _grey(samples.reshape(-1, 1, *spec.shape[-2:])), how)
        _captions(console, labels)
    else:
        for place, row in enumerate(samples.reshape(len(samples), -1)):
            console.print(_numbers(place, row, console))


def _pictures(console: Console, images: NDArray[np.uint8], how: Graphics) -> None:
    """uint8 [n, C, H, W] as sheets no wider than the terminal."""
    n, _, height, width = images.shape
    room = console.width - 1
    if how in ("blocks", "shades"):
        columns = max(1, min(n, (room + 2) // (width + 2)))
        sheet = _rgb(contact_sheet(images, columns))
        sheet = _shrunk(sheet, room)
        shown: RenderableType = graphics.Blocks(sheet)
        if how == "shades":
            shown = graphics.shades(sheet, console.options.ascii_only)
        console.print(shown, soft_wrap=True)
        return
    factor = max(1, _LEAST_SIDE // max(height, width))
    images = images.repeat(factor, axis=2).repeat(factor, axis=3)
    columns = max(1, min(n, (room * _CELL[0] + 2) // (width * factor + 2)))
    sheet = _shrunk(_rgb(contact_sheet(images, columns)), room * _CELL[0])
    written = {"kitty": graphics.kitty, "iterm2": graphics.iterm2, "sixel": graphics.sixel}[how](sheet)
    console.file.write(written)
    console.file.flush()


def _rgb(picture: NDArray[np.uint8]) -> Pixels:
    """uint8 [C, H, W] of one, three or four channels as [H, W, 3]; what is clear is black."""
    if len(picture) == 4:
        picture = (picture[:3] * (picture[3:] / np.float32(255))).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(picture if len(picture) == 3 else picture.repeat(3, axis=0), 0, -1))


def _shrunk(picture: Pixels, width: int) -> Pixels:
    if picture.shape[1] <= width:
        return picture
    size = width, max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def _captions(console: Console, labels: Sequence[str] | None) -> None:
    if labels:
        console.print(Text(", ".join(labels), style="dim"))


def _table(samples: Samples, spec: SampleSpec, ascii_only: bool) -> Table:
    missing = "-" if ascii_only else "–"
    shown = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    for column in spec.columns or ():
        numeric = column.categories is None
        shown.add_column(Text(column.name), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis")
    for row in tables.rows(samples[:_LINES], spec):
        shown.add_row(*(Text(missing if value is None else _text(value)) for value in row))
    if len(samples) > _LINES:
        shown.caption = f"and {len(samples) - _LINES:,} more"
    return shown


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _waveform(sound: Samples, name: str, rate: int, console: Console) -> Text:
    """float32 [C, frames]: how far it goes from silence, in as many parts as there is room for; full scale is full."""
    seconds = f" {sound.shape[-1] / rate:.3g} s"
    return _line(name, np.abs(sound).max(axis=0), (0.0, 1.0), seconds, console)


def _numbers(place: int, row: Samples, console: Console) -> Text:
    """A few numbers as such, many as a line of their values from the least to the greatest."""
    if len(row) <= _NUMBERS:
        return Text(f"{place} {' '.join(f'{value:.4g}' for value in row)}")
    low, high = float(np.min(row)), float(np.max(row))
    return _line(f"{place} ", row, (low, high), f" {low:.3g} to {high:.3g}", console, greatest=False)


def _line(
    name: str, values: Samples, span: tuple[float, float], end: str, console: Console, greatest: bool = True
) -> Text:
    levels = _ASCII_LEVELS if console.options.ascii_only else _LEVELS
    room = max(8, console.width - 1 - len(name) - len(end))
    parts = np.array_split(values, min(room, len(values)))
    heights = np.array([part.max() if greatest else part.mean() for part in parts])
    scaled = (np.nan_to_num(heights) - span[0]) / (span[1] - span[0] or 1.0)
    places = np.rint(scaled.clip(0, 1) * (len(levels) - 1)).astype(int)
    line = Text(no_wrap=True, overflow="crop")
    return line.append(name, style="bold").append("".join(levels[at] for at in places)).append(end, style="dim")


def _is_map(shape: Sequence[int]) -> bool:
    """Whether an array is seen as a picture: of two axes, neither of which is a few numbers."""
    return len(shape) >= 2 and min(shape[-2:]) >= 4 and math.prod(shape[:-2]) == 1


def _grey(maps: Samples) -> NDArray[np.uint8]:
    """From the least value to the greatest."""
    low, high = float(np.nanmin(maps)), float(np.nanmax(maps))
    return to_uint8(maps, (low, high if high > low else low + 1))
