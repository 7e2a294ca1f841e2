"""Pages that hold everything they need, and that a browser lets do nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_HERE = Path(__file__).parent


def environment(folder: Path, script: Path) -> Environment:
    """Templates of a folder, which find in `head` the style of all pages and the policy that lets this style and the
    one script run and nothing else: nothing is loaded, sent, framed or evaluated. `script` is the element of it."""
    style, code = (_HERE / "page.css").read_text(), script.read_text()
    templates = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{_hash(style)}'; script-src '{_hash(code)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head: Sequence[str] = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">',
        f"<style>{style}</style>",
    )
    templates.globals["head"] = Markup("\n".join(head))  # noqa: S704, files of the package
    templates.globals["script"] = Markup(f"<script>{code}</script>")  # noqa: S704
    return templates


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
