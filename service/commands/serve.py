"""`latentserve serve`: refuse what cannot work, then hand over to BentoML."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from multiprocessing import get_context
from pathlib import Path

import click

from latentserve.service.bundle import read_bundles
from latentserve.service.sampling.engine import require_cuda, require_runtime
from latentserve.service.settings import Settings, SettingsError, is_loopback, load_settings
from latentserve.service.watching.reference import read_reference


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option("--host", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", type=int, help="Port to listen on. Default: 3000.")
@click.option("--workers", type=int, help="Processes. Default: 1; one is best on a GPU.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: auto, CUDA where it works.")
def serve(bundles: tuple[Path, ...], **options: object) -> None:
    """Serve samples of one or more bundles over HTTP until ^C.

    Every option is also an environment variable: LATENTSERVE_PORT, LATENTSERVE_WORKERS, ...

    \b
    Example: latentserve serve demo/bundle --port 3000
    """
    settings = load_settings(bundles=bundles or None, **options)
    host = _address(settings)
    paths = [path.resolve() for path in settings.bundles]
    for path in paths:
        if os.pathsep in str(path):
            raise SettingsError(f"{path}: a bundle's path must not hold {os.pathsep!r}, which stands between bundles")
    _check(settings)
    _check_port(host, settings.port)
    with tempfile.TemporaryDirectory(prefix="latentserve-") as own:
        work = Path(own) / "work"
        work.mkdir()
        os.environ |= {
            # BentoML looks for modules in the working directory before anywhere else: it gets one that is empty.
            "PYTHONSAFEPATH": "1",
            # BentoML wipes the metrics folder in it at each start, another server's too.
            "BENTOML_HOME": os.environ.get("BENTOML_HOME") or str(Path(own) / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            # The matrices of the watch are small; threads of its own would only spin beside the engine's.
            "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
            # Nobody's X-Forwarded-For is read: nothing here depends on the client's address.
            "FORWARDED_ALLOW_IPS": os.environ.get("FORWARDED_ALLOW_IPS", ""),
            "LATENTSERVE_BUNDLES": os.pathsep.join(map(str, paths)),
            **{f"LATENTSERVE_{name.upper()}": str(value) for name, value in options.items() if value is not None},
        }
        with chdir(work):
            _run_bentoml(host, settings)


def _address(settings: Settings) -> str:
    """The address as BentoML takes it. Raises SettingsError where it is none, or open to everybody unasked."""
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(f"--host {host}: not an IP address") from None
    if not is_loopback(host) and not settings.allow_open:
        raise SettingsError(
            f"--host {host}: anybody who reaches this machine could use the server; "
            "set LATENTSERVE_ALLOW_OPEN=true to allow that"
        )
    return host


def _check(settings: Settings) -> None:
    """Refuse to start where no worker could: a worker that fails at load is only started again and again."""
    for bundle in read_bundles(settings.bundles):
        read_reference(bundle)
    require_runtime()
    if settings.device == "cuda" or settings.tensorrt:
        # In a process of its own: a CUDA context, once made, holds device memory until its process ends.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(require_cuda, tensorrt=settings.tensorrt).result()


def _check_port(host: str, port: int) -> None:
    """Raises SettingsError where the port cannot be had; BentoML would say so in thirty lines."""
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            raise SettingsError(f"--port {port}: cannot listen on {host} ({error.strerror})") from None


def _run_bentoml(host: str, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    from bentoml_cli.cli import cli as bentoml  # it reads its environment when it is imported

    arguments = ["serve", "latentserve.service.app:Latentserve", "--host", host, "--port", str(settings.port)]
    arguments += ["--working-dir", str(Path.cwd())]
    arguments += ["--timeout-graceful-shutdown", str(settings.drain_seconds)]
    bentoml.main(arguments, prog_name="bentoml", standalone_mode=False)
