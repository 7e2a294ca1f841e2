"""`latentserve drift`: the cause of each fault, of a bundle and of a server; real data that moved; refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drift.faults import drop_mode
from latentserve.service.bundle import read_bundle
from latentserve.service.encoding.images import to_uint8
from latentserve.service.packing.real import keep_real
from latentserve.service.packing.rows import Drawer
from tests.conftest import make_bundle
from tests.server import Server, free_port
from tests.service.commands.test_commands import Ended, assert_refused, run  # noqa: F401
from tests.service.test_bad_input import forge

Run = Callable[..., Ended]
Real = NDArray[np.float32]


@pytest.fixture(scope="module")
def real(bundle: Path) -> Real:
    """Real data: what the generator itself gives, so that it is known to be at no distance."""
    drawer = Drawer(read_bundle(bundle))
    return np.concatenate([drawer.samples(200, 1 << 46), drawer.samples(200, 1 << 47)])


@pytest.fixture(scope="module")
def real_bundle(bundle: Path, real: Real, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy bundle with a real side: the first half of the real data."""
    out = tmp_path_factory.mktemp("bundles") / "real"
    return make_bundle(out, "real", real=keep_real(real[:200], read_bundle(bundle).manifest.sample, "real"))


def pictures(folder: Path, samples: Real) -> Path:
    """The samples as PNG files."""
    folder.mkdir()
    for index, picture in enumerate(to_uint8(samples, (-1, 1))):
        Image.fromarray(picture[0]).save(folder / f"{index:04}.png")
    return folder


def test_a_good_bundle(run: Run, bundle: Path) -> None:  # noqa: F811
    ended = run("drift", bundle)
    assert ended.status == 0, ended.out
    assert ended.err == ""
    manifest = read_bundle(bundle).manifest
    first, sentence, *numbers = ended.out.splitlines()
    assert first == f"{manifest.name} {manifest.version}: none"
    assert sentence == "The samples are as the reference has them."
    cells = [re.split(r"  +", line.strip()) for line in numbers]
    assert cells[0] == ["rows looked at", "20,000 (server 0, client 0, control 20,000)"]
    assert len({line.index(value) for line, (_, value) in zip(numbers, cells, strict=True)}) == 1  # aligned


def test_as_json_it_is_what_a_server_answers(run: Run, plain_bundle: Path) -> None:  # noqa: F811
    ended = run("drift", plain_bundle, "--json")
    assert ended.status == 0
    (model,) = json.loads(ended.out)["models"]
    assert set(model) == {"model", "version", "cause", "sentence", "evidence", "age_seconds"}
    assert (model["model"], model["cause"]) == ("plain", "none")
    assert model["evidence"]["rows"] == {"server": 0, "client": 0, "control": 20_000}
    assert max(model["evidence"]["log_evidence"].values()) < model["evidence"]["log_threshold"]


def test_a_slow_generator_says_how_long_it_takes_and_is_given_the_time(run: Run, bundle: Path) -> None:  # noqa: F811
    """One batch is all there is time for; as many rows as the reference has are enough."""
    ended = run("drift", bundle, "--seconds", "1e-9")
    assert ended.status == 3
    first, sentence, *_ = ended.out.splitlines()
    assert first.endswith(": not_enough_samples")
    assert sentence.startswith("256 rows were looked at; a verdict needs 2000. At ")
    assert re.search(r"rows a second that takes about \d+ s here: give --seconds or --rows\.$", sentence)
    ended = run("drift", bundle, "--rows", "2000")
    assert (ended.status, ended.out.splitlines()[0].split(": ")[1]) == (0, "none")
    assert "2,000 (server 0, client 0, control 2,000)" in ended.out
    assert run("drift", bundle, "--rows", "2000", "--seconds", "1e-9").status == 3
    assert_refused(run("drift", "http://127.0.0.1:9", "--rows", "9"), "--rows", "of a bundle's folder")


def test_weights_that_changed_with_hashes_that_fit(run: Run, tmp_path: Path) -> None:  # noqa: F811
    ended = run("drift", forge(tmp_path))
    assert ended.status == 1
    first, sentence, *_ = ended.out.splitlines()
    assert first.endswith(": weights_or_hardware")
    assert "golden probes are off by" in sentence


