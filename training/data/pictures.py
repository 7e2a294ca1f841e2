"""Folders and archives of pictures. Each is decoded once, into 8-bit values, by as many threads as there are cores;
many of them lie in a file that is kept, and mapped at the next start."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError, features

from latentserve.service.errors import one_line
from latentserve.training.data import cache, metadata
from latentserve.training.data.cache import Decoded
from latentserve.training.data.colours import UNREADABLE, to_srgb
from latentserve.training.data.dataset import Dataset, Split, storage
from latentserve.training.data.folders import hint
from latentserve.training.data.lines import something_else
from latentserve.training.data.listing import Listing
from latentserve.training.data.reading import Reading
from latentserve.training.errors import DataError

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".tga", ".jp2", *((".avif",) if features.check("avif") else ()),
)  # fmt: skip

STORED_RANGE = (0.0, 255.0)

_GREY = {"1", "L", "LA"}
_DEEP = {"I", "F"}  # and I;16: more than 8 bits a channel
_HEAD = 64  # bytes that say what it is instead
_NAMED = 3  # broken files in an error
_AT_ONCE = 256  # pictures that threads are given together


@dataclass
class Seen:
    """What was met among pictures, by how many."""

    formats: Counter[str] = field(default_factory=Counter)
    transparent: int = 0
    turned: int = 0
    frames: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    profiles: Counter[str] = field(default_factory=Counter)
    of_print: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values that make it again, in the same order."""
        sizes = [[width, height, count] for (width, height), count in self.sizes.items()]
        counted = {name: list(getattr(self, name).items()) for name in ("formats", "profiles")}
        return {**self.__dict__, **counted, "sizes": sizes}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Seen":
        sizes = Counter({(width, height): count for width, height, count in told["sizes"]})
        counted = {name: Counter(dict(told[name])) for name in ("formats", "profiles")}
        return cls(**{**told, **counted, "sizes": sizes})

    def notes(self, size: int | None, background: str) -> tuple[str, ...]:
        """In words."""
        notes = [", ".join(f"{count:,} {name}" for name, count in self.formats.most_common())]
        if size is not None and set(self.sizes) != {(size, size)}:
            (width, height), _ = self.sizes.most_common(1)[0]
            least, most = min(self.sizes), max(self.sizes)
            of = (
                f"from {least[0]}x{least[1]} to {most[0]}x{most[1]} pixels, most of them "
                if len(self.sizes) > 1
                else ""
            )
            notes.append(f"{of}{width}x{height}; the longer side is cropped, and all are brought to {size}x{size}")
            small = sum(count for (w, h), count in self.sizes.items() if min(w, h) < size)
            notes += [f"{small:,} are smaller than that, and were enlarged"] if small else []
        if self.transparent:
            notes.append(f"{self.transparent:,} are transparent and were laid on {background}; --set background=COLOUR")
        if self.turned:
            notes.append(f"{self.turned:,} were turned upright, as their Exif tag says")
        if unread := self.profiles.get(UNREADABLE):
            notes.append(f"{unread:,} have colour profiles that cannot be read, and are taken as sRGB")
        if known := [f"{count:,} of {name}" for name, count in self.profiles.most_common() if name != UNREADABLE]:
            notes.append(f"brought to sRGB: {', '.join(known[:_NAMED])}{', ...' if len(known) > _NAMED else ''}")
        if self.of_print:
            notes.append(f"{self.of_print:,} are of CMYK without a profile; their colours are a guess")
        if self.frames:
            notes.append(f"{self.frames:,} have several frames or pages, of which the first was taken")
        if self.broken:
            notes.append(f"left out: {len(self.broken):,} broken, as told: {_some(self.broken)}")
        return tuple(notes)


