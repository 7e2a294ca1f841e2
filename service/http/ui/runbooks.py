"""What to look at and to do when an alert wakes somebody: the pages of `docs/runbooks`, served with the page."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import latentserve
from latentserve.service.errors import NotFoundError
from latentserve.service.http.ui.files import Content
from latentserve.service.http.ui.markdown import page_of

_PACKAGE = Path(latentserve.__file__).parent
# In an installed package they lie in it; in a checkout, and in a bento, where links are not copied, beside it.
_PLACES = (_PACKAGE / "runbooks", _PACKAGE.parent / "docs" / "runbooks")
_SUFFIX = ".md"
_BEYOND = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")  # links to pages that are not served
_ALERT = re.compile(r"(?<!# )\bLatentserve[A-Z]\w+")  # named in passing


def runbook_names() -> list[str]:
    """Of every page there is: alerts."""
    return sorted(_files())


@cache
def runbook(name: str) -> Content:
    """The page of an alert, with or without `.md` behind its name. Raises NotFoundError."""
    file = _files().get(name.removesuffix(_SUFFIX))
    if file is None:
        raise NotFoundError(f"{name[:100]!r} is no runbook; {', '.join(runbook_names())} are")
    text = _ALERT.sub(lambda found: f"[{found[0]}]({found[0]})", _BEYOND.sub(r"\1", file.read_text()))
    return Content(page_of(text, "../style.css").encode(), "text/html; charset=utf-8")


@cache
def _files() -> dict[str, Path]:
    return {file.stem: file for place in _PLACES for file in place.glob(f"Latentserve*{_SUFFIX}")}
