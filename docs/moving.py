"""The moving picture of the README: `python -m docs.moving BUNDLE`, of real samples and of a drift that is caught.

First samples of the bundle, each on its way from one row to another. Then two real servers are asked for rows: of the
bundle, and of the same one with a fault that its golden probes do not see: of one label it gives another's. What is
drawn of them is what `GET /v1/drift` says after each round of requests.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.drift.faults.bundles import drop_mode
from latentserve import Client, OpenedBundle, open_bundle
from latentserve.service.benching.target import own_server
from latentserve.service.encoding.images import contact_sheet, to_uint8

SIZE = 760, 300
GROUND, INK, FAINT, GOOD, BAD, LINE = "#101214", "#eceeec", "#8c938f", "#5fd3bb", "#ff8a80", "#2d3235"
ACROSS, DOWN = 6, 4
STEPS = 16  # frames of the first part
ROUND, ROUNDS = 250, 40  # rows of a round of requests, and rounds at the most
LOOK = 2.1  # seconds: a verdict is renewed every two
MILLISECONDS, HELD = 120, 3_500


class Seen(NamedTuple):
    """After a round: the samples [n, C, H, W] in 8 bits of the last rows, their labels, and what the verdict was."""

    samples: NDArray[np.uint8]
    labels: list[str]
    rows: int
    evidence: float
    threshold: float
    cause: str
    sentence: str


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).with_name("moving.webp"))
def main(bundle: Path, out: Path) -> None:
    """Make the picture of BUNDLE, one of pictures with labels."""
    opened = open_bundle(bundle)
    with TemporaryDirectory() as folder:
        faulty = Path(folder) / bundle.name
        drop_mode(bundle, faulty, np.random.default_rng(1))
        healthy, broken = watch(bundle, opened), watch(faulty, opened)
    frames = [*way(opened), *(drawn(healthy[: len(broken)], broken[: end + 1]) for end in range(len(broken)))]
    times = [MILLISECONDS] * (len(frames) - 1) + [HELD]
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=70, method=6)
    click.echo(f"{out}: {len(frames)} frames, {out.stat().st_size:,} bytes; {broken[-1].sentence}")


def watch(bundle: Path, opened: OpenedBundle) -> list[Seen]:
    """A server of the bundle, asked for rows until it names a cause or has seen all that it is to see."""
    names = opened.manifest.labels or []
    seen: list[Seen] = []
    with own_server(bundle) as target, Client(target.url) as server:
        while len(seen) < ROUNDS and not (seen and seen[-1].cause not in ("none", "not_enough_samples")):
            found = server.sample(n=ROUND)  # without a seed: the server's own draws
            time.sleep(LOOK)
            verdict = server.drift()[0]
            numbers = verdict["evidence"]
            one_each = (
                [found.labels.index(name) for name in names if name in (found.labels or [])] if found.labels else []
            )
            shown = [*one_each, *(row for row in range(ROUND) if row not in one_each)][: ACROSS * DOWN]
            seen.append(
                Seen(
                    to_uint8(found.array[shown], opened.manifest.sample.value_range or (-1, 1)),
                    [(found.labels or [""] * ROUND)[row] for row in shown],
                    sum(numbers["rows"].values()),
                    # Evidence that has raised an alarm starts again from nothing; the alarm stands.
                    max(*numbers["log_evidence"].values(), 1.12 * numbers["log_threshold"] * bool(numbers["alarms"])),
                    numbers["log_threshold"],
                    verdict["cause"],
                    verdict["sentence"],
                )
            )
            click.echo(f"{bundle.name}: {seen[-1].rows} rows, {seen[-1].evidence:.1f}, {seen[-1].cause}", err=True)
    return seen


def way(opened: OpenedBundle) -> list[Image.Image]:
    """Samples on their way from one row to another and back, each of one label."""
    labels = len(opened.manifest.labels or [0])
    cells = []
    for place in range(2 * ACROSS * DOWN):
        ends = [{"seed": 7, "row": place}, {"seed": 8, "row": place}]
        cells.append(opened.interpolate(ends, frames=STEPS, loop=True, label=place % labels))
    frames = []
    for step in range(STEPS):
        picture, pen = blank()
        samples = to_uint8(np.stack([cell[step] for cell in cells]), opened.manifest.sample.value_range or (-1, 1))
        paste(picture, samples, 2 * ACROSS, (20, 66, 720, 220))
        pen.text((20, 14), "A sample is an address, the same for ever", INK, font(22))
        said = f"GET /v1/models/{opened.manifest.name}/samples/7?n={len(cells)}    POST /v1/interpolations"
        pen.text((20, 42), said, GOOD, font(13))
        frames.append(picture)
    return frames


def drawn(healthy: Sequence[Seen], broken: Sequence[Seen]) -> Image.Image:
    """The faulty server's samples beside the evidence, of both."""
    picture, pen = blank()
    last = broken[-1]
    caught = last.cause not in ("none", "not_enough_samples")
    pen.text(
        (20, 14), "One class has become another. Caught." if caught else "Is it still what was exported?", INK, font(22)
    )
    pen.text((20, 42), f"GET /v1/drift, after {last.rows:,} samples served", FAINT, font(13))
    paste(picture, last.samples, ACROSS, (20, 66, 300, 182))
    left, top, right, bottom = 372, 70, 740, 230
    most_rows, most = broken[-1].rows * 1.02, max(last.threshold * 1.25, last.evidence * 1.05)
    most_rows = max(most_rows, 5_600)

    def at(one: Seen) -> tuple[float, float]:
        return left + (right - left) * one.rows / most_rows, bottom - (bottom - top) * min(one.evidence / most, 1)

    pen.line([(left, top), (left, bottom), (right, bottom)], LINE, 2)
    height = bottom - (bottom - top) * last.threshold / most
    for dash in range(left, right, 12):
        pen.line([(dash, height), (dash + 6, height)], FAINT)
    pen.text((left + 6, height - 17), "alarm: one false one in 30 days at most", FAINT, font(12))
    pen.text((left + 6, bottom + 6), "evidence, over samples served", FAINT, font(12))
    for run, colour in ((healthy[: len(broken)], GOOD), (broken, BAD)):
        points = [(float(left), float(bottom)), *map(at, run)]
        pen.line(points, colour, 3, joint="curve")
        pen.ellipse([points[-1][0] - 4, points[-1][1] - 4, points[-1][0] + 4, points[-1][1] + 4], fill=colour)
    pen.text((right - 180, bottom + 6), "as exported", GOOD, font(12))
    pen.text((right - 90, bottom + 6), "one class lost", BAD, font(12))
    words = f"{last.cause}: {last.sentence}" if caught else f"cause: {last.cause}"
    for row, line in enumerate(textwrap.wrap(words, 108)[:2]):
        pen.text((20, 258 + 17 * row), line, BAD if caught else FAINT, font(13))
    return picture


def blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", SIZE, GROUND)
    return picture, ImageDraw.Draw(picture)


def paste(picture: Image.Image, samples: NDArray[np.uint8], columns: int, where: tuple[int, int, int, int]) -> None:
    """Samples as a sheet, as large as there is room for: x, y, width, height."""
    sheet = np.moveaxis(contact_sheet(samples, columns), 0, -1)
    shown = Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet).convert("RGB")
    scale = min(where[2] / shown.width, where[3] / shown.height)
    size = round(shown.width * scale), round(shown.height * scale)
    picture.paste(shown.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS), where[:2])


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


if __name__ == "__main__":
    main()
