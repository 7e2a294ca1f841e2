"""`--key`, of commands that ask a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from latentserve.service.client.server import KEY

Command = TypeVar("Command", bound=Callable[..., Any])


def key_option(command: Command) -> Command:
    """The option; others on the machine may read what is stated in it."""
    return click.option(
        "--key", metavar="KEY", help=f"That a server at a URL asks for. Better: the variable {KEY}, which nobody reads."
    )(command)
