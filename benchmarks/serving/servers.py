"""The servers that are measured: how each is started, and what it is asked."""

from __future__ import annotations

import http.client
import json
import os
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.environments import AbsentError, environment
from benchmarks.generators import DIM
from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import Address, Requests, ask, post, seeded

_JSON, _RAW, _MSGPACK = "application/json", "application/octet-stream", "application/msgpack"
_PEERS = Path(__file__).parent / "peers"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Subject:
    """What a server is given: an ONNX file, its bundle, and the threads of one engine call."""

    model: Path
    bundle: Path
    int8_bundle: Path
    threads: int


@dataclass(frozen=True)
class Server:
    """A server; `asked[answer](rows)` are its requests for `rows` rows, by the form of the answer, the usual first."""

    name: str
    peer: str | None  # its environment; None: this one
    command: Callable[[str, int, Subject], list[str]]  # (python, port, subject)
    asked: dict[str, Callable[[int], Requests]]


def _ours(bundle: str) -> Callable[[str, int, Subject], list[str]]:
    return lambda python, port, subject: [
        python, "-m", "latentserve", "serve", str(getattr(subject, bundle)), "--port", str(port),
    ]  # fmt: skip


def _seeded(accept: str, dtype: str | None = None) -> Callable[[int], Requests]:
    return lambda rows: seeded(rows, accept, dtype=dtype)


def _prepared(request: Callable[[NDArray[np.float32]], bytes]) -> Callable[[int], Requests]:
    """Peers are sent latents: 16 different bodies, made beforehand."""

    def requests(rows: int) -> Requests:
        latents = np.random.default_rng(0).normal(size=(16, rows, DIM)).astype(np.float32)
        bodies = [request(z) for z in latents]
        return lambda number: bodies[number % len(bodies)]

    return requests


def _json(path: str) -> Callable[[int], Requests]:
    return _prepared(lambda z: post(path, json.dumps({"z": z.astype(float).round(6).tolist()}).encode(), _JSON))


def _msgpack(z: NDArray[np.float32]) -> bytes:
    """`{"z": bin 32, "dim": int}` in MessagePack."""
    content = z.tobytes()
    body = b"\x82\xa1z\xc6" + struct.pack(">I", len(content)) + content + b"\xa3dim" + struct.pack("B", DIM)
    return post("/inference", body, _MSGPACK, _MSGPACK)


def _triton(z: NDArray[np.float32]) -> bytes:
    """The Open Inference Protocol with Triton's binary tensors."""
    tensor = {"name": "z", "shape": z.shape, "datatype": "FP32", "parameters": {"binary_data_size": z.nbytes}}
    wanted = {"name": "sample", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    return post("/v2/models/generator/infer", head + z.tobytes(), _RAW, _RAW, length)


def _script(name: str, *arguments: str) -> Callable[[str, int, Subject], list[str]]:
    return lambda python, port, subject: [
        python, f"{name}.py", *(argument.format(port=port) for argument in arguments),
    ]  # fmt: skip


OURS = Server(
    "latentserve",
    None,
    _ours("bundle"),
    {"float32": _seeded(_RAW), "uint8": _seeded(_RAW, "uint8"), "PNG in JSON": _seeded(_JSON)},
)
OURS_INT8 = Server("latentserve int8", None, _ours("int8_bundle"), {"float32": _seeded(_RAW)})
BENTOML = Server(
    "BentoML",
    "bentoml",
    lambda python, port, subject: [
        str(Path(python).with_name("bentoml")),
        "serve",
        "plain_bentoml:Plain",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ],
    {"JSON": _json("/generate")},
)
LITSERVE = Server("LitServe", "litserve", _script("plain_litserve"), {"JSON": _json("/predict")})
_MOSEC = ("--address", "127.0.0.1", "--port", "{port}", "--log-level", "error")
MOSEC = Server("mosec", "mosec", _script("plain_mosec", *_MOSEC), {"msgpack": _prepared(_msgpack)})
MOSEC_JSON = Server("mosec, JSON", "mosec", _script("plain_mosec", *_MOSEC), {"JSON": _json("/inference")})
TRITON = Server("Triton", "triton", _script("plain_triton"), {"float32": _prepared(_triton)})
UVICORN = Server("empty uvicorn", "uvicorn", _script("empty_uvicorn"), {"nothing": _json("/")})


@contextmanager
def running(server: Server, subject: Subject) -> Iterator[int]:
    """The port of the server, as a process group of its own, once it has answered. Raises AbsentError."""
    python = sys.executable if server.peer is None else str(environment(server.peer))
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="serving-") as home:
        log = Path(home) / "log"
        variables = _variables(server, subject, port, home)
        command = server.command(python, port, subject)
        with process_group(command, log, variables, _PEERS if server.peer else None) as process:
            first = next(iter(server.asked.values()))(1)(0)
            if not _answers(process, port, first):
                raise AbsentError(f"{server.name}: did not answer; its last line: {last_line(log)}")
            yield port


def _variables(server: Server, subject: Subject, port: int, home: str) -> dict[str, str]:
    variables = os.environ | {
        "BENTOML_HOME": home,
        "BENTOML_DO_NOT_TRACK": "True",
        "LATENTSERVE_THREADS": str(subject.threads),
        "PEER_DIM": str(DIM),
        "PEER_FORMAT": "json" if server is MOSEC_JSON else "msgpack",
        "PEER_MODEL": str(subject.model),
        "PEER_PORT": str(port),
        "PEER_THREADS": str(subject.threads),
        "PYTRITON_HOME": home,
    }
    if server is TRITON:  # its Python backend looks for libpython, and a Python built by pyenv is not in the path
        variables["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    return variables


def _answers(process: subprocess.Popen[bytes], port: int, request: bytes) -> bool:
    """Whether the server answers a request with 200 before it ends or the time is over."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            if ask(Address(port), request, 5)[0] == 200:
                return True
        time.sleep(0.1)
    return False
