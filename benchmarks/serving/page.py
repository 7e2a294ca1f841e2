"""What the page is like to look at: how soon the first sample is seen, how evenly frames come, what tabs that nobody
looks at cost.

    python -m benchmarks page
    python -m benchmarks page --bundle demo/bundle --pictures docs/ui

A headless Chromium on the server's own machine opens the page of a 28x28 generator: each time in a context of its own,
so that nothing is in a cache. Then two samples are kept and the way from the one to the other is played, its frames
made beforehand. At last three tabs stay open and the processor time of the server is read, beside that of a server
without any. `--pictures` also writes what the pages look like.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from benchmarks.figures import Record, figure, select, shown
from benchmarks.generators import CONVOLUTIONAL_28, DIM
from benchmarks.runner import Results, table
from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import Address, ask
from latentserve.service.bundle import Latent, SampleSpec
from latentserve.service.packing.assemble import assemble_bundle
from tests.browser import find_chromium, launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TITLE = "What the page is like to look at"
SHORT = True

FIRST_SECONDS, FRAME_MS, IDLE_SHARE, FIRST_BYTES = 1.0, 17.0, 0.01, 150_000
_START_SECONDS = 60.0
_FRAMES_SECONDS = 5.0
_TABS = 3
_COLOURS = 128  # of a picture
_POLLS_MS = 5_000.0  # rates are told from the second document on
_SEEN = """() => new Promise(seen => {
  const look = () => {
    const image = [...document.querySelectorAll('#wall img')].find(one => one.complete && one.naturalWidth);
    if (!image) return requestAnimationFrame(look);
    const sent = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    requestAnimationFrame(() => seen([performance.now(), sent.reduce((sum, one) => sum + one.transferSize, 0)]));
  };
  look();
})"""
_FRAMES = """milliseconds => new Promise(done => {
  const found = [], first = performance.now();
  let before = first;
  const next = now => {
    found.push(now - before);
    before = now;
    if (now - first < milliseconds) requestAnimationFrame(next);
    else done(found.slice(2));
  };
  requestAnimationFrame(next);
})"""
_JUDGED = """async () => {
  const body = {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"n": 6000}'};
  await (await fetch('v1/samples?format=raw', body)).arrayBuffer();
  for (;;) {
    const {models} = await (await fetch('v1/drift')).json();
    if (models[0].cause !== 'not_enough_samples') return;
    await new Promise(later => setTimeout(later, 500));
  }
}"""
_PHONE, _DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 860}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="to look at, instead of an untrained generator")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="for pictures of the pages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="that tabs are open for")


def measure(given: argparse.Namespace, results: Results) -> None:
    """First samples, frames and idle tabs, in turn. Raises AbsentError: there is no Chromium."""
    rounds, seconds = (1, 5.0) if given.short else (given.rounds, given.seconds)
    records: list[Record] = []
    results |= {"rounds": rounds, "seconds": seconds, "records": records}
    try:
        path = find_chromium()
    except FileNotFoundError as error:
        raise AbsentError(str(error)) from None
    with (
        tempfile.TemporaryDirectory(prefix="page-") as folder,
        _served(Path(folder), given.bundle) as (url, pid),
        launch(path) as browser,
    ):
        if given.pictures is not None:
            _draw(browser, url, given.pictures)
        for repetition in range(rounds):
            for name, found in (
                ("first", _first(browser, url)),
                ("frames", _frames(browser, url)),
                ("idle", {"share": _share(pid, seconds)}),
                ("tabs", _tabs(browser, url, pid, seconds)),
            ):
                records.append({"repetition": repetition, "of": name, **found})
            results.save()


@contextmanager
def _served(folder: Path, bundle: Path | None) -> Iterator[tuple[str, int]]:
    """The URL of a server of one worker, and the worker's process."""
    if bundle is None:
        bundle = folder / "bundle"
        spec = SampleSpec(kind="image", shape=[1, 28, 28], value_range=(-1, 1), channels="L")
        generator = CONVOLUTIONAL_28.build().SerializeToString()
        assemble_bundle(
            bundle, name="digits", generator=generator, latent=Latent(dim=DIM), sample=spec, reference_samples=500
        )
    port, log = free_port(), folder / "log"
    command = [*program(), "serve", str(bundle.resolve()), "--port", str(port)]
    with process_group(command, log, os.environ | {"BENTOML_HOME": str(folder)}) as process:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and process.poll() is None:
            try:
                if ask(Address(port), b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n", 5)[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        else:
            raise AbsentError(f"the server did not answer; its last line: {last_line(log)}")
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield f"http://127.0.0.1:{port}/ui", int(worker)


@contextmanager
def _opened(browser: Browser, url: str, **of: Any) -> Iterator[Page]:
    context = browser.new_context(viewport=_DESK, **of)
    try:
        page = context.new_page()
        page.goto(url, wait_until="commit")
        yield page
    finally:
        context.close()


def _first(browser: Browser, url: str) -> dict[str, float]:
    """Seconds from the navigation until the first sample is there, and bytes that were sent by then."""
    with _opened(browser, url) as page:
        milliseconds, sent = page.evaluate(_SEEN)
    return {"seconds": milliseconds / 1000, "bytes": sent}


def _frames(browser: Browser, url: str) -> dict[str, float]:
    """Milliseconds from frame to frame while a path is played: the median, and the longest but one in a hundred."""
    with _opened(browser, url) as page:
        page.wait_for_selector("#wall[aria-busy=false]")
        for place in (0, 1):
            page.locator("#wall .keep").nth(place).click()
        page.click("#between")
        page.click("#between-play")
        found = page.evaluate(_FRAMES, 1000 * _FRAMES_SECONDS)
    return {"median_ms": statistics.median(found), "p99_ms": statistics.quantiles(found, n=100)[98]}


def _tabs(browser: Browser, url: str, pid: int, seconds: float) -> dict[str, float]:
    """The same of open tabs: of each page one."""
    with (
        _opened(browser, f"{url}#play") as first,
        _opened(browser, f"{url}#model") as second,
        _opened(browser, f"{url}#health") as third,
    ):
        for page, there in ((first, "#wall[aria-busy=false]"), (second, ".facts"), (third, ".verdict")):
            page.wait_for_selector(there)
        time.sleep(3)
        return {"share": _share(pid, seconds)}


def _share(pid: int, seconds: float) -> float:
    """Of a core that a process takes."""

    def used() -> float:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    time.sleep(seconds)
    return (used() - before) / (time.monotonic() - began)


def _draw(browser: Browser, url: str, folder: Path) -> None:
    """Pictures of every page, in the light and in the dark, and on a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(browser, url) as page:
        page.evaluate(_JUDGED)
    for name, fragment, there in (
        ("playground", "#play?seed=7", "#wall[aria-busy=false]"),
        ("model", "#model", ".prose table"),
        ("health", "#health", ".verdict"),
    ):
        for scheme in ("light", "dark"):
            with _opened(browser, url + fragment, color_scheme=scheme) as page:
                page.wait_for_selector(there)
                if name == "health":
                    page.wait_for_timeout(_POLLS_MS)
                _save(page, folder / f"{name}-{scheme}.png")
    with _opened(browser, f"{url}#verify") as page:
        page.wait_for_selector(".drop")
        picture = page.request.post(f"{url.removesuffix('ui')}v1/samples?format=png", data={"n": 9, "seed": 7}).body()
        page.set_input_files("#file", {"name": "found.png", "mimeType": "image/png", "buffer": picture})
        page.wait_for_selector("#found .verdict")
        _save(page, folder / "verify-light.png")
    with _opened(browser, f"{url}#play?seed=7", reduced_motion="reduce") as page:
        page.wait_for_selector("#wall[aria-busy=false]")
        for place in (0, 4):
            page.locator("#wall .keep").nth(place).click()
        page.click("#between")
        page.fill("#between-place", "14")
        _save(page, folder / "interpolation-light.png")
        page.set_viewport_size(_PHONE)  # type: ignore[arg-type]
        page.reload()
        page.wait_for_selector("#wall[aria-busy=false]")
        _save(page, folder / "phone-light.png")


def _save(page: Page, path: Path) -> None:
    """What is seen, in as few bytes as it takes."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(_COLOURS).save(path, optimize=True)


def report(results: Results) -> list[str]:
    """The page's lines."""
    records = results["records"]

    def of(name: str, key: str) -> Any:
        return figure(record[key] for record in select(records, of=name))

    tabs, idle = of("tabs", "share"), of("idle", "share")
    rows = [
        ["first sample after navigation, s", shown(of("first", "seconds"), FIRST_SECONDS), f"{FIRST_SECONDS:g}"],
        ["bytes sent by then", shown(of("first", "bytes"), FIRST_BYTES), f"{FIRST_BYTES:,}"],
        ["from frame to frame, median, ms", shown(of("frames", "median_ms"), FRAME_MS), f"{FRAME_MS:g}"],
        ["the same, 99 of 100, ms", shown(of("frames", "p99_ms")), ""],
        [f"of a core, a worker with {_TABS} idle tabs, %", _percent(tabs), ""],
        ["the same without any, %", _percent(idle), ""],
        ["what the tabs take, %", _percent(_less(records)), f"{100 * IDLE_SHARE:g}"],
    ]
    return [
        f"Medians over {results['rounds']} repetitions, with the least and the greatest; tabs are open for "
        f"{results['seconds']:g} s, one of each page.",
        "",
        *table(("", "measured", "at the most"), rows),
    ]


def _less(records: list[Record]) -> Any:
    idle = {record["repetition"]: record["share"] for record in select(records, of="idle")}
    return figure(record["share"] - idle[record["repetition"]] for record in select(records, of="tabs"))


def _percent(found: Any) -> str:
    if found is None:
        return "not measured"
    return f"{100 * found.median:.2f} [{100 * found.low:.2f}-{100 * found.high:.2f}]"
