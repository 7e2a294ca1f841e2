"""Which axis of what a graph gives is what: from its shape, and from what it is said to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from latentserve.service.errors import BundleError
from latentserve.service.packing.closing import Form, Layout

Kind = Literal["image", "table", "audio", "array"]
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
_WITH_ALPHA = 4

_MOST_SOUND_CHANNELS = 8
_LEAST_SIDE = 8  # of a square of numbers that may be a picture without channels
_LEAST_FRAMES = 4096  # of what may be sound
_AXES = {"nchw": 3, "nhwc": 3, "nhw": 2, "nct": 2, "ntc": 2}


class Found(NamedTuple):
    """What a row is, how it becomes one, and what is to be said of it."""

    kind: Kind
    form: Form
    remarks: list[str]


def find_layout(
    shape: Sequence[int], source: str, kind: Kind | None, layout: Layout | None, told: Sequence[int] | None
) -> Found:
    """Of rows of `shape` [...]; `kind`, `layout` and the shape `told`, in which its numbers are to be read, are None
    where nobody says. Raises BundleError naming `source` where they contradict each other."""
    view = list(shape) or [1]  # one number a row
    if told is not None:
        if math.prod(told) != math.prod(shape) or min(told, default=1) < 1:
            raise BundleError(
                f"{source}: --shape {','.join(map(str, told))} has {math.prod(told):,} numbers; a row of shape "
                f"{view} has {math.prod(shape):,}"
            )
        view = list(told)
    if layout is not None:
        return _told(view, source, kind, layout)
    if kind == "audio":
        return _sound(view, source)
    if kind == "table":
        return _table(view, source)
    if kind == "array":
        return Found("array", Form.plain(view), [])
    found = _picture(view, source, wanted=kind == "image")
    if found is not None:
        if kind is None and found.form.shape[0] == _WITH_ALPHA:
            alpha = f"shape {view} is read as pictures with transparency; --kind array says otherwise"
            found = found._replace(remarks=[*found.remarks, alpha])
        return found
    if kind == "image":
        raise BundleError(
            f"{source}: samples of shape {view} are no images; [1, 3 or 4 channels, height, width] is, or "
            "[height, width, channels], or [height, width]: --shape says how their numbers are to be read"
        )
    return Found("array", Form.plain(view), _perhaps(view))


def _told(view: list[int], source: str, kind: Kind | None, layout: Layout) -> Found:
    if len(view) == 1 and layout in ("nchw", "nhwc", "nhw") and (square := _square(view[0])) is not None:
        channels, side = square
        view = {"nchw": [channels, side, side], "nhwc": [side, side, channels], "nhw": [side, side]}[layout]
    if len(view) == 1 and layout in ("nct", "ntc"):
        view = [1, view[0]] if layout == "nct" else [view[0], 1]
    if len(view) != _AXES[layout] or (layout == "nhw" and kind not in (None, "image", "array")):
        axes = ", ".join({"h": "height", "w": "width", "c": "channels", "t": "frames"}[axis] for axis in layout[1:])
        raise BundleError(f"{source}: --layout {layout} is of rows [{axes}]; these have shape {view}")
    form = Form.plain(view)
    if layout == "nhwc":
        form = Form(tuple(view), (2, 0, 1))
    elif layout == "nhw":
        form = Form.plain([1, *view])
    elif layout == "ntc":
        form = Form(tuple(view), (1, 0))
    picture: Kind = "image" if form.shape[0] in CHANNELS else "array"
    found = kind or (picture if _AXES[layout] == 3 or layout == "nhw" else "audio")
    if found == "image" and (len(form.shape) != 3 or form.shape[0] not in CHANNELS):
        raise BundleError(
            f"{source}: samples of shape {view} are no images by --layout {layout}: 1, 3 or 4 channels are"
        )
    if found == "audio" and (len(form.shape) != 2 or form.shape[0] > _MOST_SOUND_CHANNELS):
        raise BundleError(
            f"{source}: samples of shape {view} are no audio by --layout {layout}: "
            f"1 to {_MOST_SOUND_CHANNELS} channels are"
        )
    return Found(found, form, [])


def _picture(view: list[int], source: str, *, wanted: bool) -> Found | None:
    """Rows that may be pictures."""
    if len(view) == 3:
        first, last = view[0] in CHANNELS, view[2] in CHANNELS
        if not first and not last:
            return None
        # Where either end may be the channels, the squarer picture is meant.
        if first and (not last or _skew(view[1:]) <= _skew(view[:2])):
            doubt = [f"shape {view} is read as [channels, height, width]; --layout nhwc says otherwise"]
            return Found("image", Form.plain(view), doubt if last and _skew(view[1:]) == _skew(view[:2]) else [])
        return Found(
            "image",
            Form(tuple(view), (2, 0, 1)),
            [f"shape {view} is read as pictures with channels last; --layout nchw or --kind array says otherwise"],
        )
    if len(view) == 2 and (wanted or (view[0] == view[1] >= _LEAST_SIDE)):
        said = f"shape {view} is read as grey pictures [height, width]; --kind array says otherwise"
        return Found("image", Form.plain([1, *view]), [said])
    if len(view) == 1 and wanted and (square := _square(view[0])) is not None:
        channels, side = square
        said = f"{view[0]} numbers are read as pictures [{channels}, {side}, {side}]; --shape says otherwise" + (
            f", as does --layout nhwc --shape {side},{side},{channels}" if channels > 1 else ""
        )
        return Found("image", Form.plain([channels, side, side]), [said])
    return None


def _sound(view: list[int], source: str) -> Found:
    lengthy = [size for size in view if size != 1]
    if len(view) > 2 and len(lengthy) <= 1:  # [1, frames, 1] and the like
        return Found("audio", Form.plain([1, max(view)]), [])
    if len(view) == 1:
        return Found("audio", Form.plain(view), [])
    if len(view) == 2 and view[0] <= _MOST_SOUND_CHANNELS and (view[0] <= view[1] or view[1] > _MOST_SOUND_CHANNELS):
        return Found("audio", Form.plain(view), [])
    if len(view) == 2 and view[1] <= _MOST_SOUND_CHANNELS:
        said = f"shape {view} is read as [frames, channels]; --layout nct says otherwise"
        return Found("audio", Form(tuple(view), (1, 0)), [said])
    raise BundleError(
        f"{source}: samples of shape {view} are no audio; [frames], [channels, frames] and [frames, channels] are, of "
        f"1 to {_MOST_SOUND_CHANNELS} channels: --shape says how their numbers are to be read"
    )


def _table(view: list[int], source: str) -> Found:
    lengthy = [size for size in view if size != 1]
    if len(view) != 1 and len(lengthy) <= 1 and view:  # [1, columns] and the like
        view = lengthy or [1]
    if len(view) != 1:
        raise BundleError(f"{source}: samples of shape {view} are no rows of a table; [columns] is")
    return Found("table", Form.plain(view), [])


def _perhaps(view: list[int]) -> list[str]:
    """Of arrays that may be something else."""
    if len(view) == 1 and (square := _square(view[0])) is not None:
        channels, side = square
        return [f"{view[0]} numbers are an array; if they are pictures, say --shape {channels},{side},{side}"]
    if len(view) == 2 and min(view) <= _MOST_SOUND_CHANNELS and max(view) >= _LEAST_FRAMES:
        return [f"shape {view} is an array; if it is sound, say --kind audio and --sample-rate"]
    if len(view) == 1 and view[0] >= _LEAST_FRAMES:
        return [f"{view[0]} numbers are an array; if they are sound, say --kind audio and --sample-rate"]
    if len(view) == 2 and min(view) >= _LEAST_SIDE:
        return [f"shape {view} is an array; if it is a grey picture, say --layout nhw"]
    return []


def _square(numbers: int) -> tuple[int, int] | None:
    """Channels and side of a square picture of so many numbers: grey ones before those in colour."""
    for channels in (1, 3):
        side = math.isqrt(numbers // channels)
        if channels * side * side == numbers and side >= _LEAST_SIDE:
            return channels, side
    return None


def _skew(sides: Sequence[int]) -> float:
    """1 of a square."""
    return max(sides) / min(sides)
