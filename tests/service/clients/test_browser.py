"""A real browser: a picture of another server's page, and the page of the OpenAPI document."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium
from tests.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A page of another origin, and where it is: whoever adds to it is shown in it."""
    shown: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = ("<!doctype html>" + "".join(shown)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", shown
        server.shutdown()
        thread.join()


def test_an_img_shows_a_sample(browser: Browser, server: Server, elsewhere: tuple[str, list[str]]) -> None:
    url, shown = elsewhere
    samples = f"{server.url}/v1/models/toy"
    version = server.http.get("/v1/models/toy").json()["version"]
    for address in (f"{samples}/samples/7?label=3", f"{samples}/versions/{version}/samples/7?n=4&format=webp"):
        shown.append(f'<img src="{address}">')
    page = browser.new_page()
    page.goto(url, wait_until="load")
    sizes = page.eval_on_selector_all("img", "all => all.map(one => [one.naturalWidth, one.naturalHeight])")
    assert sizes == [[8, 8], [18, 18]]
    page.close()


def test_the_page_of_the_document(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{server.url}/docs")
    page.get_by_text("Draw samples.").wait_for()
    assert all(url.startswith((server.url, "data:")) for url in asked)
    assert faults == []
    page.close()
