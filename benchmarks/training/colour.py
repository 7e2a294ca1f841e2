"""What do the recipes for colour pictures make of a real folder in an hour without a GPU, and is it called what it is?

    python -m benchmarks colour [--sizes 32 64] [--minutes 60] [--font NotoColorEmoji.ttf]

The pictures are those of Debian's colour emoji font (`fonts-noto-color-emoji`): some 3,900 of 136x128 pixels, drawings
on a transparent ground; the font that is installed, or else the package as `apt-get download` gives it. `pictures-32`
and `pictures-64` are trained on them as they ship, for so many minutes each whatever is left of their images then, by
the command that a user has, and evaluated and exported by the next two. Folders are kept under --runs: pictures,
`run-SIZE`, `report-SIZE`, `bundle-SIZE`. What was trained already counts: with more minutes a run goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont, TTLibError

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from benchmarks.runner import Results, table
from latentserve.training.recipe import load_config
from latentserve.training.run import CHECKPOINT, checkpoint

TITLE = "Colour pictures in an hour"
RESUMES = SHORT = True

Record = dict[str, Any]

RECIPES = {32: "pictures-32", 64: "pictures-64"}
MINUTES, FEW_MINUTES = 60.0, 0.5
PACKAGE, INSTALLED = "fonts-noto-color-emoji", Path("usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
# Statistics of the report, in their order; of those that are measured in several feature spaces the first one's.
SHOWN = ("frechet", "precision", "recall", "coverage", "holes", "c2st", "c2st_pixels", "copies", "dcr", "membership")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, choices=tuple(RECIPES), nargs="+", default=list(RECIPES))
    parser.add_argument("--minutes", type=float, help=f"of training each ({MINUTES:g})")
    parser.add_argument("--threads", type=int, help="instead of the recipe's")
    parser.add_argument("--font", type=Path, help="a font with pictures (CBDT) as PNG")
    parser.add_argument("--runs", type=Path, default=Path("runs/colour"), help="where all of it is kept")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Size by size. The short form trains for half a minute each, and looks at few samples."""
    folder = given.runs / "short" if given.short else given.runs
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "emoji"
    if not data.exists():
        draw(given.font or font(given.runs), data)
    records: list[Record] = results.setdefault("records", [])
    for size in given.sizes:
        record = next((one for one in records if one["size"] == size), None)
        if record is None:
            record = {"size": size, "recipe": RECIPES[size], "pictures": sum(1 for _ in data.iterdir())}
            records.append(record)
        threads = () if given.threads is None else (f"threads={given.threads}",)
        config = load_config(RECIPES[size], threads)
        run = folder / f"run-{size}"
        train(size, data, run, given.minutes or (FEW_MINUTES if given.short else MINUTES), threads)
        header = checkpoint.read_header(run / CHECKPOINT)
        seen, seconds = header["images_seen"], header["seconds"]
        record |= {"threads": config.threads, "budget": config.images, "images": seen, "seconds": round(seconds)}
        record["images_per_second"] = round(seen / seconds, 1)
        results.save()
        if record.get("reported_at") != seen:
            few = ("--samples", 200) if given.short else ()
            report_at = folder / f"report-{size}"
            record["report_s"] = _timed("evaluate", run, "--data", data, *few, "--out", report_at)
            record |= said(json.loads((report_at / "report.json").read_text())) | {"reported_at": seen}
            results.save()
        if record.get("exported_at") != seen:
            few = ("--reference-samples", 200) if given.short else ()
            bundle = folder / f"bundle-{size}"
            shutil.rmtree(bundle, ignore_errors=True)  # of fewer images
            record["export_s"] = _timed("export", run, "--data", data, "--name", f"emoji-{size}", *few, "--out", bundle)
            record["exported_at"] = seen
            results.save()


def font(folder: Path) -> Path:
    """The installed one, or the package's, fetched into a folder. Raises AbsentError."""
    if (installed := Path("/") / INSTALLED).exists():
        return installed
    fetched = folder / "font" / INSTALLED
    if not fetched.exists():
        print(f"fetching {PACKAGE}", flush=True)
        try:
            subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, capture_output=True, timeout=300)
            (package,) = folder.glob(f"{PACKAGE}_*.deb")
            command = ["dpkg-deb", "-x", str(package), str(folder / "font")]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise AbsentError(f"{PACKAGE}: neither installed nor to be had ({error}); --font FILE names one") from None
    return fetched


