"""Settings: what contradicts itself is one line; what Kubernetes puts into the environment is none of them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from latentserve.service.cli import cli
from latentserve.service.commands import serve
from latentserve.service.environment import PREFIX, could_be_setting
from latentserve.service.settings import Settings, SettingsError, load_settings
from tests.server import free_port

# A Service named `latentserve`, another named `latentserve-canary`, with ports that have names; one over UDP and SCTP.
KUBERNETES = {
    "LATENTSERVE_PORT": "tcp://10.96.12.7:3000",
    "LATENTSERVE_SERVICE_HOST": "10.96.12.7",
    "LATENTSERVE_SERVICE_PORT": "3000",
    "LATENTSERVE_SERVICE_PORT_HTTP": "3000",
    "LATENTSERVE_SERVICE_PORT_METRICS_TEXT": "3001",
    "LATENTSERVE_PORT_3000_TCP": "tcp://10.96.12.7:3000",
    "LATENTSERVE_PORT_3000_TCP_PROTO": "tcp",
    "LATENTSERVE_PORT_3000_TCP_PORT": "3000",
    "LATENTSERVE_PORT_3000_TCP_ADDR": "10.96.12.7",
    "LATENTSERVE_CANARY_SERVICE_HOST": "fd00::7",
    "LATENTSERVE_CANARY_PORT": "udp://[fd00::7]:53",
    "LATENTSERVE_CANARY_PORT_53_UDP": "udp://[fd00::7]:53",
    "LATENTSERVE_CANARY_PORT_53_UDP_ADDR": "fd00::7",
    "LATENTSERVE_METRICS_PORT": "sctp://10.96.12.8:9",  # of a Service named `latentserve-metrics`
    "LATENTSERVE_METRICS_PORT_9_SCTP_PORT": "9",
}


@pytest.fixture(autouse=True)
def _nothing_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


def test_what_kubernetes_sets_states_nothing(monkeypatch: pytest.MonkeyPatch):
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert not settings.model_fields_set
    assert (settings.host, settings.port, settings.metrics_port) == ("127.0.0.1", 3000, 0)
    assert not any(could_be_setting(name, value) for name, value in KUBERNETES.items())


def test_an_option_comes_before_what_kubernetes_sets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LATENTSERVE_PORT", KUBERNETES["LATENTSERVE_PORT"])
    assert load_settings(port=8080).port == 8080


@pytest.mark.parametrize("command", [["check"], ["sample"], ["serve"], ["drift"]])
def test_a_command_warns_once_of_a_setting_that_there_is_not(monkeypatch: pytest.MonkeyPatch, command: list[str]):
    monkeypatch.setenv("LATENTSERVE_WORKRES", "2")
    monkeypatch.setenv("LATENTSERVE_SOMETHING_ELSE_ALTOGETHER", "2")
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, [*command, "--no-such-option"])
    warnings = [line for line in done.stderr.splitlines() if line.startswith("latentserve:")]
    assert sorted(warnings) == [
        "latentserve: LATENTSERVE_SOMETHING_ELSE_ALTOGETHER: there is no such setting",
        "latentserve: LATENTSERVE_WORKRES: there is no such setting; there is LATENTSERVE_WORKERS",
    ]


def test_a_command_says_nothing_of_what_kubernetes_sets(monkeypatch: pytest.MonkeyPatch):
    for name, value in KUBERNETES.items() | {("LATENTSERVE_WORKERS", "2")}:
        monkeypatch.setenv(name, value)
    assert "latentserve:" not in CliRunner().invoke(cli, ["check", "--help"]).output


def test_what_files_leave_around_a_value_is_none_of_it(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"HOST": " 0.0.0.0\r\n", "LOG_FORMAT": "json\r", "WORKERS": "2\n", "HOME": "/x \n"}.items():
        monkeypatch.setenv(f"LATENTSERVE_{name}", value)
    settings = load_settings()
    assert (settings.host, settings.log_format, settings.workers) == ("0.0.0.0", "json", 2)  # noqa: S104
    assert settings.home == Path("/x")


def test_an_address_is_taken_as_a_url_has_it():
    assert load_settings(host="[::1]").host == load_settings(host="::1").host == "::1"


def test_an_empty_variable_states_nothing(monkeypatch: pytest.MonkeyPatch):
    """`-e LATENTSERVE_PORT=` and a compose file's `${PORT}` that nobody set."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", " ")
    assert not load_settings().model_fields_set


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"socket": "/s", "port": "3000"}, "SOCKET=/s: contradicts LATENTSERVE_PORT=3000"),
        ({"socket": "/no/such/folder/s"}, "SOCKET: there is no such folder"),
        ({"socket": f"/{'s' * 120}"}, "SOCKET: the path of a socket may have 107 bytes at the most"),
        ({"metrics_port": "3000"}, "METRICS_PORT: contradicts LATENTSERVE_PORT=3000"),
        ({"metrics_port": "80", "port": "80"}, "METRICS_PORT: contradicts LATENTSERVE_PORT=80"),
        ({"tls_key": "/etc/hostname"}, "TLS_KEY: LATENTSERVE_TLS_CERTIFICATE is not set"),
        ({"tls_certificate": "/no/such/file"}, "TLS_CERTIFICATE: cannot be read: No such file or directory"),
        ({"root_path": "samples"}, "ROOT_PATH: a path starts with one /"),
        ({"root_path": "//elsewhere"}, "ROOT_PATH: a path starts with one /"),
        ({"root_path": "/a?b"}, "ROOT_PATH: a path starts with one /"),
        ({"root_path": "/a b"}, "ROOT_PATH: is to be of printable ASCII characters"),
        ({"cors_origins": "example.org"}, "CORS_ORIGINS: 'example.org' is not an origin"),
        ({"cors_origins": "https://example.org/page"}, "CORS_ORIGINS: 'https://example.org/page' is not an origin"),
        ({"trusted_proxies": "10.0.0.0/8,proxy"}, "TRUSTED_PROXIES: 'proxy' is neither an address nor a network"),
        ({"log_format": "xml"}, "LOG_FORMAT: Input should be 'text' or 'json'"),
        ({"device": "cpu", "tensorrt": "true"}, "TENSORRT: contradicts LATENTSERVE_DEVICE=cpu"),
        ({"port": "http"}, "PORT: Input should be a valid integer"),
    ],
)
def test_what_cannot_be_is_one_line(monkeypatch: pytest.MonkeyPatch, stated: dict[str, str], said: str):
    for name, value in stated.items():
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).startswith(f"{PREFIX}{said}")
    assert "\n" not in str(refused.value)


