"""What the documentation states is so."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy.special import ndtri

from latentserve.service.bundle import Column, Condition, Latent, LatentPart, SampleSpec
from latentserve.service.cli import cli, main
from latentserve.service.client import ServerError
from latentserve.service.http.body import AnswerFields, SamplesBody
from latentserve.service.http.inference.request import INPUTS
from latentserve.service.http.interpolations import InterpolationBody, VariationBody
from latentserve.service.http.openai.images import ImagesBody
from latentserve.service.http.openai.speech import SpeechBody
from latentserve.service.http.scores import ScoresBody
from latentserve.service.packing.foreign.roles import parse_role
from latentserve.service.sampling.latents import Span, draw_conditions, draw_labels, draw_latents, draw_noise_of
from latentserve.service.settings import Settings
from tests.certificates import self_signed
from tests.conftest import make_bundle
from tests.generators import dense_generator, model
from tests.server import Server, free_port
from tests.service.packing.foreign.graphs import FLOAT, INT64, dense, rand
from tests.service.sampling.test_latents import CONDITIONS, NOISE, recipe, uniforms
from tests.training.data import examples
from tests.typed import typed

TOP = Path(__file__).parents[1]


def test_the_test_vectors_of_the_latents():
    page = (TOP / "docs" / "latents.md").read_text()
    rows = re.findall(
        r"^\| (normal|uniform) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| (.+) \| ([0-9a-f]+) \|$", page, re.M
    )
    assert len(rows) == 10
    for prior, seed, row, dim, truncation, values, content in rows:
        z = draw_latents(Latent(dim=int(dim), prior=prior), int(seed), int(row), 1, float(truncation))[0]
        assert np.array_equal(z, np.array([float(value) for value in values.split(", ")], np.float32))
        assert z.astype("<f4").tobytes().hex() == content


def test_the_test_vector_of_the_labels():
    page = (TOP / "docs" / "latents.md").read_text()
    stated = re.search(r"^`([\d ]+)`$", page, re.M)
    assert stated is not None
    assert draw_labels(5, 10, 7, 0, 12).tolist() == [int(label) for label in stated[1].split()]


def vectors(section: str) -> list[tuple[int, int, str, str]]:
    """Seed, row, values and bytes of a table of the page on latents."""
    page = (TOP / "docs" / "latents.md").read_text()
    table = page.split(f"| {section} of seed |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (.+) \| ([0-9a-f]+) \|$", table, re.M)
    assert len(rows) == 4
    return [(int(seed), int(row), values, content) for seed, row, values, content in rows]


def test_the_test_vectors_of_the_noise():
    """As published, as drawn, and as worked out from the page in Python's own numbers."""
    noise = LatentPart(name="noise", shape=[5], noise=True)
    latent = Latent(dim=12, parts=[LatentPart(name="z", shape=[7]), noise])
    for seed, row, values, content in vectors("noise"):
        stated = np.array([float(value) for value in values.split(", ")], np.float32)
        assert stated.tobytes().hex() == content
        assert np.array_equal(draw_noise_of(latent, [Span(seed, row, 1)])[0], stated)
        assert np.array_equal(ndtri(uniforms(5, seed, row, NOISE)[:5]).astype(np.float32), stated)


def test_the_test_vectors_of_the_conditions():
    conditions = [
        Condition(name="uniform", range=(-90, 90)),
        Condition(name="log-uniform", range=(1, 100), prior="log-uniform"),
        Condition(name="normal", range=(0, 6), prior="normal"),
        Condition(name="quantiles", range=(0, 10), prior="quantiles", quantiles=[0, 1, 10]),
    ]
    for seed, row, values, content in vectors("conditions"):
        stated = np.array([float(value) for value in values.split(", ")], np.float32)
        assert stated.tobytes().hex() == content
        assert np.array_equal(draw_conditions(Latent(dim=7), conditions, seed, row, 1)[0], stated)
        words = uniforms(7, seed, row, CONDITIONS)
        by_hand = [recipe(condition, u) for condition, u in zip(conditions, words, strict=False)]
        assert np.array_equal(np.array(by_hand, np.float32), stated)