def draw(path: Path, folder: Path) -> None:
    """Write the pictures of a font into a new folder, each as the PNG that it is. Raises AbsentError: it has none."""
    try:
        with TTFont(path) as opened:
            glyphs = opened["CBDT"].strikeData[-1]
            pictures = [glyphs[name].imageData for name in sorted(glyphs) if hasattr(glyphs[name], "imageData")]
    except (OSError, KeyError, TTLibError) as error:
        raise AbsentError(f"{path}: no font with pictures ({error})") from None
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for at, picture in enumerate(pictures):
        (partial / f"{at:04d}.png").write_bytes(picture)
    partial.rename(folder)
    print(f"{len(pictures):,} pictures of {path.name} in {folder}", flush=True)


def train(size: int, data: Path, run: Path, minutes: float, threads: tuple[str, ...]) -> None:
    """Train for so many minutes, those of earlier sittings among them."""
    there = run / CHECKPOINT
    trained = checkpoint.read_header(there)["seconds"] / 60 if there.exists() else 0.0
    if (left := minutes - trained) <= 0:
        return
    print(f"{RECIPES[size]}: {left:.1f} minutes; how far it is: {run / 'stats.jsonl'}", flush=True)
    sets = [word for field in (f"minutes={left:.3f}", *threads) for word in ("--set", field)]
    _run("train", RECIPES[size], "--data", data, *sets, "--out", run)


def _run(*words: object) -> None:
    """A command, which may print, and which saves when this is asked to stop. Raises AbsentError: it failed."""
    with subprocess.Popen(program() + [str(word) for word in words]) as process:
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if code:
        raise AbsentError(f"latentserve {words[0]}: ended with {code}")


def _timed(*words: object) -> float:
    began = time.monotonic()
    _run(*words)
    return round(time.monotonic() - began, 1)


def said(report: Record) -> Record:
    """Of a report.json: the verdict, and the main statistics beside their floors."""
    first = next(iter(report["features"]))
    found = report["statistics"]
    kept = {name: found.get(name) or found.get(f"{name}_{first}") for name in SHOWN}
    return {
        "grade": report["verdict"]["grade"],
        "verdict": report["verdict"]["sentence"],
        "features": first,
        "samples": report["n"],
        "held_out": report["data"]["held_out"]["samples"],
        "statistics": {
            name: {key: one[key] for key in ("value", "floor", "interval") if one.get(key) is not None}
            for name, one in kept.items()
            if one is not None
        },
    }


def report(results: Results) -> Iterator[str]:
    """The lines of the page."""
    records = results.get("records", [])
    rows = [
        (
            f"`{one['recipe']}`", f"{one['pictures']:,}", one["threads"], f"{one['seconds'] / 60:.0f}",
            f"{one['images']:,} of {one['budget']:,}", f"{one['images_per_second']:g}", one.get("grade"),
            *(None if one.get(part) is None else f"{one[part]:.0f}" for part in ("report_s", "export_s")),
        )
        for one in records if "images" in one
    ]  # fmt: skip
    yield (
        "Pictures of Debian's colour emoji font (136x128 pixels, on white), trained by the recipes as they ship and "
        "stopped by the clock; then what `latentserve evaluate` says."
    )
    head = ("recipe", "pictures", "threads", "minutes", "images seen", "images/s", "verdict", "report, s", "export, s")
    yield from ("", *table(head, rows))
    for one in records:
        if "verdict" not in one:
            continue
        yield from ("", f"## {one['size']} pixels", "", f"> {one['verdict']}", "")
        yield (
            f"{one['samples']:,} samples beside as many of the {one['held_out']:,} pictures that were held out; "
            f"features: `{one['features']}`. The floor is what other real pictures get."
        )
        shown = [
            (f"`{name}`", _number(found["value"]), _interval(found), _number(found.get("floor")))
            for name, found in one["statistics"].items()
        ]
        yield from ("", *table(("statistic", "value", "95 %", "floor"), shown))


def _interval(found: Record) -> str:
    return " to ".join(map(_number, found["interval"])) if "interval" in found else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
