"""Which recipe fits what lies at a path, for whoever names data instead of a recipe.

By what `latentserve.training.data` would read there, and of pictures by their size: the largest published one that most
of them have, of the networks that are published on a machine with a GPU, and of small ones without.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import median

from PIL import Image

from latentserve.training.data import arrays, cifar, encoded, idx, load, pictures, pixels, sounds, table_files
from latentserve.training.data.folders import absence
from latentserve.training.data.listing import ZIP, Listing
from latentserve.training.errors import ConfigError

PUBLISHED = (32, 64, 128, 256)  # sides of pictures that there are recipes for
SMALL = (32, 64)  # those of them that a machine without a GPU learns in hours
LEAST = 8  # pixels a side
LOOKED_AT = 256  # pictures, evenly among all: their headers are read
EPOCHS, SHORTEST = 300, 1_000_000  # of a run on a GPU: how often it sees each picture, and images at the least
FEW = 8  # numbers, of which points are made


@dataclass(frozen=True)
class Fit:
    """A recipe for some data.

    Attributes:
        recipe: its name.
        overrides: what is changed of it, as `--set` takes it.
        because: what was seen there, in words.
    """

    recipe: str
    overrides: tuple[str, ...]
    because: str

    @property
    def sentence(self) -> str:
        """What was chosen, and how to choose something else."""
        told = "".join(f" --set {one}" for one in self.overrides if not one.startswith("data="))
        return f"{self.recipe}{told}, for {self.because}; another: latentserve train RECIPE --data ..."


def fit(path: Path, gpu: bool) -> Fit:
    """The recipe for what lies at an existing path.

    Raises ConfigError where there is nothing to choose by, and DataError where it cannot be read.
    """
    name = path.name.lower()
    if path.is_dir() or name.endswith(ZIP):
        listing = Listing.of(path)
    else:
        listing = Listing(path.parent, (PurePosixPath(path.name),))
    if listing.archive is None and idx.find(listing.files):
        return Fit("mnist", ("data=files",), "IDX files")
    if listing.archive is None and cifar.files(listing, "train")[0]:
        told = _of_side(32, "CIFAR's files", 0, gpu)
        return Fit(told.recipe, ("size=null", *told.overrides), told.because)
    of_pictures, of_sounds = listing.having(pictures.SUFFIXES), listing.having(sounds.SUFFIXES)
    of_tables = table_files.among(listing)
    of_tables = of_tables or (encoded.of_arrow(listing) if listing.archive is None else [])
    of_arrays = listing.having(arrays.SUFFIXES)
    if len(of_sounds) > len(of_pictures):
        return Fit("waves", ("data=files", "size=4096"), f"{len(of_sounds):,} recordings")
    if of_pictures:
        return _pictures(listing, of_pictures, gpu)
    if of_tables and listing.archive is not None:
        return Fit("adult", ("label=null",), "a table; --set label=COLUMN, for rows that are asked for by it")
    if of_tables:
        first = listing.source / of_tables[0]
        if first.name.lower().endswith(encoded.SUFFIXES) and encoded.picture_column(first) is not None:
            sizes = [picture.size for picture in encoded.some(first, LOOKED_AT)]
            return _of_sizes(sizes, f"pictures in {'Arrow' if first.suffix == '.arrow' else 'Parquet'}", 0, gpu)
        if (shown := pixels.peek(first)) is not None:
            told = _of_side(shown.side, f"a table of {shown.side}x{shown.side} pixels", 0, gpu)
            return Fit(told.recipe, ("size=null", *(one for one in told.overrides if "size=" not in one)), told.because)
        return Fit("adult", ("label=null",), "a table; --set label=COLUMN, for rows that are asked for by it")
    if of_arrays and listing.archive is None:
        return _arrays(path, gpu)
    raise ConfigError(f"{path}: no pictures, recordings, tables or arrays in it{absence(listing)}")


def _pictures(listing: Listing, files: list[PurePosixPath], gpu: bool) -> Fit:
    some = files[:: max(1, len(files) // LOOKED_AT)]
    sizes, grey = [], True
    for picture in _headers(listing, some):
        sizes.append(picture.size)
        grey = grey and picture.mode in ("1", "L", "LA")
    return _of_sizes(sizes, f"{len(files):,} {'grey ' if grey and sizes else ''}pictures", len(files), gpu)


def _headers(listing: Listing, files: list[PurePosixPath]) -> Iterator[Image.Image]:
    """Pictures that are opened and not decoded; those that cannot be are told of when they are read."""
    for file in files:
        try:
            with Image.open(listing.source / file if listing.archive is None else listing.open(file)) as picture:
                yield picture
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue


def _of_sizes(sizes: list[tuple[int, int]], what: str, count: int, gpu: bool) -> Fit:
    if not sizes:
        return Fit("pictures-32", (), what)
    width, height = Counter(sizes).most_common(1)[0][0]
    of = f"{width}x{height} pixels" if len(set(sizes)) == 1 else f"about {width}x{height} pixels"
    return _of_side(int(median(min(size) for size in sizes)), f"{what} of {of}", count, gpu)


def _of_side(side: int, because: str, count: int, gpu: bool) -> Fit:
    """Of a side that most have; what is smaller than all recipes stays as it is, as far as maps can be halved."""
    published = max((one for one in (PUBLISHED if gpu else SMALL) if one <= side), default=PUBLISHED[0])
    overrides = () if side >= published else (f"size={max(LEAST, side // 4 * 4)}",)
    if not gpu:
        return Fit(f"pictures-{published}", overrides, f"{because} and no GPU")
    images = f"images={max(SHORTEST, EPOCHS * count)}"
    return Fit(f"r3gan-{published}", (*overrides, images), f"{because} and a GPU")


def _arrays(path: Path, gpu: bool) -> Fit:
    dataset = load("files", path)
    shape = "x".join(map(str, dataset.samples.shape[1:]))
    if dataset.kind == "image":
        told = _of_side(min(dataset.samples.shape[2:]), f"{len(dataset):,} pictures of {shape}", len(dataset), gpu)
        kept = [one for one in told.overrides if not one.startswith("size=")]
        return Fit(told.recipe, ("size=null", *kept), told.because)
    if dataset.samples.ndim == 2 and dataset.samples.shape[1] <= FEW:
        return Fit("ring", ("data=files",), f"points of {shape} numbers")
    return Fit("waves", ("data=files", "network=dense"), f"arrays of {shape}")
