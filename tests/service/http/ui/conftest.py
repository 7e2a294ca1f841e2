"""One server of a model of each kind, two workers, under a path; and pages of a browser that let nothing pass by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from latentserve.service.bundle import Column, Latent, Lineage, SampleSpec
from tests.browser import chromium
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

ROOT = "/gallery"
SECONDS = 15.0
PEOPLE = SampleSpec(
    kind="table",
    shape=[4],
    columns=[
        Column(name="share", type="float64", decimals=2),
        Column(name="weight"),
        Column(name="children", type="int64", missing=0),
        Column(name="job", type="string", categories=["nurse", "clerk"]),
    ],
)
MEASURED = {
    "frechet": 0.25,
    "privacy": {
        "dcr": {"value": 0.512, "floor": 0.498, "interval": [0.49, 0.534], "n": 10_000, "space": "columns"},
        "membership": {
            "value": 0.631, "floor": 0.503, "interval": [0.61, 0.652], "recognised": 0.12, "recognised_floor": 0.01,
        },
    },
}  # fmt: skip
CHIRPS = SampleSpec(kind="audio", shape=[2, 2000], sample_rate=8000)


@pytest.fixture(scope="session")
def kinds(
    bundle: Path, plain_bundle: Path, shower_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Pictures with labels and a critic (`toy`), arrays (`plain`), pictures by conditions (`shower`), rows of a table
    (`people`), sounds (`chirps`)."""
    made = tmp_path_factory.mktemp("kinds")
    others = [
        make_bundle(
            made / name,
            name=name,
            generator=dense_generator(dim=5, shape=tuple(spec.shape), labels=None).SerializeToString(),
            critic=None,
            latent=Latent(dim=5),
            labels=None,
            sample=spec,
            reference_samples=64,
            lineage=Lineage(evaluation=MEASURED) if name == "people" else None,
        )
        for name, spec in (("people", PEOPLE), ("chirps", CHIRPS))
    ]
    with Server(bundle, plain_bundle, shower_bundle, *others, workers=2, root_path=ROOT) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a file's tests: while there is one an event loop is running, and others' tests run their own."""
    with chromium() as found:
        yield found


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, kinds: Server) -> Iterator[Open]:
    """Open the page at a fragment, in a context of its own: `faults=True` where the console may speak of errors.

    At the end of the test nothing was asked of another host, and the console was silent.
    """
    asked: list[Request] = []
    said: list[str] = []
    with ExitStack() as stack:

        def opened(fragment: str = "", *, path: str = "/ui", faults: bool = False, **of: Any) -> Page:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **of})
            stack.callback(context.close)
            context.set_default_timeout(1000 * SECONDS)
            page = context.new_page()
            page.on("request", lambda request: asked.append(request))
            if not faults:
                page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"{kinds.url}{path}{fragment}")
            return page

        yield opened
    own = (kinds.url, "data:", "blob:")
    # What a policy has forbidden was not asked for.
    assert [one.url for one in asked if not one.url.startswith(own) and one.failure != "csp"] == []
    assert said == []


def settled(page: Page) -> None:
    """Wait until the wall is whole."""
    page.wait_for_selector("#wall[aria-busy=false]")
    assert page.locator(".failure").count() == 0, page.locator(".failure").inner_text()


def until(page: Page, expression: str) -> None:
    """Wait until an expression of JavaScript is true: the page's own policy lets Playwright's waiting evaluate none."""
    deadline = time.monotonic() + SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)
