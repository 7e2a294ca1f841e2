"""Markdown as HTML that is safe to show: no HTML of its own, no scripts behind links, no pictures of other hosts."""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_TITLE = re.compile(r"^# (.+)$", re.M)


def to_html(text: str) -> str:
    """The HTML of a piece of Markdown."""
    rendered: str = _MARKDOWN.render(text)
    return rendered


def page_of(text: str, style: str) -> str:
    """The same as a page of its own, with a title from its first heading; `style` is the address of its style sheet."""
    found = _TITLE.search(text)
    title = html.escape(found[1]) if found else "latentserve"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="{style}">'
        f'<body class="paper"><main>{to_html(text)}</main></body></html>'
    )
