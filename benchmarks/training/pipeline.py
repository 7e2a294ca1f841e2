"""Does the pipeline keep up with the networks, how soon does a run begin, and how much memory does looking at it take?

    python -m benchmarks pipeline [--only speed start memory]

*Speed*: images a second of our loop over a bare PyTorch loop of the same networks, taking turns in one process as
`training-speed` has it; networks, losses and penalties are R3GAN's in kind (residual, without normalisation,
relativistic, R1 + R2), at 3x64x64. The bare loop holds the data in memory as float32, ours maps bytes that were
decoded before.

*Start*: 70,000 pictures of 64x64 pixels as PNG files in a folder, `latentserve train` on them twice: from the command
until the first step of training is done, at first when they have to be decoded, then from what was kept.

*Memory*: the largest resident size that Linux has seen (VmHWM) of a process of its own each: `latentserve evaluate`
and `latentserve export` of a run, and the watch of a run in training, made and asked once, on pictures of 3x256x256
and on 1,000 labels of 3x64x64. Pages of mapped files count.

Networks are as narrow as can be where only memory is measured. Pictures are random shades that are smooth, so that they
compress as photographs do; nothing is learnt of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
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

TITLE = "The pipeline of training"
RESUMES = True
SHORT = True

AIM, SECONDS, BYTES = 0.95, 10.0, 4_000_000_000
PARTS = ("speed", "start", "memory")
PICTURES, FEW = 70_000, 3_000
IMAGES = 3_200  # of each loop
CASES = {"3x256x256": (256, 1, 3_000), "1,000 labels of 3x64x64": (64, 1_000, 40_000)}  # side, labels, pictures
TASKS = ("watch", "evaluate", "export")

_WAIT = 1_800
_RECIPE = """
data: files
network: residual
width: {width}
latent: 64
loss: relativistic
gamma: {{start: 1.0, end: 0.1}}
images: {images}
batch: {batch}
lr: {{start: 2e-4, end: 5e-5}}
beta1: 0.0
beta2: {{start: 0.9, end: 0.99}}
ema_half_life: {{start: 0, end: 20000}}
tick: {tick}
snapshot: {images}
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="of the parts")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Part by part."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "speed" in given.only:
            results["speed"] = speed_of(folder, IMAGES // 8 if given.short else IMAGES)
            results.save()
        if "start" in given.only:
            results["start"] = start_of(folder, FEW if given.short else PICTURES)
            results.save()
        if "memory" in given.only:
            results["memory"] = []
            for case, (side, labels, count) in CASES.items():
                results["memory"] += memory_of(folder, case, side, labels, count // 10 if given.short else count)
                results.save()


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


def speed_of(folder: Path, images: int) -> dict[str, Any]:
    """Both loops in turn, over so many images of data that are mapped."""
    recipe = write_recipe(folder, width=16, batch=32, images=200_000, tick=4_000)
    rng = np.random.default_rng(0)
    path = folder / "samples.npy"
    np.save(path, rng.integers(0, 256, (4_000, 3, 64, 64), np.uint8))
    dataset = Dataset("random", np.load(path, mmap_mode="r"), np.zeros(4_000, np.int64), [], stored_range=(0, 255))
    return speed.in_turns(speed.load_config(str(recipe), ("supervise='act'",)), dataset, None, images)


def start_of(folder: Path, count: int) -> dict[str, Any]:
    """Seconds until the first step, twice."""
    data, place = folder / "many", folder / "kept"
    write_pictures(data, count, side=64, labels=1)
    recipe = write_recipe(folder, width=16, batch=8, images=200_000, tick=8)
    seconds = [_until_a_line(recipe, data, folder / run, place) for run in ("first", "second")]
    kept = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return {
        "pictures": count,
        "decoded_s": round(seconds[0], 1),
        "kept_s": round(seconds[1], 1),
        "kept_bytes": kept,
    }


def _until_a_line(recipe: Path, data: Path, run: Path, place: Path) -> float:
    """Of the statistics, the first of which is written after the first step."""
    began = time.monotonic()
    command = _command("train", recipe, "--data", data, "--out", run)
    with subprocess.Popen(command, env=_environment(place), stderr=subprocess.DEVNULL) as process:
        try:
            while not (run / "stats.jsonl").exists() or not (run / "stats.jsonl").read_bytes().endswith(b"\n"):
                if process.poll() is not None or time.monotonic() - began > _WAIT:
                    raise AbsentError(f"train: ended with {process.returncode} and no step was done")
                time.sleep(0.02)
            return time.monotonic() - began
        finally:
            process.send_signal(signal.SIGKILL)


def memory_of(folder: Path, case: str, side: int, labels: int, count: int) -> list[dict[str, Any]]:
    """The peaks of a run of one step that is watched, evaluated, and exported."""
    data, run, place = folder / f"data-{side}", folder / f"run-{side}", folder / "kept"
    write_pictures(data, count, side, labels)
    recipe = write_recipe(folder, width=8, batch=4, images=4, tick=4)
    words = {
        "watch": ("train", recipe, "--data", data, "--out", run),
        "evaluate": ("evaluate", run, "--data", data, "--out", folder / f"report-{side}"),
        "export": ("export", run, "--data", data, "--out", folder / f"bundle-{side}", "--reference-samples", 200),
    }
    # What was decoded is there already: here it is not the decoding that is measured.
    _run(("train", recipe, "--data", data, "--out", folder / f"other-{side}"), place)
    found = []
    for task in TASKS:
        began = time.monotonic()
        peak = _run(words[task], place)
        seconds = round(time.monotonic() - began, 1)
        found.append({"case": case, "pictures": count, "task": task, "peak_bytes": peak, "seconds": seconds})
        print(json.dumps(found[-1]), flush=True)
    return found


def _run(words: tuple[object, ...], place: Path) -> int:
    """The peak of `latentserve WORDS`, in bytes, as the process finds it when it ends."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks.packing.watched", *map(str, words)],
        env=_environment(place),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=_WAIT,
    )
    if done.returncode:
        raise AbsentError(f"{words[0]}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])


def _command(*words: object) -> list[str]:
    return [sys.executable, "-P", "-m", "latentserve", *map(str, words)]


def _environment(place: Path) -> dict[str, str]:
    return {**os.environ, cache.PLACE: str(place)}


def write_recipe(folder: Path, **fields: int) -> Path:
    """A recipe of R3GAN's kind."""
    path = folder / f"w{fields['width']}b{fields['batch']}t{fields['tick']}.yaml"
    path.write_text(_RECIPE.format(**fields))
    return path


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
