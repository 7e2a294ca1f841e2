"""One server of a model of each kind, two workers, under a path; and pages of a browser that let nothing pass by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from latentserve.service.bundle import Column, Form, Latent, Lineage, SampleSpec
from tests.browser import chromium
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request, ViewportSize

ROOT = "/gallery"
ODD = ("0_odd.id--x", "frail", "series", "ledger")
SECONDS = 60.0
WIDE: ViewportSize = {"width": 1280, "height": 900}
PEOPLE = SampleSpec(
    kind="table",
    shape=[5],
    columns=[
        Column(name="share", type="float64", decimals=2),
        Column(name="weight"),
        Column(name="children", type="int64", missing=0),
        Column(name="job", type="string", categories=["nurse", "clerk"]),
        Column(name="town", type="string", categories=[None, "north"]),
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
# What people bring: as many names as there are, in any script, with what means something in HTML, of any length.
NAMES = [
    '"><img src=x onerror=alert(1)>',
    "שלום עולם",
    'O\'Brien & "co"',
    "日本語のラベル",
    "x" * 200,
    "🦊",
    "a\u202eb",
    "<b>bold</b>",
]
SPECIES = [*NAMES, *(f"species {number}" for number in range(len(NAMES), 2000))]
PIXEL = SampleSpec(kind="image", shape=[1, 1, 1], value_range=(-1, 1), channels="L")
LEDGER = SampleSpec(
    kind="table",
    shape=[300],
    columns=[
        *(Column(name=f"reading {number}") for number in range(292)),
        Column(name="date", type="string", origin=1_700_000_000, step=86_400, form=Form(time="%d.%m.%Y")),
        Column(name="<i>price</i>", type="string", decimals=2, form=Form(prefix="$", thousands=",")),
        Column(name="עמודה", type="string", categories=["א", "ב"]),
        Column(name="w" * 120, type="string", categories=["y" * 250, "z"]),
        Column(name="id", type="int64", origin=10**15, step=1),
        Column(name="flag", type="bool", categories=[True, False]),
        Column(name="age", type="int32", categories=list(range(100))),
        Column(name="paid", type="float64", decimals=1),
    ],
)
CHIRPS = SampleSpec(kind="audio", shape=[2, 2000], sample_rate=8000)


@pytest.fixture(scope="package")
def kinds(
    bundle: Path, plain_bundle: Path, shower_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Pictures with labels and a critic (`toy`), arrays (`plain`), pictures by conditions (`shower`), rows of a table
    (`people`), sounds (`chirps`); and what else people bring: a pixel of 2,000 labels (`0_odd.id--x`), one that cannot
    be made in some rows (`frail`), series and 300 columns that are no numbers in some rows (`series`, `ledger`)."""
    made = tmp_path_factory.mktemp("kinds")
    others = [
        make_bundle(
            made / name,
            name=name,
            generator=dense_generator(
                dim=8, shape=tuple(spec.shape), labels=labels and len(labels), **faults
            ).SerializeToString(),
            critic=None,
            latent=Latent(dim=8),
            labels=labels,
            sample=spec,
            reference_samples=64,
            lineage=Lineage(evaluation=MEASURED) if name == "people" else None,
        )
        for name, spec, labels, faults in (
            ("people", PEOPLE, None, {}),
            ("chirps", CHIRPS, None, {}),
            ("0_odd.id--x", PIXEL, SPECIES, {}),
            ("frail", PIXEL, None, {"fragile": True}),
            ("series", SampleSpec(kind="array", shape=[2, 64]), None, {"poison": True}),
            ("ledger", LEDGER, None, {"poison": True}),
        )
    ]
    with Server(bundle, plain_bundle, shower_bundle, *others, workers=2, root_path=ROOT) as server:
        yield server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Of this folder's tests: while there is one an event loop is running, and others' tests run their own."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Whose pages find in the browser's cache what pages before them have loaded."""
    with browser.new_context(viewport=WIDE) as made:
        made.set_default_timeout(1000 * SECONDS)
        yield made


@pytest.fixture(scope="package")
def tab(context: BrowserContext) -> Iterator[Page]:
    """Which tests take in turns: opening and closing one takes as long as loading the page."""
    with context.new_page() as page:
        yield page


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, context: BrowserContext, tab: Page, kinds: Server) -> Iterator[Open]:
    """Open the page at a fragment: `faults=True` where the console may speak of errors. `fresh`, or with options `of`
    a context: in one of its own, which has loaded nothing before.

    At the end of the test nothing was asked of another host, and the console was silent.
    """
    asked: list[Request] = []
    said: list[str] = []
    with ExitStack() as stack:
        free = [tab]

        def new_page(fresh: bool, of: dict[str, Any]) -> Page:
            if fresh or of:
                own = stack.enter_context(browser.new_context(**{"viewport": WIDE, **of}))
                own.set_default_timeout(1000 * SECONDS)
                return stack.enter_context(own.new_page())
            if not free:
                return stack.enter_context(context.new_page())
            stack.callback(clear, tab)
            return free.pop()

        def listen(page: Page, event: str, heard: Callable[[Any], None]) -> None:
            page.on(event, heard)
            stack.callback(page.remove_listener, event, heard)

        def opened(
            fragment: str = "",
            *,
            path: str = "/ui",
            faults: bool = False,
            fresh: bool = False,
            size: ViewportSize | None = None,
            scheme: Literal["light", "dark"] | None = None,
            **of: Any,
        ) -> Page:
            page = new_page(fresh, of)
            listen(page, "request", lambda request: asked.append(request))
            if not faults:
                listen(page, "console", lambda line: line.type in ("error", "warning") and said.append(line.text))
            listen(page, "pageerror", lambda error: said.append(str(error)))
            if size is not None:
                page.set_viewport_size(size)
            if scheme is not None:
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.goto(f"{kinds.url}{path}{fragment}")
            return page

        yield opened
    own = (kinds.url, "data:", "blob:", "about:")
    # What a policy has forbidden was not asked for.
    assert [one.url for one in asked if not one.url.startswith(own) and one.failure != "csp"] == []
    assert said == []


def clear(page: Page) -> None:
    """As if it had just been opened."""
    page.unroute_all(behavior="ignoreErrors")
    page.evaluate("sessionStorage.clear(), localStorage.clear()")
    page.goto("about:blank")
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="null", reduced_motion="null")


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
