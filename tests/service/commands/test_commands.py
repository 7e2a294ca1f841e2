"""The commands: help with an example, one line for a mistake, and the same samples here as from a server."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from latentserve import __version__
from latentserve.service.bundle import SampleSpec, read_bundle
from latentserve.service.cli import main
from latentserve.service.commands.serve import _worker_environment
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.service.host import listening
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from tests.conftest import make_bundle
from tests.generators import changed_critics, dense_generator
from tests.server import Server
from tests.service.test_bad_input import forge, replace_file

COMMANDS = sorted(entry.name for entry in entry_points(group="latentserve.commands"))


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """`latentserve ARGUMENTS` in this process."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        status = ended.value.code
        return Ended(status if isinstance(status, int) else int(status is not None), printed.out, printed.err)

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


def process(*arguments: object, **environment: str) -> Ended:
    """`latentserve ARGUMENTS` as a process of its own; it must end by itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "latentserve", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def assert_refused(ended: Ended, *words: str, understood: bool = False) -> None:
    """In one line of its own; `understood`: below what `pack` has understood of the inputs by then."""
    assert ended.status == 1
    assert understood or ended.out == ""
    assert all(line.startswith(("input ", "otherwise: ")) for line in ended.out.splitlines())
    assert ended.err.startswith("latentserve: ")
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err


# Help.


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run: Callable[..., Ended], name: str) -> None:
    ended = run(name, "--help")
    assert ended.status == 0
    assert f"latentserve {name} " in ended.out.split("Example")[1]
    assert ended.err == ""


def test_the_commands_are_listed(run: Callable[..., Ended]) -> None:
    ended = run("--help")
    assert ended.status == 0
    for name in ("check", "pack", "sample", "serve", "train", "export"):
        assert f"  {name} " in ended.out
    assert run("--version").out.split()[-1] == __version__


def test_usage_errors_say_what_is_wrong(run: Callable[..., Ended], bundle: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x.npy")
    for arguments in (
        ["nothing"],
        ["sample"],
        ["sample", bundle, "-n", "0", *out],
        ["sample", bundle, "-n", "many", *out],
        ["sample", bundle, "--seed", "-1", *out],
        ["sample", bundle, "--seed", 2**53, *out],
        ["sample", bundle, "--truncation", "0", *out],
        ["sample", bundle, "--truncation", "1.1", *out],
        ["pack", "x.onnx"],
        ["check", bundle, "--device", "tpu"],
    ):
        ended = run(*arguments)
        assert ended.status == 2
        assert "Error: " in ended.err
        assert "Traceback" not in ended.err
    assert not (tmp_path / "x.npy").exists()


# check


def test_check_of_a_good_bundle(run: Callable[..., Ended], bundle: Path, plain_bundle: Path) -> None:
    for each in (bundle, plain_bundle):
        ended = run("check", each)
        assert ended.status == 0
        assert read_bundle(each).manifest.version in ended.out
        assert ended.out.count("\n") == 1


def test_check_of_bad_bundles(run: Callable[..., Ended], bundle: Path, tmp_path: Path) -> None:
    assert_refused(run("check", tmp_path / "nowhere"), "no such bundle folder")
    assert_refused(run("check", tmp_path), "manifest.json", "is missing")
    tampered = Path(shutil.copytree(bundle, tmp_path / "tampered"))
    content = bytearray((tampered / "generator.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tampered / "generator.onnx").write_bytes(content)
    assert_refused(run("check", tampered), "generator.onnx", "SHA-256")
    # Its hashes hold; its golden samples do not.
    assert_refused(run("check", forge(tmp_path)), "golden probes")


@pytest.mark.parametrize("kind", changed_critics())
def test_check_names_a_critic_that_was_changed(
    run: Callable[..., Ended], bundle: Path, tmp_path: Path, kind: str
) -> None:
    """Its hash fits; what it gives is not what was recorded."""
    copy = Path(shutil.copytree(bundle, tmp_path / "changed"))
    replace_file(copy, "critic.onnx", changed_critics()[kind].SerializeToString())
    assert_refused(run("check", copy), "critic.onnx")
    ended = run("drift", copy)
    assert ended.status == 1
    assert "weights_or_hardware" in ended.out
    assert "critic.onnx" in ended.out


# sample


def expected(bundle: Path, n: int, seed: int, **fields: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    engine = Engine(read_bundle(bundle), "cpu")
    request = RowsRequest(n=n, seed=seed, **fields)  # type: ignore[arg-type]
    return engine.generate(request.inputs(engine.bundle.manifest, 0, n))


def test_sample_is_what_the_server_gives(
    run: Callable[..., Ended], server: Server, bundle: Path, tmp_path: Path
) -> None:
    for n, more, fields in (
        (1, [], {}),
        (300, [], {}),
        (130, ["--label", "digit 3"], {"label": "digit 3"}),
        (5, ["--label", "3", "--truncation", "0.5"], {"label": 3, "truncation": 0.5}),
    ):
        out = tmp_path / "samples.npy"
        ended = run("sample", bundle, "-n", n, "--seed", 9, *more, "--out", out)
        assert ended.status == 0, ended.err
        served = server.samples(accept="application/x-npy", model="toy", n=n, seed=9, **fields)
        assert out.read_bytes() == served.content


def test_a_label_is_a_name_where_one_matches_else_an_index(run: Callable[..., Ended], tmp_path: Path) -> None:
    """Of a bundle and of a server alike, where names are digits too."""
    made = make_bundle(
        tmp_path / "bundle",
        name="counted",
        generator=dense_generator(shape=(4,)).SerializeToString(),
        critic=None,
        labels=[str(index) for index in range(1, 11)],
        sample=SampleSpec(kind="array", shape=[4]),
        reference_samples=64,
    )
    with Server(made) as counted:
        for label, index in (("3", 2), ("10", 9), ("0", 0)):
            rows = expected(made, 3, 7, labels=np.full(3, index))
            for source in (made, counted.url):
                assert (
                    run("sample", source, "-n", 3, "--seed", 7, "--label", label, "--out", tmp_path / "x.npy").status
                    == 0
                )
                assert np.array_equal(np.load(tmp_path / "x.npy"), rows)
        for source in (made, counted.url):
            assert_refused(run("sample", source, "--label", "11", "--out", tmp_path / "x.npy"), "label", "11")
            assert_refused(run("sample", source, "--label", "-1", "--out", tmp_path / "x.npy"), "label", "-1")


def test_a_wav_file_that_would_be_too_long_is_one_line(run: Callable[..., Ended], tmp_path: Path) -> None:
    made = make_bundle(
        tmp_path / "bundle",
        generator=dense_generator(shape=(4,), labels=None).SerializeToString(),
        critic=None,
        labels=None,
        sample=SampleSpec(kind="audio", shape=[4], sample_rate=8000),
        reference_samples=64,
    )
    assert_refused(run("sample", made, "-n", 10**9, "--out", tmp_path / "x.wav"), "n: ", "WAV")


def test_a_proxy_does_not_stand_between_this_machine_and_itself(
    run: Callable[..., Ended], tight_one: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    for host in ("127.0.0.1", "LOCALHOST", "127.1"):
        assert run("sample", f"http://{host}:{tight_one.port}", "--out", tmp_path / "x.npy").status == 0


def test_a_proxy_that_cannot_be_used_is_one_line(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")  # of no interest to who asks by http://
    for proxy in ("socks5://127.0.0.1:9", "http://[", "nonsense", "http://127.0.0.1:9"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        assert_refused(run("sample", "http://192.0.2.1:9", "--out", tmp_path / "x.npy"), "192.0.2.1")


def test_a_server_on_a_socket_of_the_file_system_is_asked_too(
    run: Callable[..., Ended], plain_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    path = tmp_path / "socket"
    with Server(plain_bundle, socket=path) as server:
        url = f"http+unix:{path}"
        assert f"url={url}" in server.log.read_text()
        assert run("sample", url, "-n", 4, "--seed", 3, "--out", tmp_path / "x.npy").status == 0
        assert np.array_equal(np.load(tmp_path / "x.npy"), expected(plain_bundle, 4, 3))
        assert run("drift", url, "--json").status in (0, 3)
        assert run("bench", url, "--seconds", 0.1).status == 0
    assert_refused(run("sample", url, "--out", tmp_path / "x.npy"), url)


def test_sample_of_a_server(run: Callable[..., Ended], server: Server, tmp_path: Path) -> None:
    """Two models are served and the command names none: the server's own words are the message."""
    assert_refused(run("sample", server.url, "--out", tmp_path / "x.npy"), server.url, "422", "model")
    assert list(tmp_path.iterdir()) == []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert_refused(run("sample", url, "--out", tmp_path / "x.npy"), url)
    assert list(tmp_path.iterdir()) == []


