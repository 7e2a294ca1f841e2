"""Does the pipeline keep up with the networks, how soon does a run begin, and how much memory does looking at it take?

    python -m benchmarks pipeline [--only speed start memory]

*Speed*: images a second of our loop over a bare PyTorch loop of the same networks, taking turns in one process as
`training-speed` has it: the recipe `pictures-64` (R3GAN's networks, relativistic loss, R1 + R2) without alterations of
pictures and without a held-out part, which the bare loop has none of. That one holds the data in memory as float32,
ours maps bytes that were decoded before. So many images that a tick is among them.

*Start*: 70,000 pictures of 64x64 pixels as PNG files in a folder, `latentserve train` on them twice: from the command
until the first line of statistics is written, which is after the first step, at first when they have to be decoded,
then from what was kept. Networks are narrow and the batch is small, for it is not their time that is asked for.

*Memory*: the largest resident size that Linux has seen (VmHWM) of a process of its own each: `latentserve evaluate`
and `latentserve export` of a run, and a run in training of one step that is looked at once, on pictures of 3x256x256
and on 1,000 labels of 3x64x64, a quarter of them held out. Networks are as narrow as can be. Pages of mapped files
count.

Pictures are random shades that are smooth, so that they compress as photographs do; nothing is learnt of them. What is
written down already is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.environments import AbsentError
from benchmarks.figures import decimals
from benchmarks.runner import Results, table
from benchmarks.training import speed
from latentserve.training.data import Dataset, cache
from latentserve.training.recipe import load_config

TITLE = "The pipeline of training"
RESUMES = True
SHORT = True

AIM, SECONDS, BYTES = 0.95, 10.0, 4_000_000_000
PARTS = ("speed", "start", "memory")
PICTURES, FEW = 70_000, 3_000
IMAGES = 4_800  # of each loop; a tick of the recipe is 4,000
CASES = {"3x256x256": (256, 1, 3_000), "1,000 labels of 3x64x64": (64, 1_000, 40_000)}  # side, labels, pictures
TASKS = ("watch", "evaluate", "export")

RECIPE = "pictures-64"
BARE = ("augment=[]", "hold_out=0", "supervise='act'")
QUICK = ("batch=8", "tick=256")  # of the short form
NARROW = ("width=4", "widest=8", "latent=16")
ONE_STEP = ("batch=4", "images=4", "tick=4", "snapshot=4", "hold_out=0.25")

_WAIT = 1_800


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="of the parts")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Part by part; what is written down already is passed over."""
    with tempfile.TemporaryDirectory(prefix="latentserve-pipeline-") as name:
        folder = Path(name)
        if "speed" in given.only and "speed" not in results:
            results["speed"] = speed_of(folder, given.short)
            results.save()
            _say(f"speed: {results['speed']['wall']}")
        if "start" in given.only and "start" not in results:
            results["start"] = start_of(folder, FEW if given.short else PICTURES)
            results.save()
            _say(f"start: {results['start']}")
        if "memory" in given.only:
            found = results.setdefault("memory", [])
            for case, (side, labels, count) in CASES.items():
                tasks = [task for task in TASKS if not any((one["case"], one["task"]) == (case, task) for one in found)]
                if not tasks:
                    continue
                few = count // 10 if given.short else count
                run = Watched(folder / str(side), side, labels, few, given.short)
                for task in tasks:
                    found.append({"case": case, "pictures": few, "task": task, **run.measured(task)})
                    results.save()
                    _say(f"memory: {found[-1]}")


def report(results: Results) -> list[str]:
    lines = []
    if found := results.get("speed"):
        ratios, wall = found["turn_ratios"], found["wall"]
        lines += [
            f"Images a second over a bare loop of the same networks at 3x64x64; aim {AIM:g}.",
            "",
            *table(
                ("images of each", "ours, images/s", "bare, images/s", "ratio", "ratio in CPU time", "turns"),
                [
                    (
                        f"{found['images']:,}",
                        *(f"{wall[of]:.1f}" for of in ("ours_images_per_second", "bare_images_per_second")),
                        f"**{decimals(wall['ratio'], 3, AIM)}**",
                        decimals(found["processor"]["ratio"], 3, AIM),
                        f"{np.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {len(ratios)} turns)",
                    )
                ],
            ),
            "",
        ]
    if found := results.get("start"):
        lines += [
            f"From the command until the first step is done, {found['pictures']:,} pictures of 3x64x64 in a folder; "
            f"aim {SECONDS:g} s from what was kept.",
            "",
            *table(
                ("to be decoded, s", "kept, s", "kept, MB"),
                [(f"{found['decoded_s']:.1f}", f"**{found['kept_s']:.1f}**", f"{found['kept_bytes'] / 1e6:,.0f}")],
            ),
            "",
        ]
    if found := results.get("memory"):
        rows = [
            (one["case"], f"{one['pictures']:,}", one["task"], _gb(one["peak_bytes"]), f"{one['seconds']:.0f}")
            for one in found
        ]
        lines += [
            f"The largest resident size of a process; aim {BYTES / 1e9:g} GB.",
            "",
            *table(("pictures", "how many", "what", "GB", "s"), rows),
        ]
    return lines


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f}{'' if size <= BYTES else ' (missed)'}"


