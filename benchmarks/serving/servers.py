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
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.commands import latentserve, program
from benchmarks.environments import AbsentError, environment
from benchmarks.generators import DIM
from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import Address, Requests, ask, post, seeded

_JSON, _RAW, _MSGPACK = "application/json", "application/octet-stream", "application/msgpack"
_BYTES, _NUMBERS, _BASE64 = "float32 bytes", "JSON", "base64 in JSON"
INFERRED = "float32 bytes of /v2"
_REFERENCE_SAMPLES = 5_000  # what is watched costs the same however many there were
_PEERS = Path(__file__).parent / "peers"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Subject:
    """What a server is given: a folder with an ONNX file and bundles of it, and the threads of one engine call.

    `before` is another checkout of latentserve.
    """

    folder: Path
    threads: int
    before: Path | None = None

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / "generator.onnx"

    def pack(self, bundle: str, *options: str, checkout: Path | None = None) -> None:
        """Make a bundle of the ONNX file. Raises AbsentError."""
        few = ("--reference-samples", _REFERENCE_SAMPLES)
        latentserve(
            "pack", self.model, "--name", "bench", "--out", self.folder / bundle, *few, *options, checkout=checkout
        )


@dataclass(frozen=True)
class Server:
    """A server; `asked[answer](rows)` are its requests for `rows` rows, by the form of the answer, the usual first."""

    name: str
    peer: str | None  # its environment; None: this one
    command: Callable[[str, int, Subject], list[str]]  # (python, port, subject)
    asked: dict[str, Callable[[int], Requests]]
    format: str = ""  # what a peer's script is told
    make: Callable[[Subject], None] | None = None  # the bundle it serves

    def prepare(self, subject: Subject) -> None:
        """Make what it serves, once. Raises AbsentError."""
        if self.make is not None:
            self.make(subject)


def _ours(bundle: str) -> Callable[[str, int, Subject], list[str]]:
    return lambda python, port, subject: [*program(), *_serve(subject, bundle, port)]


def _serve(subject: Subject, bundle: str, port: int) -> list[str]:
    return ["serve", str(subject.folder / bundle), "--port", str(port)]


def _once(bundle: str, make: Callable[[Subject], None]) -> Callable[[Subject], None]:
    return lambda subject: None if (subject.folder / bundle).exists() else make(subject)


def _int8(subject: Subject) -> None:
    latentserve("optimize", subject.folder / "bundle", "--precision", "int8", "--out", subject.folder / "int8")


def _seeded(accept: str, dtype: str | None = None) -> Callable[[int], Requests]:
    return lambda rows: seeded(rows, accept, dtype=dtype)


def _inferred(rows: int) -> Requests:
    """Our own requests by the Open Inference Protocol, the number of each its seed."""
    body = b'{"parameters":{"n":%d,"seed":%%d,"binary_data_output":true}}' % rows
    return lambda number: post("/v2/models/bench/infer", body % number, _RAW)


def _prepared(request: Callable[[NDArray[np.float32]], bytes]) -> Callable[[int], Requests]:
    """Peers are sent latents: 16 different bodies, made beforehand."""

    def requests(rows: int) -> Requests:
        latents = np.random.default_rng(0).normal(size=(16, rows, DIM)).astype(np.float32)
        bodies = [request(z) for z in latents]
        return lambda number: bodies[number % len(bodies)]

    return requests


def _base64(path: str) -> Callable[[int], Requests]:
    """A string for each row, of its bytes."""
    return _prepared(lambda z: post(path, json.dumps({"z": [b64encode(row).decode() for row in z]}).encode(), _JSON))


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
    {_BYTES: _seeded(_RAW), "uint8 bytes": _seeded(_RAW, "uint8"), "PNG in JSON": _seeded(_JSON), INFERRED: _inferred},
)
OURS_INT8 = Server("latentserve int8", None, _ours("int8"), {_BYTES: _seeded(_RAW)}, make=_once("int8", _int8))
# Of an array, and not of a picture, JSON is nested lists of numbers, as it is of the peers.
OURS_JSON = Server(
    "latentserve, JSON",
    None,
    _ours("array"),
    {_NUMBERS: _seeded(_JSON)},
    make=_once("array", lambda subject: subject.pack("array", "--kind", "array")),
)
BEFORE = Server(
    "latentserve before",
    None,
    lambda python, port, subject: [
        *program(subject.before),
        "serve",
        str(subject.folder / "before"),
        "--port",
        str(port),
    ],
    {_BYTES: _seeded(_RAW)},
    make=_once("before", lambda subject: subject.pack("before", checkout=subject.before)),
)


def _bentoml(python: str, port: int, subject: Subject) -> list[str]:
    command = str(Path(python).with_name("bentoml"))
    return [command, "serve", "plain_bentoml:Plain", "--host", "127.0.0.1", "--port", str(port)]


BENTOML = Server("BentoML", "bentoml", _bentoml, {_NUMBERS: _json("/generate")})
BENTOML_BASE64 = Server("BentoML, base64", "bentoml", _bentoml, {_BASE64: _base64("/generate_base64")})
LITSERVE = Server("LitServe", "litserve", _script("plain_litserve"), {_NUMBERS: _json("/predict")}, "json")
LITSERVE_BASE64 = Server(
    "LitServe, base64", "litserve", _script("plain_litserve"), {_BASE64: _base64("/predict")}, "base64"
)
_MOSEC = ("--address", "127.0.0.1", "--port", "{port}", "--log-level", "error")
MOSEC = Server("mosec", "mosec", _script("plain_mosec", *_MOSEC), {"MessagePack": _prepared(_msgpack)}, "msgpack")
MOSEC_JSON = Server("mosec, JSON", "mosec", _script("plain_mosec", *_MOSEC), {_NUMBERS: _json("/inference")}, "json")
TRITON = Server("Triton", "triton", _script("plain_triton"), {_BYTES: _prepared(_triton)})
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
        folder = _PEERS if server.peer else Path(home)
        with process_group(command, log, variables, folder) as process:
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
        "PEER_FORMAT": server.format,
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