def test_sample_of_a_server_with_one_model(
    run: Callable[..., Ended], tight_one: Server, plain_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.npy"
    assert run("sample", tight_one.url, "-n", 2000, "--seed", 3, "--out", out).status == 0
    assert np.array_equal(np.load(out), expected(plain_bundle, 2000, 3))
    assert out.stat().st_mode & 0o777 == 0o644
    assert_refused(run("sample", tight_one.url, "-n", 2001, "--out", out), "413")
    assert_refused(run("sample", tight_one.url, "--out", tmp_path / "x.png"), "406")
    assert_refused(run("sample", tight_one.url, "--label", "3", "--out", out), "422", "label")
    assert np.array_equal(np.load(out), expected(plain_bundle, 2000, 3))  # a failure leaves the old file
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "latentserve", "serve", "bundle"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert_refused(Ended(ended.returncode, ended.stdout, ended.stderr), "folder", "gone")


def test_what_is_closed_at_the_start_is_open(tmp_path: Path) -> None:
    """Whatever is opened later has another number, here and in the processes that are started."""
    script = f"""
import os, pathlib, subprocess, sys
from latentserve.service.cli import _have_standard_streams
_have_standard_streams()
print("to nobody")
print("to nobody", file=sys.stderr)
subprocess.run(["sh", "-c", "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 > {tmp_path}/found"], check=True)
with open(os.devnull) as another:
    assert another.fileno() > 2
"""
    command = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", sys.executable, "-c", script]
    assert subprocess.run(command, check=False).returncode == 0
    # The middle one is the file that the shell was told to write to.
    assert (tmp_path / "found").read_text().split() == ["/dev/null", f"{tmp_path}/found", "/dev/null"]


@pytest.fixture(scope="module")
def tight_one(plain_bundle: Path) -> Iterator[Server]:
    with Server(plain_bundle, max_n=2000) as running:
        yield running


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
def test_sample_as_a_contact_sheet(run: Callable[..., Ended], bundle: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"sheet{suffix}"
    assert run("sample", bundle, "-n", 70, "--seed", 3, "--out", out).status == 0
    shown = np.asarray(Image.open(io.BytesIO(out.read_bytes())))
    assert np.array_equal(
        shown if shown.ndim == 2 else shown[..., 0], contact_sheet(to_uint8(expected(bundle, 70, 3), (-1, 1)))[0]
    )


def test_sample_says_its_seed(run: Callable[..., Ended], plain_bundle: Path, tmp_path: Path) -> None:
    first = run("sample", plain_bundle, "-n", 4, "--out", tmp_path / "a.npy")
    seed = int(first.out.split()[-1])
    run("sample", plain_bundle, "-n", 4, "--seed", seed, "--out", tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert run("sample", plain_bundle, "--out", tmp_path / "c.npy").out.split()[-1] != str(seed)


def test_sample_refuses(run: Callable[..., Ended], bundle: Path, plain_bundle: Path, tmp_path: Path) -> None:
    assert_refused(run("sample", bundle, "--out", tmp_path / "x.gif"), ".gif", ".png")
    assert_refused(run("sample", bundle, "--out", tmp_path / "no" / "x.npy"), "cannot be written")
    assert_refused(run("sample", plain_bundle, "--out", tmp_path / "x.png"), "no images")
    assert_refused(run("sample", plain_bundle, "--out", tmp_path / "x.wav"), "no audio")
    assert_refused(run("sample", plain_bundle, "--out", tmp_path / "x.csv"), "no table")
    assert_refused(run("sample", plain_bundle, "--label", "1", "--out", tmp_path / "x.npy"), "--label")
    assert_refused(run("sample", bundle, "--label", "10", "--out", tmp_path / "x.npy"), "--label", "10")
    assert_refused(run("sample", bundle, "--label", "nobody", "--out", tmp_path / "x.npy"), "--label", "nobody")
    assert_refused(run("sample", tmp_path / "nowhere", "--out", tmp_path / "x.npy"), "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_sample_for_a_condition_is_what_a_server_gives(
    run: Callable[..., Ended], shower_bundle: Path, tmp_path: Path
) -> None:
    """As a command on the bundle and as one on a server of it; one condition asked for, both, and none."""
    out = tmp_path / "x.npy"
    nothing = np.nan
    with Server(shower_bundle) as shower:
        for more, condition in (
            (["--condition", "energy=50"], [50, nothing]),
            (["--condition", "energy=1e1", "--condition", "angle=-.5"], [10, -0.5]),
            ([], [nothing, nothing]),
        ):
            asked = np.full((70, 2), condition, np.float32)
            rows = expected(shower_bundle, 70, 9, labels=np.full(70, 1), conditions=asked)
            for source in (shower_bundle, shower.url):
                ended = run("sample", source, "-n", 70, "--seed", 9, "--label", "1", *more, "--out", out)
                assert ended.status == 0, ended.err
                assert np.array_equal(np.load(out), rows)
        wrong = ["--condition", "energy=1000", "--out", out]
        assert_refused(run("sample", shower.url, *wrong), "422", "condition.energy", "0.1 to 100 GeV")
        assert_refused(run("sample", shower_bundle, *wrong), "--condition energy", "0.1 to 100 GeV")
        assert_refused(run("sample", shower_bundle, "--condition", "Energy=1", "--out", out), "Energy", "energy, angle")


@pytest.mark.parametrize("text", ["energy", "energy=", "=5", "energy=much", "energy=nan", "energy=inf", "energy=1,5"])
def test_sample_refuses_what_is_no_condition(
    run: Callable[..., Ended], shower_bundle: Path, tmp_path: Path, text: str
) -> None:
    ended = run("sample", shower_bundle, "--condition", text, "--out", tmp_path / "x.npy")
    assert_refused(ended, "--condition", text, "NAME=VALUE")


def test_sample_refuses_a_condition_that_is_given_twice(
    run: Callable[..., Ended], shower_bundle: Path, tmp_path: Path
) -> None:
    twice = ["--condition", "energy=1", "--condition", "energy=2"]
    assert_refused(run("sample", shower_bundle, *twice, "--out", tmp_path / "x.npy"), "--condition", "twice")


# pack


def test_pack_check_and_sample(run: Callable[..., Ended], tmp_path: Path) -> None:
    file = tmp_path / "generator.onnx"
    file.write_bytes(dense_generator(labels=3).SerializeToString())
    out = tmp_path / "bundle"
    np.save(tmp_path / "real.npy", np.random.default_rng(0).uniform(-1, 1, (40, 1, 8, 8)))
    told = ("--labels", "a, b,c", "--license", "MIT", "--reference-samples", 400, "--real", tmp_path / "real.npy")
    ended = run("pack", file, "--name", "mine", *told, "--out", out)
    assert ended.status == 0, ended.err
    manifest = read_bundle(out).manifest
    assert manifest.monitor is not None
    assert (manifest.monitor.reference_samples, manifest.monitor.real_samples) == (400, 40)
    assert (manifest.name, manifest.labels, manifest.license) == ("mine", ["a", "b", "c"], "MIT")
    assert manifest.version in ended.out
    assert run("check", out).status == 0
    assert run("sample", out, "--label", "b", "--out", tmp_path / "x.png").status == 0


def test_pack_refuses(run: Callable[..., Ended], tmp_path: Path) -> None:
    file, out = tmp_path / "generator.onnx", tmp_path / "bundle"
    file.write_bytes(dense_generator(labels=3).SerializeToString())
    (tmp_path / "nonsense.onnx").write_text("nonsense")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("x")
    few = ("--reference-samples", 64)
    name = (*few, "--name", "mine", "--out")
    assert_refused(run("pack", tmp_path / "nothing.onnx", *name, out), "no such file")
    assert_refused(run("pack", tmp_path / "nonsense.onnx", *name, out), "not an ONNX file")

    def refused(*words: object, named: str = "mine", to: Path = out) -> None:
        *given, word = words
        assert_refused(run("pack", file, *few, "--name", named, "--out", to, *given), str(word), understood=True)

    refused("--labels", "a,a,b", "--labels: a is named twice")
    refused("--labels", "", "--labels: a name is empty")
    refused("--labels", "a,b,c,d", "labels")
    refused("--value-range", 1, 0, "value_range")
    refused("--value-range", "nan", "nan", "value_range")
    refused("--kind", "table", "table")
    refused("--output", "nothing", "--output")
    refused("--real", tmp_path / "nothing", "no such file or folder")
    refused("name", named="a b")
    refused("not a bundle", to=tmp_path / "mine")
    refused("not a folder", to=tmp_path / "mine" / "thesis")
    assert not out.exists()


# serve


def test_serve_refuses_what_cannot_work(
    run: Callable[..., Ended], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered = Path(shutil.copytree(bundle, tmp_path / "tampered"))
    (tampered / "golden.npz").write_bytes(b"x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases: list[tuple[list[object], tuple[str, ...]]] = [
            ([], ("no bundle",)),
            ([tmp_path / "nowhere"], ("nowhere",)),
            ([tampered], ("golden.npz",)),
            ([bundle, bundle], ("toy",)),
            ([bundle, "--port", 70_000], ("PORT", "70000")),
            ([bundle, "--port", -1], ("PORT",)),
            ([bundle, "--workers", 0], ("WORKERS",)),
            ([bundle, "--host", "0.0.0.0"], ("LATENTSERVE_ALLOW_OPEN",)),  # noqa: S104
            ([bundle, "--host", "nowhere"], ("nowhere",)),
        ]
        for arguments, words in cases:
            assert_refused(run("serve", *arguments), *words)
        assert_refused(process("serve", bundle, "--port", port), "in use", str(port))
    # Of who collects its lines as documents each is one.
    wrong = {"MAX_BATCH": "many", "LOG_FORMAT": "json", "COLOUR": "red"}
    refused = process("serve", bundle, **{f"LATENTSERVE_{name}": value for name, value in wrong.items()})
    warning, error = map(json.loads, refused.err.splitlines())
    assert (refused.status, warning["level"], error["level"]) == (1, "warning", "error")
    assert warning["detail"].startswith("LATENTSERVE_COLOUR: there is no such setting")
    assert error["detail"].startswith("LATENTSERVE_MAX_BATCH: Input should be a valid integer")
    with socket.create_server(("0.0.0.0", 0)) as lent:  # noqa: S104
        monkeypatch.setattr(listening, "_FIRST_HANDED", os.dup(lent.fileno()))
        told = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        assert_refused(run("serve", bundle), "LISTEN_FDS: 0.0.0.0", "LATENTSERVE_ALLOW_OPEN")


@pytest.mark.parametrize(("level", "own"), [(0, ""), (1, "1"), (2, "1")])
def test_workers_have_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int, own: str) -> None:
    """Though there are none at the level that the command was started at: a library of BentoML's takes them apart."""
    state = SimpleNamespace(environment={}, path=tmp_path)
    monkeypatch.setattr(sys, "flags", SimpleNamespace(optimize=level))
    assert _worker_environment(state)["PYTHONOPTIMIZE"] == own


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this runtime has CUDA")
def test_cuda_that_is_not_there_is_refused(run: Callable[..., Ended], bundle: Path) -> None:
    assert_refused(process("serve", bundle, "--device", "cuda"), "--device cuda", "latentserve[gpu]")
    assert_refused(run("check", bundle, "--device", "cuda"), "--device cuda")


# The serving install carries no torch.

WITHOUT_TORCH = """
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sklearn", "matplotlib", "onnxscript", "safetensors", "yaml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from latentserve.service.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["latentserve", *words]
    try:
        main()
    except SystemExit as ended:
        print("ended", ended.code, file=sys.stderr)
"""


def test_no_torch_is_needed(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "generator.onnx"
    file.write_bytes(dense_generator().SerializeToString())
    commands: list[list[object]] = [
        ["check", bundle],
        ["pack", file, "--name", "mine", "--reference-samples", 400, "--out", tmp_path / "packed"],
        ["sample", bundle, "--out", tmp_path / "x.png"],
        ["--help"],
        ["train", "digits", "--out", tmp_path / "run"],
    ]
    words = json.dumps([list(map(str, command)) for command in commands])
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, words], capture_output=True, text=True, timeout=60, check=True
    )
    *told, refused, last = ended.stderr.splitlines()
    assert (told, last) == (["ended 0"] * 4, "ended 1"), ended.stderr
    assert "latentserve[training]" in refused


@pytest.mark.parametrize(
    ("module", "not_needed"),
    [
        pytest.param("app", {"torch", "sklearn", "matplotlib", "pandas"}, marks=pytest.mark.full),
        # BentoML, and what it brings, is imported for who asks for something of it.
        ("hosted", {"torch", "sklearn", "matplotlib", "pandas", "pyarrow", "soundfile", "scipy.optimize", "bentoml"}),
    ],
)
def test_a_server_imports_only_what_it_needs(bundle: Path, module: str, not_needed: set[str]) -> None:
    code = f"import sys, latentserve.service.{module}; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LATENTSERVE_BUNDLES": str(bundle)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(ended.stdout.splitlines()[-1].split())
    assert "onnxruntime" in loaded
    assert not loaded & not_needed
