"""The bundles that a server at its edges is given: of each kind of answer one that is cheap to make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.generators import CENSUS, CENSUS_CATEGORIES, CONVOLUTIONAL_28, DIM, TINY, calorimeter, census, enlarged
from latentserve.service.bundle import Column, Condition, Latent, SampleSpec
from latentserve.service.packing.assemble import assemble_bundle

LABELS = [f"kind {number}" for number in range(1000)]
COLUMNS = 24
SHOWER_DIM = 8
POSTER = 3 * 256 * 256  # numbers of a row
CONDITIONS = [
    Condition(name="energy", unit="GeV", range=(1, 100), prior="log-uniform"),
    Condition(name="angle", unit="degrees", range=(-45, 45)),
]

_REFERENCE_SAMPLES = 500  # nobody judges them


def pack(folder: Path, *names: str) -> list[Path]:
    """Bundles FOLDER/NAME: `digits` 28x28, whose rows cost; `showers`, a table with labels and conditions; `posters`,
    3x256x256; `canvases`, 1x1024x1024; `strips`, wider than WebP can be; `tiny` 3x16x16, whose rows cost little;
    `census`, a table of words and whole numbers."""
    for name in names:
        _PACKED[name](folder / name)
    return [folder / name for name in names]


def _picture(shape: tuple[int, int, int], generator: bytes) -> dict[str, object]:
    channels = "L" if shape[0] == 1 else "RGB"
    return {
        "generator": generator,
        "latent": Latent(dim=DIM),
        "sample": SampleSpec(kind="image", shape=list(shape), value_range=(-1, 1), channels=channels),
        "reference_samples": _REFERENCE_SAMPLES if shape[1] < 100 else 64,
    }


def _digits(out: Path) -> None:
    assemble_bundle(out, name="digits", **_picture((1, 28, 28), CONVOLUTIONAL_28.build().SerializeToString()))


def _tiny(out: Path) -> None:
    assemble_bundle(out, name="tiny", **_picture((3, 16, 16), TINY.build().SerializeToString()))


def _posters(out: Path) -> None:
    assemble_bundle(out, name="posters", **_picture((3, 256, 256), enlarged(32, 32, 8).SerializeToString()))


def _canvases(out: Path) -> None:
    assemble_bundle(
        out, name="canvases", **_picture((1, 1024, 1024), enlarged(128, 128, 8, colours=1).SerializeToString())
    )


def _strips(out: Path) -> None:
    generator = enlarged(1, 5000, 4, colours=1).SerializeToString()
    assemble_bundle(out, name="strips", **_picture((1, 4, 20_000), generator))


def _showers(out: Path) -> None:
    assemble_bundle(
        out,
        name="showers",
        generator=calorimeter(len(LABELS), COLUMNS, SHOWER_DIM).SerializeToString(),
        latent=Latent(dim=SHOWER_DIM),
        labels=LABELS,
        conditions=CONDITIONS,
        sample=SampleSpec(
            kind="table", shape=[COLUMNS], columns=[Column(name=f"cell {number}") for number in range(COLUMNS)]
        ),
        reference_samples=_REFERENCE_SAMPLES,
    )


def _census(out: Path) -> None:
    columns = [
        Column(name=name, type="string", categories=[f"{name} {value}" for value in range(count)])
        if low == 0 and count < CENSUS_CATEGORIES
        else Column(name=name, type="int64")
        for name, (low, count) in CENSUS.items()
    ]
    assemble_bundle(
        out,
        name="census",
        generator=census().SerializeToString(),
        latent=Latent(dim=DIM),
        sample=SampleSpec(kind="table", shape=[len(columns)], columns=columns),
        reference_samples=_REFERENCE_SAMPLES,
    )


_PACKED: dict[str, Callable[[Path], None]] = {
    "digits": _digits, "showers": _showers, "posters": _posters, "canvases": _canvases, "strips": _strips,
    "tiny": _tiny, "census": _census,
}  # fmt: skip