def test_the_same_settings_are_stated_to_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTSERVE_HOME", "state")
    settings = load_settings(
        bundles=(tmp_path / "a", tmp_path / "b"),
        socket=Path("s"),
        root_path="/samples/",
        cors_origins="https://Example.org, http://localhost:5173/",
        trusted_proxies="10.0.0.0/8,::1",
        drain_seconds=0,
        access_log=True,
        metrics_port=3000,
    )
    assert settings.home == tmp_path / "state"
    assert settings.root_path == "/samples"
    assert settings.cors_origins == ("https://example.org", "http://localhost:5173")
    monkeypatch.chdir("/")
    for name, value in settings.environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_too_few_open_files_are_one_line(bundle: Path):
    """And a few more are enough for as many connections."""
    command = f"{sys.executable} -m latentserve serve {bundle} --port {free_port()}"
    ended = subprocess.run(["bash", "-c", f"ulimit -n 64; {command}"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()) == (
        1,
        ["latentserve: a process may open 64 files (`ulimit -n`); a server needs 288"],
    )


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "connections"),
    [(1024, 4096, 10_000, 3840), (64, 300, 10, 10)],
)
def test_connections_are_bounded_by_open_files(soft: int, hard: int, wanted: int, connections: int):
    """The soft limit is raised, by no more than what is of use."""
    lines = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from latentserve.service.commands.serve import _limits
from latentserve.service.settings import load_settings
print(_limits(load_settings(max_connections={wanted})).connections, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    ended = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [str(connections), str(max(soft, min(hard, wanted + 256))), str(hard)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_free_port_is_told(host: str):
    settings = load_settings(host=host, port=0, root_path="/below")
    with ExitStack() as open_:
        listener, *others = [open_.enter_context(one) for one in serve._listeners(settings)]
        assert {one.getsockname()[1] for one in others} <= {listener.getsockname()[1]}
        port = listener.getsockname()[1]
        assert port
        shown = f"[{host}]" if ":" in host else host
        assert serve._address(settings, listener) == f"http://{shown}:{port}/below"
