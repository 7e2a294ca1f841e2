"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference.alerts
import reference.http
import reference.settings
from sphinx.application import Sphinx

from latentserve import __version__

project = "latentserve"
release = version = __version__
html_title = f"latentserve {__version__}"
html_theme = "furo"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#146c5c", "color-brand-content": "#146c5c"},
    "dark_css_variables": {"color-brand-primary": "#5fd3bb", "color-brand-content": "#5fd3bb"},
}
html_show_copyright = html_show_sphinx = html_copy_source = False
extensions = ["myst_parser", "sphinx_click"]
exclude_patterns = ["**/__pycache__"]
myst_heading_anchors = 3
# Commands in a page are of several programs, and output of none is highlighted.
highlight_language = "text"

# What stands in a page for what the code says of itself.
GENERATED = {
    "<!-- alerts -->": reference.alerts.table,
    "<!-- http -->": reference.http.operations,
    "<!-- settings -->": reference.settings.table,
}
RESULT = re.compile(r"\[([^]]+)\]\((?:\.\./)+benchmarks/results/([\w-]+)\.md\)")


def _read(_app: Sphinx, _name: str, source: list[str]) -> None:
    for mark, made in GENERATED.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, made())
    # The results of benchmarks are pages here, too: `results` is a link to them.
    source[0] = RESULT.sub(r"{doc}`\1 </results/\2>`", source[0])


def setup(app: Sphinx) -> None:
    """Fill pages in as they are read."""
    app.connect("source-read", _read)
