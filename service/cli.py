"""The command line: finds its commands by entry point, so that what is not installed is not needed."""

from __future__ import annotations

import logging
import os
import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules

import click

from latentserve import __version__
from latentserve.service import commands
from latentserve.service.environment import PREFIX, could_be_setting, unknown_settings
from latentserve.service.errors import LatentserveError

_GROUP = "latentserve.commands"


class _Commands(click.Group):
    """Commands loaded when they are named: `latentserve sample` should not wait for `train` to import."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(_commands())

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        entry = _commands().get(name)
        if entry is None:
            return None
        command: click.Command = entry.load()
        return command


def _commands() -> dict[str, EntryPoint]:
    """The commands by name: those of the service, which are there in a bento too, whose package is files that nobody
    installed, and those that were installed beside them."""
    names = [module.name for module in iter_modules(commands.__path__)]
    own = {name: EntryPoint(name, f"{commands.__name__}.{name}:{name}", _GROUP) for name in names}
    return own | {entry.name: entry for entry in entry_points(group=_GROUP)}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="latentserve")
def cli() -> None:
    """Train a generator, export it, serve its samples over HTTP, and know the moment they drift."""
    stated = [name for name, value in os.environ.items() if could_be_setting(name, value)]
    if stated:
        from latentserve.service.settings import Settings  # takes as long as a command that needs none of them

        for line in unknown_settings(stated, [*Settings.model_fields, "key", "data_cache"]):
            _say(line, logging.WARNING)


def main() -> None:
    """Run a command; a user's mistake is one line on standard error and a non-zero exit."""
    _have_standard_streams()
    # The first process of a container ignores SIGTERM until it says otherwise; servers and training say it later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who was told to ignore it never hears how a child ended
    try:
        cli.main(prog_name="latentserve", standalone_mode=True)
    except LatentserveError as error:
        _say(str(error), logging.ERROR)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except FileNotFoundError:
        if _has_working_directory():
            raise
        _say("the folder that this was started in is gone: name paths from / on", logging.ERROR)
        sys.exit(1)


def _say(line: str, level: int) -> None:
    """Tell a line to who typed the command; of a server whose lines are collected as JSON, it is one of them."""
    if "serve" in sys.argv[1:2] and os.environ.get(f"{PREFIX}LOG_FORMAT", "").strip() == "json":
        from latentserve.service import logs  # takes as long as a command that has no log

        logs.configure("json")
        logs.event("command", level, detail=line)
        logs.flush()
    else:
        click.echo(f"latentserve: {line}", err=True)


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _have_standard_streams() -> None:
    """Open those that are closed, as some supervisors start a command: else a socket has their number, and whoever
    writes to standard error writes to a client."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
