"""What a worker of `latentserve serve` runs: our application, and BentoML's behind it."""

from __future__ import annotations

from starlette.types import ASGIApp

from latentserve.service.host.group import Group
from latentserve.service.http.application import Application
from latentserve.service.http.deferred import Deferred
from latentserve.service.process import SERVING


def application(group: Group) -> Application:
    """Our application outermost.

    Its lifespan loads the models before it says `lifespan.startup.complete`, or `lifespan.startup.failed` with one line
    of cause. `group` says how all workers of the server are.
    """
    return Application(Deferred(_bentoml), SERVING, group)


def _bentoml() -> ASGIApp:
    """BentoML's application: its route `/sample`, and its pages. Importing it takes half of the time in which a worker
    starts, so those wait who ask for it."""
    from latentserve.service.app import Latentserve

    Latentserve.middlewares.clear()  # type: ignore[attr-defined]  # our application would stand behind BentoML's too
    app: ASGIApp = Latentserve.to_asgi()  # type: ignore[attr-defined]
    return app
