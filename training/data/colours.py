"""Colours as they were meant: a picture whose profile is not sRGB's, such as Display P3's of a telephone or one of a
press, is brought to sRGB (ICC.1:2022), which networks see and browsers show."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

UNREADABLE = ""  # what a profile is called that cannot be read

_SPACES = {"RGB": "RGB", "CMYK": "CMYK"}  # of modes
_SAME = 3  # levels by which colours may differ under a profile that is sRGB's in all but name


class Brought(NamedTuple):
    """A picture in sRGB, and the name of the profile that it had; None: it had none, or sRGB's."""

    picture: Image.Image
    profile: str | None


def to_srgb(picture: Image.Image) -> Brought:
    """A picture of the same size, its transparency kept."""
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or picture.mode in ("1", "L", "LA"):
        return Brought(picture, None)
    transparent = picture.has_transparency_data
    colours = picture if picture.mode in _SPACES else picture.convert("RGB")
    name, transform = _transform(profile, colours.mode)
    if transform is None:
        return Brought(picture, name)
    brought = transform.apply(colours)
    if transparent:
        brought.putalpha(picture.convert("RGBA").getchannel("A"))
    return Brought(brought, name)


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[str | None, ImageCms.ImageCmsTransform | None]:
    """What a profile is called, and what brings its colours to sRGB; None where nothing is to be done, or known."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return UNREADABLE, None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Threads share it.
            ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        name = ImageCms.getProfileDescription(source).strip() or "a profile without a name"
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return UNREADABLE, None
    if mode == "RGB":
        levels = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), axis=-1).reshape(1, -1, 3).astype(np.uint8)
        shown = np.asarray(transform.apply(Image.fromarray(levels)), np.int16)
        if np.abs(shown - levels).max() <= _SAME:
            return None, None
    return name, transform
