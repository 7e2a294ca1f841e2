"""The command line: finds its commands by entry point, so that what is not installed is not needed."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import entry_points

import click

from latentserve import __version__
from latentserve.service.environment import could_be_setting, unknown_settings
from latentserve.service.errors import LatentserveError


class _Commands(click.Group):
    """Commands loaded when they are named: `latentserve sample` should not wait for `train` to import."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(entry.name for entry in entry_points(group="latentserve.commands"))

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        for entry in entry_points(group="latentserve.commands", name=name):
            command: click.Command = entry.load()
            return command
        return None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="latentserve")
def cli() -> None:
    """Train a generator, export it, serve its samples over HTTP, and know the moment they drift."""
    stated = [name for name, value in os.environ.items() if could_be_setting(name, value)]
    if stated:
        from latentserve.service.settings import Settings  # takes as long as a command that needs none of them

        for line in unknown_settings(stated, Settings.model_fields):
            click.echo(f"latentserve: {line}", err=True)


def main() -> None:
    """Run a command; a user's mistake is one line on standard error and a non-zero exit."""
    # The first process of a container ignores SIGTERM until it says otherwise; servers and training say it later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cli.main(prog_name="latentserve", standalone_mode=True)
    except LatentserveError as error:
        click.echo(f"latentserve: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