def speed_of(folder: Path, short: bool) -> dict[str, Any]:
    """Both loops in turn, of data that are mapped."""
    config = load_config(RECIPE, (*BARE, *(QUICK if short else ())))
    images = IMAGES // 8 if short else IMAGES
    _say(f"speed: {images:,} images of each loop")
    rng = np.random.default_rng(0)
    path = folder / "samples.npy"
    np.save(path, rng.integers(0, 256, (4_000, 3, 64, 64), np.uint8))
    dataset = Dataset("random", np.load(path, mmap_mode="r"), np.zeros(4_000, np.int64), [], stored_range=(0, 255))
    return speed.in_turns(config, dataset, None, images)


def start_of(folder: Path, count: int) -> dict[str, Any]:
    """Seconds until the first step, twice."""
    data, place = folder / "many", folder / "kept"
    _say(f"start: writing {count:,} pictures")
    write_pictures(data, count, side=64, labels=1)
    seconds = []
    for run in ("first", "second"):
        _say(f"start: the {run} time")
        seconds.append(_until_a_line(data, folder / run, place))
    kept = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return {
        "pictures": count,
        "decoded_s": round(seconds[0], 1),
        "kept_s": round(seconds[1], 1),
        "kept_bytes": kept,
    }


def _until_a_line(data: Path, run: Path, place: Path) -> float:
    """Of the statistics, the first of which is written after the first step."""
    words = ("train", RECIPE, "--data", data, *_set(*NARROW, "batch=8", "tick=8"), "--out", run)
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "latentserve", *map(str, words)], env=_environment(place), stderr=told
        ) as process,
    ):
        began = time.monotonic()
        try:
            while not (run / "stats.jsonl").exists() or not (run / "stats.jsonl").read_bytes().endswith(b"\n"):
                if process.poll() is not None or time.monotonic() - began > _WAIT:
                    told.seek(0)
                    last = (told.read().strip() or "no message").splitlines()[-1]
                    raise AbsentError(f"train: no step was done: {last}")
                time.sleep(0.02)
            return time.monotonic() - began
        finally:
            process.kill()


class Watched:
    """A run of one step on pictures of one size, and what processes take that look at it."""

    def __init__(self, folder: Path, side: int, labels: int, count: int, short: bool) -> None:
        """Draw the pictures, and decode them, which is not what is measured."""
        self._folder, self._side, self._short = folder, side, short
        _say(f"memory: writing {count:,} pictures of {side} pixels and {labels:,} labels")
        write_pictures(folder / "data", count, side, labels)
        self._run("train", "decoded")

    def measured(self, task: str) -> dict[str, Any]:
        """The peak of its process in bytes, and seconds. Raises AbsentError: it ended in another way."""
        if task != "watch" and not (self._folder / "run").exists():
            self._run("train", "run")
        began = time.monotonic()
        peak = self._run("train", "run") if task == "watch" else self._run(task, task)
        return {"peak_bytes": peak, "seconds": round(time.monotonic() - began, 1)}

    def _run(self, command: str, out: str) -> int:
        data = ("--data", self._folder / "data")
        words: tuple[object, ...] = (command, self._folder / "run", *data, "--out", self._folder / out)
        if command == "train":
            chosen = _set(*NARROW, *ONE_STEP, f"size={self._side}")
            words = (command, RECIPE, *data, *chosen, "--out", self._folder / out)
        elif command == "export" and self._short:
            words += ("--reference-samples", 200)
        return _peak_of(words, self._folder / "kept")


def _peak_of(words: tuple[object, ...], place: Path) -> int:
    """Of `latentserve WORDS`, in bytes, as the process finds it when it ends."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "benchmarks.packing.watched", *map(str, words)],
            env=_environment(place),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=_WAIT,
        )
    except subprocess.TimeoutExpired as error:
        raise AbsentError(f"{words[0]}: not done within {error.timeout:.0f} s") from None
    if done.returncode:
        raise AbsentError(f"{words[0]}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])


def _set(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def _environment(place: Path) -> dict[str, str]:
    return {**os.environ, cache.PLACE: str(place)}


def _say(text: str) -> None:
    print(text, flush=True)


def write_pictures(folder: Path, count: int, side: int, labels: int) -> None:
    """So many smooth pictures in colour, in a folder for each label."""
    for label in range(labels):
        (folder / f"c{label:04d}").mkdir(parents=True)
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as pool:
        for _ in pool.map(_write, [(folder, start, count, side, labels, cores) for start in range(cores)]):
            pass


def _write(given: tuple[Path, int, int, int, int, int]) -> None:
    folder, start, count, side, labels, step = given
    rng = np.random.default_rng(start)
    for row in range(start, count, step):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        picture = small.resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"c{row % labels:04d}" / f"{row:06d}.png", compress_level=1)
