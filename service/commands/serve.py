"""`latentserve serve`: refuse what cannot work, then supervise the workers that serve."""

from __future__ import annotations

import ipaddress
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from latentserve.service import logs
from latentserve.service.access.key_file import KeyFileError, key_path, read_keys
from latentserve.service.addresses import is_loopback
from latentserve.service.auditing.log import AuditLog
from latentserve.service.credentials.opening import open_signer, open_trust
from latentserve.service.errors import one_line
from latentserve.service.health import ADDRESS
from latentserve.service.held import HeldFiles
from latentserve.service.host.limits import Limits
from latentserve.service.host.listening import (
    bind_localhost,
    bind_path,
    bind_port,
    handed_over,
    is_listening,
    tls_context,
)
from latentserve.service.host.supervisor import Plan, Supervisor
from latentserve.service.sampling.devices import visible_devices
from latentserve.service.settings import Settings, SettingsError, load_settings
from latentserve.service.state import StateError, StateFolder

_APPLICATION = "latentserve.service.hosted:application"
_OTHER_FILES = 256  # that a process holds open beside its connections
_LEAST_CONNECTIONS = 32


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option("--host", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", type=int, help="Port to listen on. Default: 3000.")
@click.option("--socket", type=click.Path(path_type=Path), help="Unix socket to listen on instead.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="HTTPS, with this certificate (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, where it is not in the same file.")
@click.option("--root-path", help="Path under which a proxy in front shows the server.")
@click.option("--workers", type=int, help="Processes. Default: 1; one is best on a GPU.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: auto, CUDA where it works.")
def serve(bundles: tuple[Path, ...], **options: object) -> None:
    """Serve samples of one or more bundles over HTTP until ^C.

    Every option is also an environment variable: LATENTSERVE_PORT, LATENTSERVE_WORKERS, ...

    \b
    Example: latentserve serve demo/bundle --port 3000
    """
    settings = _with_keys(load_settings(bundles=bundles or None, **options), options)
    paths = [path.absolute() for path in settings.bundles]
    for path in paths:
        if os.pathsep in str(path):
            raise SettingsError(f"{path}: a bundle's path must not hold {os.pathsep!r}, which stands between bundles")
    logs.configure(settings.log_format)
    if settings.tls_certificate is not None:
        tls_context(settings.tls_certificate, settings.tls_key)
    if settings.audit is not None:
        AuditLog(settings.audit)
    open_signer(settings)
    open_trust(settings)
    limits = _limits(settings)
    held = HeldFiles(paths)
    listeners = _listeners(settings)
    # The workers work in another folder: what was stated as a relative path is absolute here.
    given = settings.environment | {"LATENTSERVE_BUNDLES": os.pathsep.join(map(str, paths))}
    address = _address(settings, listeners[0])
    devices = visible_devices() if settings.workers > 1 and settings.device != "cpu" else []
    with StateFolder(settings.home) as state:

        def prepare() -> None:
            (state.path / ADDRESS).write_text(address)
            for name in ("work", "bentoml"):
                (state.path / name).mkdir(exist_ok=True)

        def started() -> None:
            if state.make_again():
                prepare()
                logs.event("state-lost", logging.WARNING, folder=str(state.path), reason="somebody has taken it away")
            state.count_start()

        try:
            prepare()
        except OSError as error:
            raise StateError(f"{error.filename}: {one_line(error)}") from None

        def environment(index: int) -> dict[str, str]:
            own = {**_worker_environment(state), **held.environment}
            return {**_inherited(), **own, **given, **worker_device(index, devices)}

        plan = Plan(
            application=_APPLICATION,
            workers=settings.workers,
            limits=limits,
            drain_seconds=settings.drain_seconds,
            hang_seconds=settings.hang_seconds,
            folder=state.path / "work",
            environment=environment,
            address=address,
            certificate=settings.tls_certificate,
            key=settings.tls_key,
            root_path=settings.root_path,
            started=started,
            descriptors=held.descriptors,
            log_format=settings.log_format,
        )
        try:
            status = Supervisor(plan, listeners).run()
        finally:
            logs.flush()  # what is said last is the last line
    sys.exit(status)


def _with_keys(settings: Settings, options: dict[str, object]) -> Settings:
    """With the file of keys stated, where there is one: what is needed now is needed of all workers, whatever becomes
    of the file. Raises KeyFileError: there is none where it should be, or it cannot be used."""
    path = key_path(settings.keys, settings.home)
    if path is None or (settings.keys is None and not path.exists()):
        return settings
    try:
        read_keys(path)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no such file; `latentserve keys add` makes it") from None
    return load_settings(**(options | {"bundles": settings.bundles or None, "keys": path}))


def _inherited() -> dict[str, str]:
    """What workers have of this process's environment: not what is for other services of BentoML's, nor what would have
    a warning of a library end a request."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BENTOML_")}
    warnings = kept.get("PYTHONWARNINGS", "").split(",")
    return {**kept, "PYTHONWARNINGS": ",".join(one for one in warnings if not one.strip().startswith("e"))}


def _worker_environment(state: StateFolder) -> dict[str, str]:
    """What a worker finds in its environment beside the settings; what it writes is in the server's own folder."""
    return {
        **state.environment,
        "BENTOML_HOME": str(state.path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        # The matrices of the watch are small; threads of its own would only spin beside the engine's.
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        # At 2 there are no docstrings, which a library of BentoML's takes apart when it is imported.
        "PYTHONOPTIMIZE": str(min(sys.flags.optimize, 1) or ""),
    }


def worker_device(index: int, devices: Sequence[str]) -> dict[str, str]:
    """The environment in which the worker of a place sees one device only; a device that is lost ends it alone."""
    return {"CUDA_VISIBLE_DEVICES": devices[index % len(devices)]} if devices else {}


def _listeners(settings: Settings) -> list[socket.socket]:
    """Bound sockets; those of a service manager instead of what the settings say. Raises SettingsError where they would
    be open to everybody unasked, and ListeningError."""
    listeners = handed_over()
    for listener in listeners:
        if listener.family != socket.AF_UNIX:
            _require_closed(settings, listener.getsockname()[0], "LISTEN_FDS:")
    if not listeners:
        listeners = [bind_path(settings.socket)] if settings.socket is not None else _bind(settings, settings.port)
    if settings.metrics_port and settings.metrics_port not in map(_port, listeners):
        listeners += _bind(settings, settings.metrics_port)
    return listeners


def _bind(settings: Settings, port: int) -> list[socket.socket]:
    if settings.host == "localhost":
        return bind_localhost(port)
    try:
        ipaddress.ip_address(settings.host)
    except ValueError:
        raise SettingsError(f"--host {settings.host}: not an IP address") from None
    _require_closed(settings, settings.host, "--host")
    return bind_port(settings.host, port)


def _require_closed(settings: Settings, host: str, named: str) -> None:
    """Raise SettingsError for an address that other machines reach, where nobody allowed that."""
    if not is_loopback(host) and not settings.allow_open and settings.keys is None:
        raise SettingsError(
            f"{named} {host}: anybody who reaches this machine could use the server; make a key"
            " (`latentserve keys add`), or set LATENTSERVE_ALLOW_OPEN=true to allow that"
        )


def _port(listener: socket.socket) -> int | None:
    return None if listener.family == socket.AF_UNIX else int(listener.getsockname()[1])


def _address(settings: Settings, listener: socket.socket) -> str:
    """Where clients find the server, for people to read."""
    scheme = "https" if settings.tls_certificate is not None else "http"
    if listener.family == socket.AF_UNIX:
        return f"{scheme}+unix:{listener.getsockname()}"
    host = settings.host if settings.host == "localhost" and not is_listening(listener) else listener.getsockname()[0]
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{_port(listener)}{settings.root_path}"


def _limits(settings: Settings) -> Limits:
    """The limits of each connection, and how many there may be: no more than a process may hold files open.

    Raises SettingsError: those are too few.
    """
    connections = settings.max_connections
    files = _allow_files(connections + _OTHER_FILES)
    if files < connections + _OTHER_FILES:
        connections = files - _OTHER_FILES
        if connections < _LEAST_CONNECTIONS:
            least = _OTHER_FILES + min(_LEAST_CONNECTIONS, settings.max_connections)
            raise SettingsError(f"a process may open {files} files (`ulimit -n`); a server needs {least}")
        logs.event("fewer-connections", connections=connections, max_connections=settings.max_connections, files=files)
    return Limits(
        header_bytes=settings.max_header_bytes,
        headers=settings.max_headers,
        header_seconds=settings.header_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        body_seconds=settings.body_seconds,
        answer_seconds=settings.answer_seconds,
        connections=connections,
    )


def _allow_files(wanted: int) -> int:
    """Let this process, and those that it starts, hold so many files open, or as many as may be: the number."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if 0 <= allowed < reachable:  # below 0: without limit
        with suppress(OSError, ValueError):  # the system's own limit has become a lower one
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, most))
            allowed = reachable
    return min(allowed, wanted) if allowed >= 0 else wanted
