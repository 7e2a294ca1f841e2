"""The settings of the server, from the class that reads them."""

from __future__ import annotations

from latentserve.service.settings import settings_table


def table() -> str:
    """Markdown: a row for each."""
    return settings_table()
