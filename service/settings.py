"""The server's settings: environment variables `LATENTSERVE_...`, or the options of `latentserve serve`."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from latentserve.service.cores import whole_cores
from latentserve.service.environment import PREFIX, is_link
from latentserve.service.errors import LatentserveError
from latentserve.service.trust import Trust

_SOCKET_PATH_BYTES = 107  # `sockaddr_un` has room for so many, and the zero behind them (unix(7))


class SettingsError(LatentserveError):
    """A setting has a wrong value, or contradicts another."""


class _Environment(EnvSettingsSource):
    """Environment variables. An empty one states nothing, nor does one that Kubernetes sets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of a setting, None where there is none."""
        value, key, is_complex = super().get_field_value(field, field_name)
        if isinstance(value, str):  # files of variables, and secrets, leave spaces and line ends
            value = None if is_link(value) else value.strip() or None
        return value, key, is_complex


class Settings(BaseSettings):
    """Every setting, its default, and one line of what it is."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    bundles: Annotated[tuple[Path, ...], NoDecode] = Field((), description="Bundle folders to serve, `:` between them.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(3000, ge=0, le=65_535, description="Port to listen on; 0: a free one, which the log tells.")
    socket: Path | None = Field(None, description="Unix socket to listen on, instead of an address and a port.")
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port of its own for `/metrics`, `/livez` and `/readyz`; 0: none."
    )
    tls_certificate: Path | None = Field(None, description="File (PEM) of the certificate and its chain: HTTPS.")
    tls_key: Path | None = Field(None, description="File (PEM) of the certificate's key, where it is not in the same.")
    root_path: str = Field("", description="Path under which a proxy in front shows the server, such as `/samples`.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may ask, `,` between them; `*`: every one."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses or networks whose `X-Forwarded-...` and `Forwarded` are believed, `,` between them; "
        "`*`: every one.",
    )
    allow_open: bool = Field(False, description="Listen beyond this machine without keys.")
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names under which a server without keys is asked on its own machine, `,` between them, beside "
        "those without a dot, addresses and `localhost`.",
    )
    keys: Path | None = Field(
        None, description="File of the keys that clients are to send; unset: `keys.json` in `HOME`, where it is there."
    )
    open_metadata: bool = Field(
        True, description="Where keys are needed: `/v1/models`, `/v1/drift`, `/metrics` and the like need none."
    )
    trusted_keys: Path | None = Field(
        None,
        description="File (PEM), or folder of such, of the public keys and authorities' certificates whose signatures "
        "on bundles are believed.",
    )
    require_signature: bool = Field(False, description="Refuse bundles that none of them has signed.")
    workers: int = Field(1, ge=1, le=64, description="Processes; one is best on a GPU.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes CUDA where it works; `cuda` refuses to start where it does not."
    )
    tensorrt: bool = Field(
        False, description="TensorRT before CUDA; refuses to start where it does not work. Loading takes minutes."
    )
    threads: int = Field(0, ge=0, le=256, description="Threads of one engine call; 0: a core less than a worker has.")
    max_batch: int = Field(64, ge=1, le=4096, description="Rows of one engine call at the most.")
    max_queue_rows: int = Field(65_536, ge=256, description="Rows that may wait in a worker; more are answered 429.")
    max_n: int = Field(1_000_000, ge=1, description="Rows of one request at the most; more are answered 413.")
    max_budget: int = Field(
        100_000_000, ge=1, description="Rows looked at for one request at the most, where rows are chosen."
    )
    max_pixels: int = Field(
        16 << 20, ge=1, description="Pixels of one picture made of several samples at the most; more are answered 413."
    )
    max_body_bytes: int = Field(1 << 20, ge=1024, description="Bytes of a request's body at the most.")
    max_latents_bytes: int = Field(
        16 << 20, ge=1024, description="The same of a body of latents, `application/x-npy` or `.npz`."
    )
    max_header_bytes: int = Field(
        32 << 10, ge=1024, description="Bytes of a request's line and headers at the most; more are answered 431."
    )
    max_headers: int = Field(100, ge=8, description="Headers of a request at the most; more are answered 431.")
    max_connections: int = Field(
        10_000,
        ge=1,
        description="Connections at the most: an idle one is closed for a new one, else it is answered 503.",
    )
    max_unsent_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Bytes of samples made for clients that have not taken them yet."
    )
    cache_bytes: int = Field(
        0, ge=0, description="Bytes of answers to GET of samples that a worker keeps to give them again; 0: none."
    )
    header_seconds: float = Field(10.0, gt=0, le=3600, description="Time for a request's line and headers to arrive.")
    body_seconds: float = Field(60.0, gt=0, le=3600, description="Time for its body; later is answered 408.")
    answer_seconds: float = Field(
        30.0, gt=0, le=3600, description="Time in which a client takes some of its answer, or is let go."
    )
    keep_alive_seconds: float = Field(
        3660.0, gt=0, le=86_400, description="Time that a connection may be idle; longer than a proxy's in front."
    )
    deadline_seconds: float = Field(10.0, gt=0, le=3600, description="Time to the first rows; later is answered 504.")
    hang_seconds: float = Field(60.0, gt=0, description="An engine call that takes longer makes the worker not alive.")
    drain_seconds: int = Field(
        30, ge=0, description="Time that answers under way get when the server is stopped; 0: none."
    )
    watched_rows_per_second: float = Field(
        1000.0, gt=0, description="Rate up to which a model raises at most one false alarm of drift in 30 days."
    )
    aigc_producer: str = Field(
        "",
        max_length=256,
        description="Who makes the samples, as GB 45438 wants it named in pictures and sounds; empty: not named.",
    )
    c2pa_certificate: Path | None = Field(
        None,
        description="File (PEM) of the certificate, and its chain, that answers are signed by (C2PA) where asked.",
    )
    c2pa_key: Path | None = Field(
        None, description="File (PEM) of that certificate's key, where it is not in the same; nobody else may read it."
    )
    c2pa_always: bool = Field(
        False, description="Sign pictures, sounds and ZIP archives whether it is asked for or not; nothing by GET."
    )
    c2pa_trusted: Path | None = Field(
        None,
        description="File (PEM) of authorities, or of a chain, whose signatures in files are believed beside its own.",
    )
    home: Path | None = Field(
        None, description="Folder for what a server writes; each server makes one of its own in it. Temporary if unset."
    )
    audit: Path | None = Field(
        None, description="Folder of an account of who was sent which samples; unset: none is kept."
    )
    audit_keep: bool = Field(
        True, description="Keep beside it the latents and long lists that clients sent; else only their SHA-256."
    )
    audit_when_full: Literal["refuse", "serve"] = Field(
        "refuse", description="Where nothing more can be written to it: answer 503, or serve without an account."
    )
    telemetry: str | None = Field(
        None, description="URL of a collector of OpenTelemetry's (OTLP over HTTP), such as `http://collector:4318`."
    )
    telemetry_share: float = Field(
        0.01, ge=0, le=1, description="Of the requests that are traced, where who asks does not say (`traceparent`)."
    )
    log_format: Literal["text", "json"] = Field("text", description="`json`: one document a line.")
    access_log: bool = Field(False, description="Log every request.")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options come before the environment."""
        return init_settings, _Environment(settings_cls)

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, value: str) -> str:
        """An address as a URL has it is one too."""
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("bundles", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("cors_origins", "trusted_proxies", "hosts", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator(
        "socket",
        "tls_certificate",
        "tls_key",
        "c2pa_certificate",
        "c2pa_key",
        "c2pa_trusted",
        "home",
        "keys",
        "audit",
        "trusted_keys",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """Workers work in another folder than the command was started in."""
        try:
            return value and value.expanduser().absolute()
        except RuntimeError:  # nobody of this name, or no home
            raise ValueError("there is no such home folder") from None

    @field_validator("socket")
    @classmethod
    def _can_be_made(cls, value: Path | None) -> Path | None:
        if value is not None and len(os.fsencode(value)) > _SOCKET_PATH_BYTES:
            raise ValueError(f"the path of a socket may have {_SOCKET_PATH_BYTES} bytes at the most")
        if value is not None and not value.parent.is_dir():
            raise ValueError("there is no such folder")
        return value

    @field_validator("metrics_port")
    @classmethod
    def _another_port(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("port") and info.data.get("socket") is None:
            raise ValueError(f"contradicts {PREFIX}PORT={value}")
        return value

    @field_validator("tls_certificate", "tls_key", "c2pa_certificate", "c2pa_key", "c2pa_trusted")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                value.open("rb").close()
            except OSError as error:
                raise ValueError(f"cannot be read: {error.strerror}") from None
        return value

    @field_validator("tls_key")
    @classmethod
    def _with_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and "tls_certificate" in info.data and info.data["tls_certificate"] is None:
            raise ValueError(f"{PREFIX}TLS_CERTIFICATE is not set")
        return value

    @field_validator("require_signature")
    @classmethod
    def _of_somebody(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "trusted_keys" in info.data and info.data["trusted_keys"] is None:
            raise ValueError(f"{PREFIX}TRUSTED_KEYS is not set")
        return value

    @field_validator("c2pa_key", "c2pa_always")
    @classmethod
    def _with_signer(cls, value: Path | bool | None, info: ValidationInfo) -> Path | bool | None:
        if value and "c2pa_certificate" in info.data and info.data["c2pa_certificate"] is None:
            raise ValueError(f"{PREFIX}C2PA_CERTIFICATE is not set")
        return value

    @field_validator("root_path")
    @classmethod
    def _path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and (not path.startswith("/") or path.startswith("//") or urlsplit(path).path != path):
            raise ValueError("a path starts with one /, and has neither ? nor #")
        if not path.isascii() or not path.isprintable() or " " in path or "%" in path:
            raise ValueError("is to be of printable ASCII characters, neither spaces nor %")
        return path

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_origin(origin) for origin in value)

    @field_validator("telemetry")
    @classmethod
    def _collector(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("is not a URL, such as http://collector:4318")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            if network != "*":
                try:
                    ipaddress.ip_network(network, strict=False)
                except ValueError:
                    raise ValueError(f"{network!r} is neither an address nor a network") from None
        return value

    @field_validator("tensorrt")
    @classmethod
    def _on_a_gpu(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("device") == "cpu":
            raise ValueError(f"contradicts {PREFIX}DEVICE=cpu")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> Settings:
        # HOST is the metrics port's, too, and the image's default.
        if self.socket is not None and "port" in self.model_fields_set:
            raise ValueError(
                f"{PREFIX}SOCKET={self.socket}: contradicts {PREFIX}PORT={self.port}; a server has one address"
            )
        return self

    @property
    def trust(self) -> Trust:
        """Who is to have signed bundles."""
        return Trust(self.trusted_keys, self.require_signature)

    @property
    def encoder_threads(self) -> int:
        """Threads that write answers: the worker's share of the cores."""
        return max(1, whole_cores() // self.workers)

    @property
    def engine_threads(self) -> int:
        """Threads of one engine call: as stated, else the worker's share of the cores less one for its event loop."""
        return self.threads or max(1, whole_cores() // self.workers - 1)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that state the same settings, to processes that this one starts."""
        return {f"{PREFIX}{name.upper()}": _text(name, getattr(self, name)) for name in self.model_fields_set}


def _origin(text: str) -> str:
    """An origin as browsers write it (RFC 6454, section 6.2). Raises ValueError."""
    if text in ("*", "null"):
        return text
    parts = urlsplit(text)
    if not parts.scheme or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or "@" in text:
        raise ValueError(f"{text!r} is not an origin, such as https://example.org")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _text(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return (os.pathsep if name == "bundles" else ",").join(map(str, value))
    return "" if value is None else str(value)


def load_settings(**given: object) -> Settings:
    """Settings from the environment, `given` ones first. Raises SettingsError naming the first wrong one."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["loc"]:
            got = first.get("input")
            said = (
                f"{PREFIX}{str(first['loc'][0]).upper()}: {said} (got {str(got) if isinstance(got, Path) else got!r})"
            )
        raise SettingsError(said) from None


def settings_table() -> str:
    """Every setting as a Markdown table, for the documentation."""
    lines = ["| setting | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ((), None, "") else f"`{str(field.default).lower()}`"
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(settings_table())
