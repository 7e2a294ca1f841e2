"""The server's settings: environment variables `LATENTSERVE_...`, or the options of `latentserve serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from latentserve.service.errors import LatentserveError


class SettingsError(LatentserveError):
    """A setting has a wrong value, or contradicts another."""


class Settings(BaseSettings):
    """Every setting, its default, and one line of what it is."""

    model_config = SettingsConfigDict(env_prefix="LATENTSERVE_", frozen=True, extra="ignore")

    bundles: Annotated[tuple[Path, ...], NoDecode] = Field((), description="Bundle folders to serve, `:` between them.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(3000, ge=1, le=65_535, description="Port to listen on.")
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
    max_body_bytes: int = Field(16 << 20, ge=1024, description="Bytes of a request's body at the most.")
    max_unsent_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Bytes of samples made for clients that have not taken them yet."
    )
    deadline_seconds: float = Field(10.0, gt=0, le=3600, description="Time to the first rows; later is answered 504.")
    hang_seconds: float = Field(60.0, gt=0, description="An engine call that takes longer makes the worker not alive.")
    watched_rows_per_second: float = Field(
        1000.0, gt=0, description="Rate up to which a model raises at most one false alarm of drift in 30 days."
    )
    drain_seconds: int = Field(30, ge=0, description="Time that answers under way get when the server is stopped.")
    allow_open: bool = Field(False, description="Listen beyond this machine without keys.")

    @field_validator("bundles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("tensorrt")
    @classmethod
    def _on_a_gpu(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("device") == "cpu":
            raise ValueError("contradicts LATENTSERVE_DEVICE=cpu")
        return value

    @property
    def engine_threads(self) -> int:
        """Threads of one engine call: as stated, else the worker's share of the cores less one for its event loop."""
        return self.threads or max(1, int(_cores()) // self.workers - 1)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _cores() -> float:
    """The cores this process may use: its affinity, and the quota of its control group (version 2)."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(allowed, int(quota) / int(period))
    except (OSError, ValueError):  # no such group, or "max": no quota
        return allowed


def load_settings(**given: object) -> Settings:
    """Settings from the environment, `given` ones first. Raises SettingsError naming the first wrong one."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsError(
            f"LATENTSERVE_{name.upper()}: {first['msg'].removeprefix('Value error, ')} (got {first.get('input')!r})"
        ) from None


def settings_table() -> str:
    """Every setting as a Markdown table, for the README."""
    lines = ["| setting | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default == () else f"`{str(field.default).lower()}`"
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(settings_table())
