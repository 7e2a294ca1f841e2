"""A picture on a terminal: as the terminal's own graphics, as half blocks, or as shades."""

from __future__ import annotations

import base64
import io
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

Graphics = Literal["kitty", "iterm2", "sixel", "blocks", "shades"]
GRAPHICS: Final = get_args(Graphics)
Pixels = NDArray[np.uint8]
"""[H, W, 3]."""

_CHUNK = 4096  # bytes of base64 in one command of kitty's, the most that there may be
_COLOURS = 256  # that sixel terminals have, if they have not more
_SHADES = " ░▒▓█"
_ASCII_SHADES = " .:-=+*#%@"


def kitty(picture: Pixels) -> str:
    """By the terminal graphics protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol/): a PNG file in base64, in
    chunks, and no answer is wanted."""
    content = base64.standard_b64encode(_png(picture)).decode()
    chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    commands = [f"m={int(place < len(chunks) - 1)}" for place in range(len(chunks))]
    commands[0] = f"a=T,f=100,q=2,{commands[0]}"
    return "".join(f"\x1b_G{command};{chunk}\x1b\\" for command, chunk in zip(commands, chunks, strict=True)) + "\n"


def iterm2(picture: Pixels) -> str:
    """By iTerm2's (https://iterm2.com/documentation-images.html), which WezTerm has, too: a PNG file in base64."""
    content = _png(picture)
    height, width = picture.shape[:2]
    told = f"inline=1;size={len(content)};width={width}px;height={height}px;preserveAspectRatio=1"
    return f"\x1b]1337;File={told}:{base64.standard_b64encode(content).decode()}\x07\n"


def sixel(picture: Pixels) -> str:
    """As DEC's VT340 has it (VT330/VT340 Programmer Reference Manual, volume 2, chapter 14): a palette, then bands of
    six lines, one colour of a band after the other."""
    height, width = picture.shape[:2]
    few = Image.fromarray(picture).quantize(_COLOURS, dither=Image.Dither.NONE)
    places = np.asarray(few)
    palette = np.asarray(few.getpalette()).reshape(-1, 3)
    used = np.unique(places)
    written = [f'\x1bP0;1q"1;1;{width};{height}']
    for place in used:
        red, green, blue = (round(int(part) * 100 / 255) for part in palette[place])
        written.append(f"#{place};2;{red};{green};{blue}")
    for top in range(0, height, 6):
        band = places[top : top + 6]
        weights = (1 << np.arange(len(band)))[:, None]
        for place in np.unique(band):
            values = ((band == place) * weights).sum(axis=0)
            written.append(f"#{place}{_runs(values)}$")
        written.append("-")
    return "".join(written) + "\x1b\\\n"


def _runs(values: NDArray[np.int64]) -> str:
    """Columns of six pixels each, those that repeat as their number."""
    ends = np.flatnonzero(np.diff(values, append=-1)) + 1
    lengths = np.diff(ends, prepend=0)
    signs = [chr(63 + int(value)) for value in values[ends - 1]]
    runs = zip(signs, lengths, strict=True)
    return "".join(f"!{length}{sign}" if length > 3 else sign * length for sign, length in runs)


class Blocks:
    """Two lines of pixels in a line of text, in as many colours as rich knows that the terminal has."""

    def __init__(self, picture: Pixels) -> None:
        self._picture = picture

    def __rich_console__(self, *_: object) -> list[Segment]:
        made = []
        for upper, lower in _pairs(self._picture):
            for above, below in zip(upper, lower, strict=True):
                colours = Color.from_rgb(*above), Color.from_rgb(*below)
                made.append(Segment("▀", Style(color=colours[0], bgcolor=colours[1])))
            made.append(Segment.line())
        return made


def shades(picture: Pixels, ascii_only: bool) -> Text:
    """Without colours: how bright each pixel is, two lines of them in one of text. Luma of ITU-R BT.601."""
    luma = picture @ np.array([0.299, 0.587, 0.114])
    signs = _ASCII_SHADES if ascii_only else _SHADES
    lines = []
    for upper, lower in _pairs(luma):
        steps = np.rint((upper + lower) / 2 / 255 * (len(signs) - 1)).astype(int)
        lines.append("".join(signs[step] for step in steps))
    return Text("\n".join(lines), no_wrap=True, overflow="crop")


def _pairs(values: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Its lines, two and two; the last one stands for a missing other."""
    lines = [*values, *values[-1:]] if len(values) % 2 else [*values]
    return list(zip(lines[::2], lines[1::2], strict=True))


def _png(picture: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
