"""Train a generator, export it, serve its samples over HTTP, and know the moment they drift.

What is public is named here and loaded when it is asked for: `open_bundle` needs no torch, `export_bundle` does. All
else is private, and may change with any release. `docs/python.md` lists it.
"""

# Nothing is imported that Python has not loaded already: before `python -m latentserve` takes the working directory off
# the path, a file there would come before the standard library's.
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from latentserve.service.bundle import Condition as Condition
    from latentserve.service.bundle import Latent as Latent
    from latentserve.service.client import AsyncClient as AsyncClient
    from latentserve.service.client import Client as Client
    from latentserve.service.client import Samples as Samples
    from latentserve.service.client import ServerError as ServerError
    from latentserve.service.errors import LatentserveError as LatentserveError
    from latentserve.service.opened import OpenedBundle as OpenedBundle
    from latentserve.service.opened import open_bundle as open_bundle
    from latentserve.service.sampling.latents import draw_conditions as draw_conditions
    from latentserve.service.sampling.latents import draw_labels as draw_labels
    from latentserve.service.sampling.latents import draw_latents as draw_latents
    from latentserve.training.export import export_bundle as export_bundle

__version__ = "0.1.0"

# ONNX Runtime reports home, and writes into it, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The repository keeps `service` and `training` at its top, and this folder holds links to them. `bentoml build` copies
# no links: in a bento the parts of the package lie beside this folder.
if not os.path.isdir(os.path.join(os.path.dirname(__file__), "service")):  # noqa: PTH112, PTH118, PTH120
    __path__.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120

_PUBLIC = {
    "AsyncClient": "latentserve.service.client",
    "Client": "latentserve.service.client",
    "Condition": "latentserve.service.bundle",
    "Latent": "latentserve.service.bundle",
    "LatentserveError": "latentserve.service.errors",
    "OpenedBundle": "latentserve.service.opened",
    "Samples": "latentserve.service.client",
    "ServerError": "latentserve.service.client",
    "draw_conditions": "latentserve.service.sampling.latents",
    "draw_labels": "latentserve.service.sampling.latents",
    "draw_latents": "latentserve.service.sampling.latents",
    "export_bundle": "latentserve.training.export",
    "open_bundle": "latentserve.service.opened",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
