"""A table from file to served rows, and what is kept of it on the way."""

import csv
import io
import json
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.training import networks
from latentserve.training.commands import train
from latentserve.training.data import Dataset, load
from latentserve.training.errors import DataError
from latentserve.training.recipe import load_config, read_config
from latentserve.training.reporting.pictures import save_columns
from latentserve.training.run import checkpoint, loop
from tests.server import Server
from tests.training.people import write_people

SHORT = ("images=512", "tick=256", "snapshot=512", "width=32", "latent=64", "batch=128", "label=rich")
TYPES = {"age": int, "school": str, "income": float, "country": str, "rich": str}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load("files", write_people(tmp_path_factory.mktemp("data") / "people.csv"), label="rich")


def test_from_the_recipe_to_served_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    start_server: Callable[..., Server],
) -> None:
    def latentserve(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, capsys.readouterr().err

    folder = tmp_path / "data"
    folder.mkdir()
    write_people(folder / "people.csv")
    short = [word for field in SHORT for word in ("--set", field)]
    latentserve("train", "adult", "--data", folder, *short, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "reals.png").exists()
    assert (tmp_path / "run" / "samples-000000512.png").exists()
    words = ["--data", folder, "--reference-samples", 600, "--out", tmp_path / "bundle"]
    latentserve("export", tmp_path / "run", *words)

    manifest = read_bundle(tmp_path / "bundle").manifest
    assert (manifest.name, manifest.sample.kind, manifest.lineage.dataset) == ("adult", "table", "people")
    assert manifest.labels == ["no", "yes"]
    assert manifest.onnx.critic is not None
    share = load("files", folder, label="rich").labels.mean()
    assert manifest.label_prior == pytest.approx([1 - share, share])

    http = start_server(tmp_path / "bundle").http

    def answer(media: str, **body: object) -> bytes:
        reply = http.post("/v1/samples", json={"n": 200, "seed": 5, **body}, headers={"Accept": media})
        assert reply.status_code == 200, reply.text
        return reply.content

    rows = list(csv.DictReader(io.StringIO(answer("text/csv").decode())))
    assert list(rows[0]) == list(TYPES)
    assert {row["school"] for row in rows} <= {"", "none", "some", "much"}
    assert {row["country"] for row in rows} == {"here"}
    assert {row["rich"] for row in rows} == {"no", "yes"}
    assert all(row["age"] == "" or 17 <= int(row["age"]) <= 89 for row in rows)
    assert any(row["age"] == "" for row in rows)
    assert any(float(row["income"]) == 0 for row in rows)
    assert len({tuple(row.values()) for row in rows}) > 50
    rich = list(csv.DictReader(io.StringIO(answer("text/csv", label="yes").decode())))
    assert {row["rich"] for row in rich} == {"yes"}
    document = json.loads(answer("application/json"))
    assert document["columns"] == list(TYPES)
    written = [["" if value is None else str(value) for value in row] for row in document["samples"]]
    assert written == [list(row.values()) for row in rows]
    for column, values in zip(TYPES.values(), zip(*document["samples"], strict=True), strict=True):
        assert {type(value) for value in values} - {type(None)} == {column}
    refused = http.post("/v1/samples", json={"n": 1, "label": "maybe"})
    assert (refused.status_code // 100, "label" in refused.text) == (4, True)

    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    table = pa.ipc.open_stream(answer("application/vnd.apache.arrow.stream")).read_all()
    assert {name: str(kind) for name, kind in zip(table.schema.names, table.schema.types, strict=True)} == {
        "age": "int64",
        "school": "string",
        "income": "double",
        "country": "string",
        "rich": "string",
    }
    told = [["" if value is None else str(value) for value in row.values()] for row in table.to_pylist()]
    assert told == [list(row.values()) for row in rows]


def test_a_run_of_a_table_resumes_bit_for_bit_with_the_transform_it_began_with(people: Dataset, tmp_path: Path) -> None:
    config = load_config("adult", SHORT)
    for name, stop in (("whole", 99), ("parts", 1)):
        (tmp_path / name).mkdir()
        asked = iter(range(stop))
        loop.train(config, people, tmp_path / name, lambda asked=asked: next(asked, None) is None)
    loop.train(config, people, tmp_path / "parts")
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())

    known = checkpoint.description(tmp_path / "whole" / "checkpoint.safetensors", people.description)
    assert known == people.description
    other = load("files", write_people(tmp_path / "more.csv", 500), label="rich").description
    assert checkpoint.description(tmp_path / "whole" / "checkpoint.safetensors", other) == other


def test_a_table_that_is_wider_than_the_recipe_gets_a_larger_latent(tmp_path: Path) -> None:
    """It is said, a run goes on with it, and what is stated is kept to."""
    shipped = files("latentserve.training.recipe").joinpath("adult.yaml").read_text()
    recipe = tmp_path / "narrow.yaml"
    recipe.write_text(shipped.replace("latent: 192", "latent: 10"))
    data = write_people(tmp_path / "people.csv")
    short = [word for field in SHORT if not field.startswith("latent") for word in ("--set", field)]
    words = [str(recipe), "--data", str(data), *short, "--out", str(tmp_path / "run")]
    for _ in range(2):
        done = CliRunner().invoke(train, words, catch_exceptions=False)
        assert "latent: 64 instead of 10: this table has" in done.output
    assert "nothing left to train" in done.output
    assert read_config(tmp_path / "run" / "config.yaml").latent == 64
    refused = CliRunner().invoke(train, [*words[:-1], str(tmp_path / "other"), "--set", "latent=10"])
    assert "10 are too few: --set latent=" in str(refused.exception)


def test_a_picture_of_the_columns(people: Dataset, tmp_path: Path) -> None:
    rows = people.take(slice(0, 50))
    save_columns(rows, people.labels[:50], people, tmp_path / "rows.png")
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
    rows[:, 0] = (people.columns or [])[0].missing
    unseen = people.subset(np.flatnonzero(people.labels == 0))
    save_columns(rows, people.labels[:50], unseen, tmp_path / "unseen.png")
    assert (tmp_path / "unseen.png").read_bytes() != (tmp_path / "rows.png").read_bytes()


def test_a_folder_with_two_tables_of_other_columns_is_refused(tmp_path: Path) -> None:
    write_people(tmp_path / "one.csv")
    assert load("files", tmp_path, label="rich").name == "one"
    (tmp_path / "two.csv").write_text("city,inhabitants\nOslo,700000\n")
    with pytest.raises(DataError, match="has not: join them into one table, or name"):
        load("files", tmp_path, label="rich")


def test_other_networks_than_tabular_refuse_a_table(people: Dataset) -> None:
    from latentserve.training.errors import ConfigError

    with pytest.raises(ConfigError, match=r"dense makes .*; people holds samples that are table"):
        networks.require_fit(load_config("adult", ("network=dense",)), people.description)
