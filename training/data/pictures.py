"""Folders of pictures. Each is decoded once, into 8-bit values; more than a GiB of them lie in a mapped file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from latentserve.service.errors import one_line
from latentserve.training.data import conditions
from latentserve.training.data.dataset import Dataset, Split, storage
from latentserve.training.data.folders import find
from latentserve.training.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

STORED_RANGE = (0.0, 255.0)

_GREY = {"1", "L", "LA"}
_DEEP = {"I", "F"}  # and I;16: more than 8 bits a channel


def load(name: str, folder: Path, split: Split | None, size: int | None) -> Dataset:
    """A folder of pictures, or of class folders of them, as images [N, C, H, W]: grey where all are, else RGB.

    Args:
        name: What the data set is called.
        folder: Where they are.
        split: The part, where the folder has `train` and `test`.
        size: Side that every picture is brought to, the longer side cropped; None: all must have the same.

    Raises:
        DataError: Names the first picture that is broken, of more than 8 bits, or of another size than the first.
    """
    labelled = find(folder, SUFFIXES, "pictures", split)
    beside = conditions.beside_files(labelled.folder, labelled.files, "pictures")
    samples = decode([str(file) for file in labelled.files], lambda at: Image.open(labelled.files[at]), size)
    return Dataset(name, samples, labelled.labels, labelled.label_names, stored_range=STORED_RANGE, conditions=beside)


def decode(names: Sequence[str], open_at: Callable[[int], Image.Image], size: int | None) -> NDArray[np.uint8]:
    """Pictures as uint8 [N, C, H, W], as in `load`; `open_at` gives the one at a place, which errors call by name."""
    grey, first = True, None
    for at, name in enumerate(names):
        with _opened(open_at, at, name) as picture:
            mode, upright = picture.mode, _upright_size(picture)
        if mode in _DEEP or mode.startswith("I;"):
            raise DataError(f"{name}: more than 8 bits a channel; convert it")
        grey = grey and mode in _GREY
        first = first or upright
        if size is None and upright != first:
            sizes = f"{upright[0]}x{upright[1]} pixels, {Path(names[0]).name} is {first[0]}x{first[1]}"
            raise DataError(f"{name}: is {sizes}; `size` in the configuration brings all to one size")
    width, height = (size, size) if size is not None else first or (0, 0)
    samples = storage((len(names), 1 if grey else 3, height, width), np.uint8, names[0])
    for at, name in enumerate(names):
        with _opened(open_at, at, name) as picture:
            samples[at] = _pixels(picture, grey, size)
    return samples


def _pixels(picture: Image.Image, grey: bool, size: int | None) -> NDArray[np.uint8]:
    """One picture as uint8 [C, H, W], upright."""
    seen = ImageOps.exif_transpose(picture).convert("L" if grey else "RGB")
    if size is not None and seen.size != (size, size):
        seen = ImageOps.fit(seen, (size, size), Image.Resampling.LANCZOS)
    values = np.asarray(seen, np.uint8)
    return values[None] if grey else np.moveaxis(values, -1, 0)


@contextmanager
def _opened(open_at: Callable[[int], Image.Image], at: int, name: str) -> Iterator[Image.Image]:
    """The picture at a place, for as long as it is looked at."""
    try:
        with open_at(at) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: not a picture, or a broken one ({one_line(error)})") from None


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height once the camera's orientation is undone (Exif tag 0x0112: 5 to 8 lie on their side)."""
    width, height = picture.size
    return (height, width) if picture.getexif().get(0x0112) in (5, 6, 7, 8) else (width, height)