def test_a_generator_that_changed_where_no_probe_is(run: Run, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    drop_mode(bundle, tmp_path / "faulty", np.random.default_rng(0))
    ended = run("drift", tmp_path / "faulty")
    assert ended.status == 1
    assert ended.out.splitlines()[0].endswith(": unknown")
    assert "\n  alarm of " in ended.out


def test_a_bundle_without_a_reference(run: Run, tmp_path: Path) -> None:  # noqa: F811
    path = make_bundle(tmp_path / "bare")
    (path / "reference.npz").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]["reference.npz"]
    (path / "manifest.json").write_text(json.dumps({**manifest, "monitor": None}))
    ended = run("drift", path)
    assert ended.status == 3
    first, sentence, *_ = ended.out.splitlines()
    assert first.endswith(": not_enough_samples")
    assert "no reference" in sentence
    assert_refused(run("drift", path, "--real", tmp_path), str(path), "keeps no real samples")


# Real data.


def test_real_data_that_did_not_move(run: Run, real_bundle: Path, real: Real, tmp_path: Path) -> None:  # noqa: F811
    ended = run("drift", real_bundle, "--real", pictures(tmp_path / "today", real[200:]), "--json")
    assert ended.status == 0, ended.out
    (model,) = json.loads(ended.out)["models"]
    assert model["cause"] == "none"
    found = model["evidence"]["real"]
    assert found["samples"] == 200
    for name in ("from_reference", "from_generator", "halves"):
        _, low, high = found[name]
        assert low < 0.01, name
        assert high > 0, name


def test_real_data_that_moved(run: Run, real_bundle: Path, real: Real, tmp_path: Path) -> None:  # noqa: F811
    np.save(tmp_path / "today.npy", np.clip(real[200:] + 0.3, -1, 1))
    ended = run("drift", real_bundle, "--real", tmp_path / "today.npy")
    assert ended.status == 1
    first, sentence, *numbers = ended.out.splitlines()
    assert first.endswith(": stale_reference")
    assert "real data of today" in sentence
    shown = [re.split(r"  +", line.strip()) for line in numbers]
    values = [float(value.split(" ")[0]) for name, value in shown if name.startswith("from the ")]
    assert len(values) == 2
    assert min(values) > 0.01


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("unreadable", "not a picture"),
        ("shape", "[n, 1, 8, 8]"),
        ("none", "holds 0 real samples"),
        ("few", "holds 5 real samples"),
    ],
)
def test_real_data_that_cannot_be_used(
    run: Run,  # noqa: F811
    real_bundle: Path,
    real: Real,
    tmp_path: Path,
    kind: str,
    words: str,
) -> None:
    path = named = tmp_path / "real"
    if kind == "unreadable":
        named = pictures(path, real[:40]) / "0007.png"
        named.write_bytes(b"no picture")
    elif kind == "none":
        path.mkdir()
    elif kind != "missing":
        path = named = tmp_path / "real.npy"
        np.save(path, real[:100, :, :7] if kind == "shape" else real[:5])
    assert_refused(run("drift", real_bundle, "--real", path), str(named), words)


def test_a_bundle_that_kept_no_real_data(run: Run, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    assert_refused(run("drift", bundle, "--real", tmp_path), str(bundle), "keeps no real samples")


# Servers.


def test_a_server_of_two_models(run: Run, server: Server) -> None:  # noqa: F811
    told = server.http.get("/v1/drift").json()["models"]
    ended = run("drift", server.url)
    blocks = ended.out.rstrip().split("\n\n")
    heads = [block.splitlines()[0] for block in blocks]
    assert heads == [f"{model['model']} {model['version']}: {model['cause']}" for model in told]
    assert len(heads) == 2
    causes = {model["cause"] for model in told}
    few = 3 if "not_enough_samples" in causes else 0
    assert ended.status == (1 if causes - {"none", "not_enough_samples"} else few)


def test_what_is_no_server(run: Run, server: Server, tmp_path: Path) -> None:  # noqa: F811
    nobody = f"http://127.0.0.1:{free_port()}"
    assert_refused(run("drift", nobody), nobody)
    assert_refused(run("drift", f"{server.url}/nothing"), "no latentserve server (404")
    assert_refused(run("drift", "http://[::1"), "http://[::1")
    assert_refused(run("drift", "http://"), "http:")
    assert_refused(run("drift", server.url, "--real", tmp_path), "--real", "bundle's folder")
    assert_refused(run("drift", tmp_path / "nothing"), "nothing")


def test_a_reference_too_small_for_features_says_that_they_are_left_out(run: Run, tmp_path: Path) -> None:  # noqa: F811
    path = make_bundle(tmp_path / "few", reference_samples=30)
    monitor = read_bundle(path).manifest.monitor
    assert monitor is not None
    assert monitor.components == 0
    ended = run("drift", path, "--rows", "5000", "--json")
    assert ended.status == 0
    evidence = json.loads(ended.out)["models"][0]["evidence"]
    assert evidence["left_out"] == ["joint"]
    assert "joint" not in evidence["log_evidence"]
    assert "left out, of too few reference samples  joint" in run("drift", path, "--rows", "5000").out