def test_the_page_on_http_names_every_field():
    page = (TOP / "docs" / "http.md").read_text()
    named = [name for cell in re.findall(r"^\| (`.+?) \|", page, re.M) for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(SamplesBody.model_fields)


def test_the_commands_of_the_page_on_http(shower_bundle: Path, tmp_path: Path):
    page = (TOP / "docs" / "http.md").read_text()
    commands = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
    assert len(commands) == 8
    with Server(shower_bundle) as server:
        printed = []
        for command in commands:
            here = command.replace("http://127.0.0.1:3000", server.url)
            printed.append(typed(here.replace("python -c", f"{sys.executable} -c"), tmp_path))
        four, three = (json.loads(answer)["conditions"] for answer in printed[3:5])
        assert "/v1/samples" in json.loads((tmp_path / "openapi.json").read_text())["paths"]
        assert four[0] == three[0]
        assert [row["energy"] for row in four] == [50.0] * 4
        assert three[1] == {"energy": 50.0, "angle": 0.1}
        assert (tmp_path / "showers.png").read_bytes().startswith(b"\x89PNG")
        with zipfile.ZipFile(tmp_path / "photons.zip") as archive:
            lines = archive.read("metadata.jsonl").splitlines()
            assert [json.loads(line)["label"] for line in lines] == ["photon"] * 20
        assert np.load(tmp_path / "showers.npy").shape == (100, 1, 8, 8)
        assert np.load(tmp_path / "rows.npy").shape == (4, 1, 8, 8)
        sent = json.loads(printed[-1])
        assert (sent["n"], sent["seed"], sent["labels"]) == (3, 7, ["electron", "photon", "pion"])
        assert [row["angle"] for row in sent["conditions"]] == [0.1, 0.2, 0.3]
        refused = server.samples(conditions=[{}, {"energy": 101}]).json()
        assert refused["field"] == "conditions[1].energy"


def test_the_program_of_the_page_on_the_inference_protocol(server: Server, tmp_path: Path):
    """With another model, of the same tensors; and the page names every input."""
    page = (TOP / "docs" / "inference-protocol.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    here = program.replace("127.0.0.1:3000", server.url.removeprefix("http://")).replace('"digits"', '"toy"')
    here = here.replace('"5"', '"digit 5"')
    shown = '\nassert images.shape == (2, 1, 8, 8)\nassert told["labels"] == "3,3,3,3", told\n'
    ended = subprocess.run(
        [sys.executable, "-c", here + shown], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    table = page.partition("| input |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \| (\w+)", table, re.M) == [(name, kind.datatype) for name, kind in INPUTS.items()]


def test_the_examples_of_the_page_on_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In their order: requests, commands, and Python, of a table that has such columns."""
    columns = [
        Column(name="age", type="int64"),
        Column(name="job", type="string", categories=["nurse", "clerk", "farmer"]),
    ]
    value = onnx.helper.make_tensor_value_info
    weights = {"scale": np.float32([10, 1]), "shift": np.float32([35, 1])}
    generator = model(
        [onnx.helper.make_node("Mul", ["z", "scale"], ["h"]), onnx.helper.make_node("Add", ["h", "shift"], ["sample"])],
        "generator",
        [value("z", FLOAT, ["batch", 2])],
        [value("sample", FLOAT, ["batch", 2])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    make_bundle(
        tmp_path / "demo" / "bundle",
        "people",
        generator=generator.SerializeToString(),
        critic=None,
        latent=Latent(dim=2),
        labels=None,
        sample=SampleSpec(kind="table", shape=[2], columns=columns),
        reference_samples=64,
    )
    page = (TOP / "docs" / "where.md").read_text()
    request, command = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
    with Server(tmp_path / "demo" / "bundle") as server:
        asked = request.replace("http://127.0.0.1:3000", server.url)
        found = json.loads(subprocess.run(["bash", "-c", asked], capture_output=True, check=True).stdout)
    assert len(found["samples"]) == 5
    assert all(30 <= age <= 40 and job in ("clerk", "nurse") for age, job in found["samples"])
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(Path("rows.csv").read_text().splitlines()))
    assert len(rows) == 100
    assert all(int(row["age"]) >= 30 for row in rows)
    assert sorted(Counter(row["job"] for row in rows).values()) == [33, 33, 34]
    known: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S):
        exec(block, known)  # noqa: S102
    assert np.array_equal(known["rows"], known["found"].samples)
    assert np.array_equal(known["first"][0], known["rows"][0])
    whole = known["people"].sample(150, seed=7, where={"age": {"min": 30, "max": 40}})
    assert np.array_equal(np.concatenate(known["pages"]), whole)


@pytest.fixture(scope="module")
def of_digits(bundle: Path) -> Iterator[Server]:
    """A server of one model."""
    with Server(bundle) as running:
        yield running


def test_the_snippets_of_the_page_on_interpolation(
    of_digits: Server, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = (TOP / "docs" / "interpolation.md").read_text()
    commands = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "bundle").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    printed = [
        subprocess.run(
            ["bash", "-c", command.replace("http://127.0.0.1:3000", of_digits.url)], capture_output=True, check=True
        ).stdout
        for command in commands
    ]
    assert len(json.loads(printed[1])["scores"]) == 8
    with Image.open("morph.webp") as picture:
        assert (picture.format, picture.n_frames) == ("WEBP", 24)
    known: dict[str, Any] = {}
    exec(program, known)  # noqa: S102
    assert np.allclose(known["frames"][0], known["first"][0], atol=1e-5)
    assert known["frames"].shape == (24, 1, 8, 8)
    assert known["near"].shape == (8, 1, 8, 8)
    assert known["scores"].shape == (8,)
    named = re.findall(r"^\| (`.+?) \|", page, re.M)
    told = {name for cell in named for name in re.findall(r"`(\w+)`", cell)}
    fields = InterpolationBody.model_fields | VariationBody.model_fields | ScoresBody.model_fields
    assert told == fields.keys() - AnswerFields.model_fields.keys()


def test_the_commands_of_the_page_on_bulk(
    of_digits: Server, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of fewer rows; that of a cluster is run where there is one."""
    page = (TOP / "docs" / "bulk.md").read_text()
    *commands, _ = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "bundle").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        here = re.sub("0000+", "2000", command).replace("http://127.0.0.1:3000", of_digits.url)
        done = CliRunner().invoke(cli, shlex.split(here)[1:])
        assert done.exit_code == 0, done.output
    known: dict[str, Any] = {}
    exec(program, known)  # noqa: S102
    assert known["digits"].count_rows() == 12000
    assert "$label" in known["digits"].schema.names
    assert sorted(path.name for path in Path("pairs").glob("*.npz")) == ["000000000-000003000.npz"]
    assert len(list(Path("served").glob("*.tar"))) == 1


def test_the_snippets_of_the_page_on_openai(
    shower_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One after the other, as one program."""
    pytest.importorskip("soundfile", reason="needs latentserve[audio]")
    sounds = SampleSpec(kind="audio", shape=[600], sample_rate=8000)
    given = {"latent": Latent(dim=4), "labels": ["lark", "wren"], "sample": sounds, "reference_samples": 64}
    generator = dense_generator(dim=4, shape=(600,), labels=2).SerializeToString()
    chirps = make_bundle(tmp_path / "chirps", "chirps", generator=generator, critic=None, **given)
    page = (TOP / "docs" / "openai.md").read_text()
    assert set(re.findall(r"`(\w+)`", page)) >= {*ImagesBody.model_fields, *SpeechBody.model_fields}
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```$", page, re.M | re.S)
    assert [language for language, _ in blocks] == ["python", "bash", *["python"] * 3]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with Server(shower_bundle, chirps) as server:
        for language, block in blocks:
            here = block.replace("http://127.0.0.1:3000", server.url)
            if language == "python":
                exec(here, names)  # noqa: S102
                continue
            done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True)
            assert json.loads(done.stdout)["data"][0]["label"] == "pion"
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(", angle")[0] for line in printed[:4]] == [f"7 {row} photon, energy 50 GeV" for row in range(4)]
    assert printed[4] == "['shower', 'chirps']"
    assert printed[5].startswith("electron, energy ")
    assert printed[6].startswith("prompt invalid_field prompt: nothing here is called 'a cat'; labels are electron")
    assert (tmp_path / "3.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "lark.mp3").read_bytes()[:3] == b"ID3"


DEPLOYMENT = (TOP / "docs" / "deployment.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"^```bash\n(.*?)^```$", DEPLOYMENT, re.M | re.S))
def test_the_commands_of_the_page_on_deployment(block: str, bundle: Path, tmp_path: Path):
    """A server, and who asks it, in a folder of their own."""
    if "certificate" in block:
        self_signed(tmp_path)
    port, metrics = str(free_port()), str(free_port())
    for there, here in {"demo/bundle": str(bundle), "/run/": f"{tmp_path}/", "3000": port, "9090": metrics}.items():
        block = block.replace(there, here)
    serve, ask = block.replace("latentserve serve", f"{sys.executable} -P -m latentserve serve").splitlines()
    if "--socket" not in serve:
        serve += f" --port {port}"
    environment = {**os.environ, "LATENTSERVE_HOME": str(tmp_path)}
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(["bash", "-c", serve], cwd=tmp_path, env=environment, stdout=output, stderr=output)
    with server:
        try:
            while "listening" not in log.read_text():
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            subprocess.run([sys.executable, "-P", "-m", "latentserve.service.health"], env=environment, check=True)
            asked = subprocess.run(["bash", "-c", f"{ask} --fail"], cwd=tmp_path, capture_output=True, check=False)
            assert asked.returncode == 0, asked.stderr
            assert b"toy" in asked.stdout
        finally:
            server.terminate()


def test_the_commands_of_the_page_on_keys(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One after the other: a key is made, a server listens beyond this machine, and is asked; the key is revoked."""
    page = (TOP / "docs" / "keys.md").read_text()
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```$", page, re.M | re.S)
    assert [language for language, _ in blocks] == ["bash", "bash", "bash", "python", "bash"]
    port = str(free_port())
    add, serve, ask, program, revoke = (
        text.replace("demo/bundle", str(bundle)).replace("3000", port) for _, text in blocks
    )
    command = f"{sys.executable} -P -m latentserve"
    monkeypatch.setenv("LATENTSERVE_KEYS", str(tmp_path / "keys.json"))

    def run(script: str) -> str:
        here = re.sub(r"^latentserve", command, script, flags=re.M)
        done = subprocess.run(["bash", "-euc", here], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "gallery" in run(add)
    log = tmp_path / "log"
    with log.open("wb") as output:
        line = serve.replace("latentserve", f"exec {command}").strip()
        server = subprocess.Popen(["bash", "-c", f"{line} --port {port}"], cwd=tmp_path, stdout=output, stderr=output)
    with server:
        try:
            while "listening" not in log.read_text():
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            assert json.JSONDecoder().raw_decode(run(ask))[0]["seed"] == 7
            assert len(np.load(tmp_path / "four.npy")) == 4
            monkeypatch.setenv("LATENTSERVE_KEY", (tmp_path / "gallery.key").read_text())
            known: dict[str, Any] = {}
            exec(program, known)  # noqa: S102
            assert len(known["rows"]) == 4
            typed(revoke, tmp_path)
            with pytest.raises(ServerError, match="was revoked"):
                exec(program, {})  # noqa: S102
        finally:
            server.terminate()


def test_the_commands_of_the_page_on_the_account(bundle: Path, tmp_path: Path):
    """A server keeps one, and what it served is made again of it."""
    page = (TOP / "docs" / "audit.md").read_text()
    serve, ask, others, find = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
    (line,) = re.findall(r"\n\n```\n(.*?)^```$", page, re.M | re.S)
    version = json.loads((bundle / "manifest.json").read_text())["version"]

    with Server(bundle, **{serve.split("=")[0].removeprefix("LATENTSERVE_").lower(): tmp_path / "account"}) as server:

        def run(script: str) -> str:
            here = script.replace("demo/bundle", str(bundle)).replace("http://127.0.0.1:3000", server.url)
            return typed(here.replace("digits", "toy").replace("4a40bf57d0b0", version), tmp_path)

        told, made = run(ask).splitlines()
        assert made == "again.npy: 4 samples, made again"
        shown = json.loads(line.replace("digits", "toy").replace("4a40bf57d0b0", version))
        assert json.loads(told) == {**shown, "time": json.loads(told)["time"]}
        assert told in run(others)
        again, row = np.load(tmp_path / "again.npy"), np.load(tmp_path / "row.npy")
        with Image.open(BytesIO(server.samples(accept="image/png", seed=7, label=3).content)) as picture:
            Image.fromarray(np.asarray(picture)).save(tmp_path / "served.png")
        assert run(find).splitlines()[-1].startswith("exact: ")
        served = server.samples(accept="application/x-npy", n=4, seed=7, label=3).content
        assert np.allclose(np.frombuffer(served[-again.nbytes :], np.float32), again.ravel(), atol=1e-5)
        assert np.allclose(row[0], again[2], atol=1e-5)


def test_the_commands_of_the_page_on_signed_bundles(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """But for the server that would run on."""
    library = pytest.importorskip("model_signing._cli", reason="needs latentserve[sign]").main
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a key with")
    page = (TOP / "docs" / "signing.md").read_text()
    lines = [line for block in re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S) for line in block.splitlines()]
    shutil.copytree(bundle, tmp_path / "demo" / "bundle")
    monkeypatch.chdir(tmp_path)
    printed = []
    for program, *words in map(shlex.split, lines):
        if program == "export":
            for name, value in (word.split("=") for word in words):
                monkeypatch.setenv(name, value)
        elif program == "openssl":
            subprocess.run([program, *words], capture_output=True, check=True)
        elif words[0] != "serve":
            done = CliRunner().invoke({"latentserve": cli, "model_signing": library}[program], words)
            assert done.exit_code == 0, done.output
            printed.append(done.output)
    signed, checked, verified = printed
    assert hashlib.sha256((tmp_path / "signing.pub").read_bytes()).hexdigest() in signed
    assert checked.endswith("verified\n")
    assert "succeeded" in verified


def test_each_claim_of_the_page_on_threats_has_its_tests():
    page = (TOP / "docs" / "threats.md").read_text()
    claims = [row.split(" | ") for row in re.findall(r"^\| (?!claim|---)(.+) \|$", page, re.M)]
    assert len(claims) > 20
    for claim, held_by in claims:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held_by)
        assert tests, claim
        for file, test in tests:
            assert f"def {test}(" in (TOP / file).read_text(), f"{file}::{test}"


def test_the_pod_outlives_what_it_answers():
    """The manifest of the page is YAML, and its times fit the server's."""
    deployment, service = yaml.safe_load_all(re.search(r"^```yaml\n(.*?)^```$", DEPLOYMENT, re.M | re.S)[1])
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = Settings.model_fields["drain_seconds"].default
    assert pod["terminationGracePeriodSeconds"] >= sleep + drain + 10
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    stated = {variable["name"]: variable["value"] for variable in container["env"]}
    assert ports["http"] == Settings.model_fields["port"].default
    assert ports["metrics"] == Settings(**{name.removeprefix("LATENTSERVE_").lower(): value
                                           for name, value in stated.items()}).metrics_port  # fmt: skip
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {"http"}
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_commands_of_the_page_on_supervision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As they stand there, but of few images."""
    pytest.importorskip("torch", reason="needs latentserve[training]")
    blocks = re.findall(r"^```bash\n(.*?)^```$", (TOP / "docs" / "supervision.md").read_text(), re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert commands
    monkeypatch.chdir(tmp_path)
    for command in commands:
        short = ["--set", "images=256", "--set", "width=16", "--set", "tick=128"]
        monkeypatch.setattr(sys, "argv", [*shlex.split(command), *short])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, command
    assert (tmp_path / "runs" / "digits" / "stats.jsonl").read_text().count('"frechet_floor"') == 2


DATA_PAGES = [(TOP / "docs" / page).read_text() for page in ("data.md", "tables.md", "sounds.md", "series.md")]
DATA = re.findall(r"^```bash\n(latentserve train .*?)^```\n\n```\n(.*?)^```$", "\n".join(DATA_PAGES), re.M | re.S)


@pytest.fixture(scope="module")
def strangers_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="needs latentserve[training]")
    pytest.importorskip("soundfile", reason="needs latentserve[audio]")
    folder = tmp_path_factory.mktemp("data")
    examples.write_all(folder)
    return folder


@pytest.mark.parametrize(("command", "shown"), DATA, ids=[shlex.split(command)[4] for command, _ in DATA])
def test_the_pages_on_data_show_what_is_printed(
    command: str,
    shown: str,
    strangers_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """By their commands, with few images: what was understood, or the one line that asks."""
    assert len(DATA) == 10
    monkeypatch.chdir(strangers_data)
    short = ["--set", "images=64", "--set", "batch=32", "--set", "width=16", "--set", "tick=64", "--set", "snapshot=64"]
    small = ["--set", "network=dense"] if "train mnist" in command else []  # what is printed is of the data alone
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), *short, *small])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr().err
    asks = shown.startswith("latentserve: ")
    assert bool(left.value.code) == asks, printed
    start = "latentserve: " if asks else "data: "
    assert [line for line in printed.splitlines() if line.startswith(start)] == shown.splitlines()


def generators() -> dict[str, onnx.ModelProto]:
    """The files of that page."""
    noisy = [
        ("ReduceMean", "noise0", "level", {"axes": [2, 3], "keepdims": 0}),
        ("Mul", "z psi", "short", {}),
        ("Add", "short level", "m", {}),
    ]
    return {
        "stylegan": dense(
            noisy, {"z": (FLOAT, ["n", 32]), "noise0": (FLOAT, ["n", 1, 4, 4]), "psi": (FLOAT, [])}, width=32
        ),
        "cgan": dense(
            [("Gather", "E label", "e", {}), ("Mul", "z e", "m", {})],
            {"z": (FLOAT, ["n", 16]), "label": (INT64, ["n"])},
            {"E": rand(4, 16)},
        ),
        "decoder": dense([("Flatten", "latent_sample", "m", {})], {"latent_sample": (FLOAT, ["n", 4, 2, 2])}),
        "calorimeter": dense(
            [("Log", "energy", "l", {}), ("Concat", "noise l", "m", {"axis": 1})],
            {"noise": (FLOAT, ["n", 15]), "energy": (FLOAT, ["n", 1])},
        ),
    }


def test_the_commands_of_the_page_on_generators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As they stand there, of small files by the same names and inputs, and with a small reference."""
    for name, graph in generators().items():
        onnx.save(graph, tmp_path / f"{name}.onnx")
    page = (TOP / "docs" / "generators.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 5
    monkeypatch.chdir(tmp_path)
    printed = []
    for command in commands:
        done = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--reference-samples", "64"])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    (shown,) = re.findall(r"\n\n```\n(.*?)^```$", page, re.M | re.S)
    assert shown in printed[0]
    table = page.partition("## What an input is")[2].partition("\n## ")[0]
    words = [word for row in re.findall(r"^\| (`.+?`.*?) \| ", table, re.M) for word in re.findall(r"`([^`]+)`", row)]
    assert len(words) > 15
    np.save(tmp_path / "w.npy", np.ones(3))
    for word in words:
        assert parse_role("x", word)
