"""Chromium for tests and benchmarks, or a reason why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# It asks no other host for anything, at its start either.
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_chromium() -> str:
    """Where it is. Raises FileNotFoundError."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise FileNotFoundError("Chromium is not on PATH: run .ci/browser")
    return path


@contextmanager
def launch(path: str) -> Iterator[Browser]:
    """A headless one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The same. Skips the test where it is not installed."""
    import pytest

    pytest.importorskip("playwright.sync_api")
    try:
        path = find_chromium()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with launch(path) as browser:
        yield browser
