"""Pictures stripped of all marks, found among what an account says was sent; and foreign ones, that are not.

    python -m benchmarks lookup [BUNDLE --real FILE.npz] [--rows 100000] [--asked 1000] [--foreign 30000] [--short]

Without a bundle the generator is a linear one, made here: of the first 96 principal components of patches, 64 pixels a
side, of scikit-learn's two photographs; other patches are the real pictures. An account is written of so many rows, in
answers of 50, by the server's own code. `latentserve audit index` makes their features. Then pictures are looked up:
rows that were sent, each as is, as JPEG of quality 75, resized by 0.8, cut by a tenth of each side at a random place,
and all three; and foreign ones, half of them rows of the same generator that nobody was sent, half real pictures, uint8
[N, H, W, C] or [N, H, W] named `samples` in FILE, each as they are or with all three. A filter of resizing is drawn for
each (bilinear, bicubic, Lanczos). Found is whose row is right. What was interrupted is gone on with; with `--account
FOLDER` the account and its index are, too.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.generators import linear
from benchmarks.runner import Results, table
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditLog
from latentserve.service.auditing.trail import Trail
from latentserve.service.bundle import Latent, SampleSpec, read_bundle
from latentserve.service.encoding.images import pixels
from latentserve.service.finding.control import control
from latentserve.service.finding.features import Query
from latentserve.service.finding.indexing import index_rows
from latentserve.service.finding.lookup import lookup
from latentserve.service.finding.served import Served
from latentserve.service.opened import OpenedBundle
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.verifying.content import Content
from latentserve.service.verifying.reading import Limits, read_file
from latentserve.service.verifying.verdict import Verified, concluded

TITLE = "Pictures without marks, found by the account"
SHORT = True
RESUMES = True

_ANSWER_ROWS = 50
_WAYS = ("as it is", "JPEG 75", "resized by 0.8", "cut by 10 %", "all three")
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_FOREIGN_SEED = 1 << 40
_KINDS = ("rows that were not sent", "real pictures")
_LIMITS = Limits(1 << 26, 1)
_SAVED = 50  # look-ups, after which they are written down
_SIDE, _PARTS = 64, 96
_PATCHES, _LEARNT = 16_500, 1000

Images = NDArray[np.uint8]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--about", default="", help="of the generator, for the page")
    parser.add_argument("--real", type=Path, help="pictures that it was trained on, or such as those")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=1000, help="rows that are looked up in each way")
    parser.add_argument("--foreign", type=int, default=30_000)
    parser.add_argument("--account", type=Path, metavar="FOLDER", help="where the account is kept (a temporary folder)")


def measure(given: argparse.Namespace, results: Results) -> None:
    rows, asked, foreign = (2000, 40, 40) if given.short else (given.rows, given.asked, given.foreign)
    with tempfile.TemporaryDirectory(prefix="lookup-") as here:
        path, real, about = given.bundle, given.real and _samples(given.real), given.about
        if path is None:
            path, real = _of_photographs(Path(here) / "photographs")
            about = about or "The generator is linear: 96 principal components of patches of photographs."
        bundle = OpenedBundle(read_bundle(path))
        manifest = bundle.manifest
        of = {"name": manifest.name, "version": manifest.version, "rows": rows}
        if given.short or any(results.get(name) != value for name, value in of.items()):
            for name in [*(f"{kind}, {way}" for kind in _KINDS for way in _WAYS), *_WAYS]:
                results.pop(name, None)
        results |= {**of, "shape": list(manifest.sample.shape), "about": about}
        folder = given.account or Path(here) / "account"
        _index(bundle, folder, rows, results)
        for way in _WAYS:
            _sent(bundle, folder, way, rows, asked, results)
        for kind in _KINDS:
            for way in ("as it is", "all three"):
                _not_sent(bundle, folder, kind, way, real, foreign // 4, results)
        results["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _index(bundle: OpenedBundle, folder: Path, rows: int, results: Results) -> None:
    """An account of so many rows, and its index, where they are not there."""
    manifest = bundle.manifest
    if not (folder.is_dir() and Trail(folder).segments):
        account = Account(AuditLog(folder), "refuse", keep=True)
        for number in range(rows // _ANSWER_ROWS):
            request = RowsRequest(_ANSWER_ROWS, number)
            account.sent(f"r-{number}", None, "/v1/samples", manifest, request, _ANSWER_ROWS, "image/png")
        account.close()
    before = Served(Trail(folder), manifest).rows
    began = time.perf_counter()
    index_rows(bundle, Trail(folder))
    made = time.perf_counter() - began
    served = Served(Trail(folder), manifest)
    began = time.perf_counter()
    control(bundle, served)
    if before < served.rows:
        size = sum(path.stat().st_size for path in folder.glob("*.features"))
        results["index"] = {
            "rows_per_second": (served.rows - before) / made, "bytes_per_row": size / served.rows,
            "control_seconds": time.perf_counter() - began,
            "control_nearest": None if (near := served.control) is None else near.nearest,
        }  # fmt: skip
    results.save()


def _sent(bundle: OpenedBundle, folder: Path, way: str, rows: int, asked: int, results: Results) -> None:
    """Look up rows that were sent, those that were not yet."""
    numbers = np.random.default_rng(0).permutation(rows).tolist()
    one = results.setdefault(
        way, {"asked": 0, "found": 0, "another_row": 0, "not_listed": 0, "seconds": 0.0, "far": []}
    )
    while one["asked"] < min(asked, rows):
        case = one["asked"]
        seed, row = divmod(numbers[case], _ANSWER_ROWS)
        content = _changed(_pictures(bundle, RowsRequest(1, seed, row))[0], way, _random(way, case))
        began = time.perf_counter()
        verified = _looked_up(bundle, folder, content)
        one["seconds"] += time.perf_counter() - began
        one["asked"] += 1
        one["far"].append(round(verified.distance or 0.0, 5))
        if verified.verdict == "no":
            one["not_listed"] += not _listed(bundle, folder, content, seed, row)
        elif (verified.seed, verified.row) == (seed, row):
            one["found"] += 1
        else:
            one["another_row"] += 1
        if one["asked"] % _SAVED == 0:
            results.save()
    results.save()


def _listed(bundle: OpenedBundle, folder: Path, content: Content, seed: int, row: int) -> bool:
    """Whether the row is among those that are made again for a picture."""
    served = Served(Trail(folder), bundle.manifest)
    candidates = served.nearest(Query(content.arrays[0], bundle.manifest.sample, content.coding))
    return any((served.line(one)["seed"], one.row) == (seed, row) for one in candidates)


def _not_sent(
    bundle: OpenedBundle, folder: Path, kind: str, way: str, real: Images | None, foreign: int, results: Results
) -> None:
    """Look up pictures that were not sent, those that were not yet."""
    one = results.setdefault(f"{kind}, {way}", {"asked": 0, "called_ours": 0})
    while one["asked"] < foreign:
        case = one["asked"]
        if kind == _KINDS[0]:
            image = _pictures(bundle, RowsRequest(1, _FOREIGN_SEED, case))[0]
        elif real is None or case >= len(real):
            break
        else:
            image = real[case].reshape(*real[case].shape[:2], -1)
        verified = _looked_up(bundle, folder, _changed(image, way, _random(kind + way, case)))
        one["asked"] += 1
        one["called_ours"] += verified.verdict != "no"
        if one["asked"] % _SAVED == 0:
            results.save()
    results.save()


def _random(of: str, case: int) -> np.random.Generator:
    return np.random.default_rng((zlib.crc32(of.encode()), case))


def _samples(path: Path) -> Images:
    with np.load(path, allow_pickle=False) as arrays:
        samples: Images = arrays["samples"]
    return samples


def _of_photographs(out: Path) -> tuple[Path, Images]:
    """The bundle of the linear generator, and the patches that it is of."""
    random = np.random.default_rng(0)
    patches = []
    for photograph in load_sample_images().images:
        half = np.asarray(Image.fromarray(photograph).reduce(2))
        for _ in range(_PATCHES // 2):
            top, left = (int(random.integers(side - _SIDE + 1)) for side in half.shape[:2])
            patch = half[top : top + _SIDE, left : left + _SIDE]
            patches.append(patch[:, ::-1] if random.random() < 0.5 else patch)
    real = np.stack(patches)[random.permutation(len(patches))]
    values = np.moveaxis(real[:_LEARNT], -1, 1).reshape(_LEARNT, -1).astype(np.float32) / 127.5 - 1
    mean = values.mean(axis=0)
    apart = values - mean
    _, mixed = np.linalg.eigh(apart @ apart.T)  # of the patches, which are fewer than their numbers
    weights = mixed[:, -_PARTS:].T @ apart / np.sqrt(_LEARNT)
    sample = SampleSpec(kind="image", shape=[3, _SIDE, _SIDE], value_range=(-1, 1), channels="RGB")
    generator = linear(weights, mean, sample.shape).SerializeToString()
    latent = Latent(dim=_PARTS)
    assemble_bundle(out, name="photographs", generator=generator, latent=latent, sample=sample, reference_samples=64)
    return out, real[_LEARNT:]


def _pictures(bundle: OpenedBundle, request: RowsRequest) -> list[np.ndarray[Any, Any]]:
    values = pixels(bundle.made(request).samples, bundle.manifest.sample)
    return [np.moveaxis(one, 0, -1) for one in values]


def _changed(image: np.ndarray[Any, Any], way: str, random: np.random.Generator) -> Content:
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
    width, height = picture.size
    if way in ("cut by 10 %", "all three"):
        across, down = round(0.1 * width), round(0.1 * height)
        left, top = int(random.integers(across + 1)), int(random.integers(down + 1))
        picture = picture.crop((left, top, left + width - across, top + height - down))
    if way in ("resized by 0.8", "all three"):
        size = round(0.8 * picture.width), round(0.8 * picture.height)
        picture = picture.resize(size, _FILTERS[int(random.integers(3))])
    out = io.BytesIO()
    jpeg = {"format": "JPEG", "quality": 75}
    picture.save(out, **(jpeg if way in ("JPEG 75", "all three") else {"format": "PNG"}))
    return read_file(out.getvalue(), _LIMITS).content


def _looked_up(bundle: OpenedBundle, folder: Path, content: Content) -> Verified:
    steps = lookup(content, Trail(folder), bundle.manifest, gives_uint8=bundle.gives("sample_uint8"))
    return concluded(steps, bundle.made)


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    index = results["index"]
    shape = "x".join(map(str, results["shape"]))
    if results.get("about"):
        yield from (results["about"], "")
    yield (
        f"{results['rows']:,} rows of {results['name']} ({shape}): {index['rows_per_second']:,.0f} rows a second were "
        f"made again and {index['bytes_per_row']:.0f} bytes each kept. The nearest of 200 pictures that were not sent "
        f"was {index['control_nearest']:.3f} of its contrast from a row: half of that, and 0.35 at the most, is near."
    )
    done = [way for way in _WAYS if way in results]
    rows = [
        (
            way,
            f"{(one := results[way])['found']:,} of {one['asked']:,} ({100 * one['found'] / one['asked']:.2f} %)",
            f"{one['another_row']}",
            str(one.get("not_listed", "not counted")),
            f"{np.median(one['far']):.4f}" if one.get("far") else "not kept",
            f"{1000 * one['seconds'] / one['asked']:.0f}",
        )
        for way in done
        if results[way]["asked"]
    ]
    head = (
        "a picture that was sent",
        "found (aim >= 99 %)",
        "taken for another row",
        "not among 32 candidates",
        "median distance",
        "ms a look-up",
    )
    yield from ("", *table(head, rows))
    rows = [
        (name, f"{one['called_ours']:,} of {one['asked']:,}")
        for name, one in results.items()
        if isinstance(one, dict) and "called_ours" in one and one["asked"]
    ]
    yield from ("", *table(("a foreign picture", "called ours (aim <= 3 of 30,000)"), rows))
    if "megabytes" in results:
        yield from ("", f"Memory at the most: {results['megabytes']:,.0f} MB, generator, account and index.")