def load(name: str, path: Path, split: Split, reading: Reading) -> Dataset:
    """A folder or an archive of pictures, or of class folders of them, as images [N, C, H, W]: grey where all are, else
    RGB.

    Raises DataError: names the first picture that is broken, of more than 8 bits, or of another size than the first.
    """
    listing = Listing.of(path)
    found, beside = metadata.labelled(listing, SUFFIXES, "pictures", split, reading)
    reading.refuse("pictures", "types")
    if not found.label_names and (told_by_names := hint(found)):
        found = replace(found, notes=(*found.notes, told_by_names))
    files = found.files
    made = decode(
        found.names,
        lambda at: _open(listing, files[at]),
        reading,
        listing.on_disk(files),
        {"pictures": [str(file) for file in files]},
    )
    found = found.only(made.rows)
    notes = [*told(made, reading), *found.notes]
    label_of = dict(zip(found.files, found.labels.tolist(), strict=True))
    elsewhere = [file for file in listing.having(SUFFIXES) if file not in label_of]
    again = listing.copies([*found.files, *elsewhere])
    if copies := [(copy, of) for copy, of in again if copy in label_of]:
        mixed = sum(label_of[copy] != label_of[of] for copy, of in copies)
        another = f", {mixed:,} of them in another class" if mixed else ""
        notes.append(f"{len(copies):,} are copies of others, such as {copies[0][0]} of {copies[0][1]}{another}")
    if outside := [(copy, of) for copy, of in again if copy not in label_of and of in label_of]:
        notes.append(f"{len(outside):,} lie elsewhere, too, such as {outside[0][1]} as {outside[0][0]}")
    notes += metadata.left_out(found, SUFFIXES, "pictures")
    if listing.dangling:
        notes.append(f"left out: {len(listing.dangling):,} links that lead nowhere, such as {listing.dangling[0]}")
    return Dataset(
        name,
        made.samples,
        found.labels,
        found.label_names,
        stored_range=STORED_RANGE,
        conditions=None if beside is None else beside.take(made.rows),
        notes=tuple(notes),
        entry=made.entry,
    )


def told(made: Decoded, reading: Reading) -> tuple[str, ...]:
    """What was met among pictures, and where they are kept, in words."""
    notes = Seen.from_json(made.about).notes(reading.size, reading.background)
    return (*notes, made.note) if made.note else notes


def decode(
    names: Sequence[str],
    open_at: Callable[[int], Image.Image],
    reading: Reading,
    files: Sequence[Path],
    asked: Mapping[str, Any],
) -> Decoded:
    """Pictures as uint8 [N, C, H, W], as in `load`, and which of them these are, made now or before.

    Args:
        names: What errors call them.
        open_at: Gives the one at a place.
        reading: Its size, background, and what is to be done about broken ones.
        files: That they are in.
        asked: What tells them from other pictures in these files, as JSON.

    Raises:
        DataError: As `load`.
    """
    how = {"size": reading.size, "background": reading.background, "broken": reading.broken}
    return cache.decoded(files, {**asked, **how}, lambda: _decode(names, open_at, reading))


def _decode(names: Sequence[str], open_at: Callable[[int], Image.Image], reading: Reading) -> Decoded:
    size, background = reading.size, ImageColor.getrgb(reading.background)[:3]
    seen, grey, first, first_name = Seen(), True, None, ""
    kept = []
    for at, name in enumerate(names):
        try:
            with _opened(open_at, at, name) as picture:
                mode, deep = picture.mode, is_deep(picture)  # before Pillow looks for Exif tags, and so decodes it
                upright = _upright_size(picture)
                seen.formats[picture.format or "unknown"] += 1
                seen.of_print += mode == "CMYK" and "icc_profile" not in picture.info
                seen.frames += getattr(picture, "n_frames", 1) > 1
                seen.turned += picture.getexif().get(0x0112, 1) != 1
                lies = picture.has_transparency_data
        except DataError as error:
            seen.broken.append(str(error))
            continue
        if deep:
            raise DataError(
                f"{name}: more than 8 bits a channel; convert it to 8 bits, or save all as an .npy of floats in 0 to 1"
            )
        grey = grey and mode in _GREY and not (lies and len(set(background)) > 1)
        first, first_name = (upright, name) if first is None else (first, first_name)
        seen.sizes[upright] += 1
        if size is None and upright != first:
            sizes = f"{upright[0]}x{upright[1]} pixels, {Path(first_name).name} is {first[0]}x{first[1]}"
            raise DataError(f"{name}: is {sizes}; `size` in the configuration brings all to one size")
        kept.append(at)
    _require_whole(seen, len(names), reading)
    width, height = (size, size) if size is not None else first or (0, 0)
    samples = storage((len(kept), 1 if grey else 3, height, width), np.uint8, names[0])
    rows: list[int] = []
    alone = Lock()  # archives and tables have one place that they are read at

    def open_alone(at: int) -> Image.Image:
        with alone:
            return open_at(at)

    def pixels(at: int) -> tuple[NDArray[np.uint8], bool, str | None] | DataError:
        try:
            with _opened(open_alone, at, names[at]) as picture:
                return _pixels(picture, grey, size, background)
        except DataError as error:
            return error

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for start in range(0, len(kept), _AT_ONCE):
            some = kept[start : start + _AT_ONCE]
            for at, found in zip(some, threads.map(pixels, some), strict=True):
                if isinstance(found, DataError):
                    seen.broken.append(str(found))
                    continue
                samples[len(rows)], transparent, profile = found
                seen.transparent += transparent
                seen.profiles.update([] if profile is None else [profile])
                rows.append(at)
    _require_whole(seen, len(names), reading)
    return Decoded(samples[: len(rows)], np.array(rows, np.int64), seen.to_json())


