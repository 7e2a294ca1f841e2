"""Pictures stripped of all marks, found among what an account says was sent; and foreign ones, that are not.

    python -m benchmarks lookup BUNDLE --real FILE.npz [--rows 100000] [--asked 2000] [--foreign 2000] [--short]

An account is written of so many rows, in answers of 50, by the server's own code. `latentserve audit index` makes their
features. Then pictures are looked up: rows that were sent, each as it is, as JPEG of quality 75, resized by 0.8, cut
by a tenth of each side at a random place, and all three; and foreign ones, half of them rows of the same generator
that nobody was sent, half real pictures, uint8 [N, H, W, C] or [N, H, W] named `samples` in FILE, each as they are or
with all three. A filter of resizing is drawn for each (bilinear, bicubic, Lanczos). Found is whose row is right.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.runner import Results, table
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditLog
from latentserve.service.auditing.trail import Trail
from latentserve.service.bundle import read_bundle
from latentserve.service.encoding.images import pixels
from latentserve.service.finding.control import control
from latentserve.service.finding.indexing import index_rows
from latentserve.service.finding.lookup import lookup
from latentserve.service.finding.served import Served
from latentserve.service.opened import OpenedBundle
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.verifying.content import Content
from latentserve.service.verifying.reading import Limits, read_file
from latentserve.service.verifying.verdict import Verified, concluded

TITLE = "Pictures without marks, found by the account"
SHORT = True

_ANSWER_ROWS = 50
_WAYS = ("as it is", "JPEG 75", "resized by 0.8", "cut by 10 %", "all three")
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_FOREIGN_SEED = 1 << 40
_LIMITS = Limits(1 << 26, 1)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--about", default="", help="of the generator, for the page")
    parser.add_argument("--real", type=Path, help="pictures that it was trained on, or such as those")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=2000, help="rows that are looked up in each way")
    parser.add_argument("--foreign", type=int, default=2000)


def measure(given: argparse.Namespace, results: Results) -> None:
    rows, asked, foreign = (2000, 40, 40) if given.short else (given.rows, given.asked, given.foreign)
    bundle = OpenedBundle(read_bundle(given.bundle))
    manifest = bundle.manifest
    results |= {"name": manifest.name, "shape": list(manifest.sample.shape), "rows": rows, "about": given.about}
    with tempfile.TemporaryDirectory(prefix="lookup-") as here:
        folder = Path(here) / "account"
        account = Account(AuditLog(folder), "refuse", keep=True)
        for number in range(rows // _ANSWER_ROWS):
            request = RowsRequest(_ANSWER_ROWS, number)
            account.sent(f"r-{number}", None, "/v1/samples", manifest, request, _ANSWER_ROWS, "image/png")
        account.close()
        began = time.perf_counter()
        index_rows(bundle, Trail(folder))
        made = time.perf_counter() - began
        served = Served(Trail(folder), manifest)
        began = time.perf_counter()
        control(bundle, served)
        size = sum(path.stat().st_size for path in folder.glob("*.features"))
        results["index"] = {
            "rows_per_second": rows / made, "bytes_per_row": size / rows,
            "control_seconds": time.perf_counter() - began,
            "control_nearest": None if (near := served.control) is None else near.nearest,
        }  # fmt: skip
        results.save()
        random = np.random.default_rng(0)
        for way in _WAYS:
            results[way] = _sent(bundle, folder, random, way, rows, asked)
            results.save()
        for kind in ("rows that were not sent", "real pictures"):
            for way in ("as it is", "all three"):
                images = _foreign(bundle, given.real, kind, foreign // 4)
                results[f"{kind}, {way}"] = _not_sent(bundle, folder, random, way, images)
                results.save()
        results["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _sent(
    bundle: OpenedBundle, folder: Path, random: np.random.Generator, way: str, rows: int, asked: int
) -> dict[str, Any]:
    found = wrong = 0
    shares: list[float] = []
    began = time.perf_counter()
    for number in random.choice(rows, asked, replace=False).tolist():
        seed, row = divmod(number, _ANSWER_ROWS)
        request = RowsRequest(1, seed, row)
        verified = _looked_up(bundle, folder, _changed(_pictures(bundle, request)[0], way, random))
        right = (verified.seed, verified.row) == (seed, row)
        found += verified.verdict != "no" and right
        wrong += verified.verdict != "no" and not right
        shares.append(verified.distance or 0.0)
    seconds = (time.perf_counter() - began) / asked
    return {"asked": asked, "found": found, "another_row": wrong, "seconds": seconds,
            "distance": float(np.median(shares))}  # fmt: skip


def _not_sent(
    bundle: OpenedBundle, folder: Path, random: np.random.Generator, way: str, images: list[np.ndarray[Any, Any]]
) -> dict[str, Any]:
    told = [_looked_up(bundle, folder, _changed(image, way, random)) for image in images]
    return {"asked": len(told), "called_ours": sum(one.verdict != "no" for one in told)}


def _foreign(bundle: OpenedBundle, real: Path | None, kind: str, count: int) -> list[np.ndarray[Any, Any]]:
    if kind == "rows that were not sent":
        return _pictures(bundle, RowsRequest(count, _FOREIGN_SEED))
    if real is None:
        return []
    with np.load(real, allow_pickle=False) as arrays:
        samples = arrays["samples"]
    return [np.asarray(sample).reshape(*sample.shape[:2], -1) for sample in samples[:count]]


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
            f"{one['distance']:.4f}",
            f"{1000 * one['seconds']:.0f}",
        )
        for way in done
    ]
    head = (
        "a picture that was sent",
        "found (aim >= 99 %)",
        "taken for another row",
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
