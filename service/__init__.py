"""The server, and the bundle format it shares with training. Nothing here knows of torch."""

from importlib.metadata import version

__version__ = version("latentserve")