def is_deep(picture: Image.Image) -> bool:
    """Whether a channel has more than 8 bits; Pillow would cut those of colours without a word."""
    if picture.mode in _DEEP or picture.mode.startswith("I;"):
        return True
    for tile in getattr(picture, "tile", []):
        if ";16" in str(tile[3]):
            return True
        if tile[0] == "ppm" and any(int(number) > 255 for number in re.findall(r"\d+", str(tile[3]))):
            return True
    bits = getattr(picture, "tag_v2", {}).get(258)  # BitsPerSample
    return bits is not None and max(bits if isinstance(bits, tuple) else (bits,)) > 8


def _require_whole(seen: Seen, count: int, reading: Reading) -> None:
    """Raises DataError naming what is broken, unless that may be passed over."""
    if seen.broken and (reading.broken == "refuse" or len(seen.broken) == count):
        more = f"; {len(seen.broken):,} of {count:,} are; --set broken=skip passes them over" if count > 1 else ""
        raise DataError(seen.broken[0] + more)


def _pixels(
    picture: Image.Image, grey: bool, size: int | None, background: tuple[int, ...]
) -> tuple[NDArray[np.uint8], bool, str | None]:
    """One picture as uint8 [C, H, W], upright, in sRGB, on the background; whether that shows; and the profile that it
    was brought from."""
    (upright, profile), transparent = to_srgb(ImageOps.exif_transpose(picture)), False
    if upright.has_transparency_data:
        shown = upright.convert("RGBA")
        if shown.getchannel("A").getextrema()[0] < 255:  # type: ignore[operator]
            transparent = True
            under = Image.new("RGBA", shown.size, (*background, 255))
            upright = Image.alpha_composite(under, shown)
    brought = upright.convert("L" if grey else "RGB")
    if size is not None and brought.size != (size, size):
        brought = ImageOps.fit(brought, (size, size), Image.Resampling.LANCZOS)
    values = np.asarray(brought, np.uint8)
    return values[None] if grey else np.moveaxis(values, -1, 0), transparent, profile


def _open(listing: Listing, file: PurePosixPath) -> Image.Image:
    try:
        return Image.open(listing.source / file if listing.archive is None else listing.open(file))
    except UnidentifiedImageError:
        with listing.open(file) as opened:
            head = opened.read(_HEAD)
        heic = "is HEIC: convert it to PNG" if head[4:11] in (b"ftyphei", b"ftypmif", b"ftyphev") else None
        told = heic or something_else(head) or (None if head else "is empty")
        if told is None:
            raise
        raise DataError(f"{listing.name(file)}: {told}") from None


@contextmanager
def _opened(open_at: Callable[[int], Image.Image], at: int, name: str) -> Iterator[Image.Image]:
    """The picture at a place, for as long as it is looked at."""
    try:
        with open_at(at) as picture:
            yield picture
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: too large a picture: {one_line(error).partition(',')[0]}; make it smaller") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{name}: not a picture, or a broken one ({one_line(error)})") from None


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height once the camera's orientation is undone (Exif tag 0x0112: 5 to 8 lie on their side)."""
    width, height = picture.size
    return (height, width) if picture.getexif().get(0x0112) in (5, 6, 7, 8) else (width, height)


def _some(errors: Sequence[str]) -> str:
    names = [error.partition(":")[0] for error in errors]
    return ", ".join(Path(name).name for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
