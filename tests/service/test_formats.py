"""Every format over a socket: the same rows, with each one's seed, number, label and condition where there is room."""

from __future__ import annotations

import base64
import io
import json
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from latentserve.service.bundle import Column, Latent, SampleSpec
from latentserve.service.commands.sample import sample
from latentserve.service.encoding.images import to_uint8
from tests.conftest import SHOWER_CONDITIONS, SHOWER_LATENT, make_bundle, make_shower
from tests.generators import dense_generator
from tests.server import Server

TABLE = SampleSpec(
    kind="table",
    shape=[3],
    columns=[
        Column(name="share", type="float64", decimals=2),
        Column(name="sign", type="string", categories=["small", "large"]),
        Column(name="count", type="int64", missing=0),
    ],
)
N, SEED, OFFSET = 300, 5, 7  # more rows than a slice has
ASKED = {"n": N, "seed": SEED, "offset": OFFSET, "condition": {"energy": 50}}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each kind of sample, with labels and conditions."""
    folder = tmp_path_factory.mktemp("bundles")
    labels = ["electron", "photon", "\N{GREEK SMALL LETTER PI}, neutral"]
    told = {"latent": SHOWER_LATENT, "conditions": SHOWER_CONDITIONS, "labels": labels}
    specs = {
        "table": TABLE,
        "sound": SampleSpec(kind="audio", shape=[2, 16], sample_rate=8000),
        "array": SampleSpec(kind="array", shape=[2, 3], value_range=(-1, 1)),
    }
    made = {name: make_shower(folder / name, name, sample=spec, **told) for name, spec in specs.items()}
    made["picture"] = make_shower(folder / "picture", "picture", labels=labels)
    made["plain"] = make_bundle(
        folder / "plain",
        "plain",
        generator=dense_generator(dim=5, shape=(3,), labels=None).SerializeToString(),
        **{"critic": None, "latent": Latent(dim=5), "labels": None, "sample": TABLE, "reference_samples": 64},
    )
    return made


@pytest.fixture(scope="module")
def server(bundles: dict[str, Path]) -> Iterator[Server]:
    with Server(*bundles.values()) as running:
        yield running


def ask(server: Server, model: str, form: str, **fields: object) -> httpx.Response:
    """An answer by `?format=`."""
    body = {"model": model, **ASKED, **fields}
    if model == "plain":
        del body["condition"]
    return server.http.post("/v1/samples", params={"format": form}, json=body).raise_for_status()


def facts(server: Server, model: str) -> list[dict[str, Any]]:
    """What JSON tells of each row, with its sample."""
    answer = ask(server, model, "json").json()
    numbers = range(answer["offset"], answer["offset"] + answer["n"])
    told = [{"sample": one, "seed": SEED, "row": row} for one, row in zip(answer["samples"], numbers, strict=True)]
    for plural, name in (("labels", "label"), ("conditions", "condition")):
        for row, value in zip(told, answer.get(plural, ()), strict=False):
            row[name] = value
    return told


@pytest.mark.parametrize("model", ["table", "sound", "array", "picture", "plain"])
def test_ndjson_is_an_object_a_row(server: Server, model: str) -> None:
    answer = ask(server, model, "ndjson")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.content.splitlines()]
    expected = facts(server, model)
    if model in ("table", "plain"):
        for row in expected:
            row["sample"] = dict(zip(("share", "sign", "count"), row["sample"], strict=True))
    assert lines == expected
    assert len(pd.read_json(io.BytesIO(answer.content), lines=True)) == N


def members(server: Server, model: str, **fields: object) -> dict[str, bytes]:
    """Of a ZIP archive, in order; `metadata.jsonl` is what JSON tells."""
    answer = ask(server, model, "zip", **fields)
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(found.pop("about.json"))
    assert (about["model"], about["n"], about["seed"], about["synthetic"]) == (model, N, SEED, True)
    lines = [json.loads(line) for line in found.pop("metadata.jsonl").splitlines()]
    files = [line.pop("file_name", None) for line in lines]
    assert files == (list(found) if len(found) > 1 else [None] * N)
    expected = facts(server, model)
    for row in expected:
        del row["sample"]
    assert lines == expected
    return found


def test_pictures_in_an_archive(server: Server) -> None:
    found = members(server, "picture")
    told = ask(server, "picture", "json").json()["samples"]
    assert next(iter(found)) == "000007.png"
    assert list(found.values()) == [base64.b64decode(one) for one in told]
    with Image.open(io.BytesIO(found["000300.png"])) as picture:
        assert (picture.text["Seed"], picture.text["Row"]) == ("5", "300")  # type: ignore[attr-defined]


def test_sounds_in_an_archive(server: Server) -> None:
    found = members(server, "sound")
    frames = b""
    for content in found.values():
        with wave.open(io.BytesIO(content)) as file:
            assert file.getparams()[:4] == (2, 2, 8000, 16)
            frames += file.readframes(16)
    with wave.open(io.BytesIO(ask(server, "sound", "wav").content)) as file:
        assert file.readframes(16 * N) == frames


def test_a_table_and_an_array_in_an_archive(server: Server) -> None:
    assert members(server, "table") == {"samples.csv": ask(server, "table", "csv").content}
    for dtype in ("float32", "uint8"):
        (content,) = members(server, "array", dtype=dtype).values()
        assert content == ask(server, "array", "npy", dtype=dtype).content


def test_more_files_than_an_archive_holds(server: Server) -> None:
    answer = server.samples(model="picture", n=70_000, format="zip")
    assert (answer.status_code, answer.json()["detail"][:32]) == (413, "n: 70000 files were asked for; a")
    assert server.samples(model="array", n=70_000, format="zip").status_code == 200


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_tables_as_typed_columns(server: Server, form: str) -> None:
    table = read(ask(server, "table", form).content, form)
    assert [str(kind) for kind in table.schema.types] == ["double", "string", "int64"]
    assert [list(row.values()) for row in table.to_pylist()] == [row["sample"] for row in facts(server, "table")]


def read(content: bytes, form: str) -> Any:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    if form == "arrow":
        return pa.ipc.open_stream(content).read_all()
    return pytest.importorskip("pyarrow.parquet").read_table(io.BytesIO(content))


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize("model", ["picture", "sound", "array"])
def test_everything_else_as_a_column_of_tensors(server: Server, form: str, model: str) -> None:
    numbers = np.load(io.BytesIO(ask(server, model, "npy").content))
    table = read(ask(server, model, form).content, form)
    assert table.column_names == ["sample"]
    column = table["sample"].combine_chunks()
    assert column.type.extension_name == "arrow.fixed_shape_tensor"
    assert column.to_numpy_ndarray().dtype == np.float32
    assert np.array_equal(column.to_numpy_ndarray(), numbers)
    if model != "sound":  # it has no value_range
        bytes_ = read(ask(server, model, form, dtype="uint8").content, form)["sample"].combine_chunks()
        assert np.array_equal(bytes_.to_numpy_ndarray(), to_uint8(numbers, (-1, 1)))


def test_arrow_tells_in_the_metadata_of_each_batch(server: Server) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    expected = facts(server, "table")
    reader = pa.ipc.open_stream(ask(server, "table", "arrow").content)
    head = json.loads(reader.schema.metadata[b"latentserve"])
    assert (head["model"], head["seed"], head["offset"], head["synthetic"]) == ("table", SEED, OFFSET, True)
    told = []
    for batch, metadata in reader.iter_batches_with_custom_metadata():
        of_batch = json.loads(metadata[b"latentserve"])
        assert of_batch["row"] == OFFSET + len(told)
        assert len(of_batch["labels"]) == len(batch)
        told += list(zip(of_batch["labels"], of_batch["conditions"], strict=True))
    assert told == [(row["label"], row["condition"]) for row in expected]
    # Of few rows the schema's, which readers keep, tells all.
    few = pa.ipc.open_stream(ask(server, "table", "arrow", n=3).content).read_all().schema.metadata[b"latentserve"]
    assert json.loads(few)["labels"] == [row["label"] for row in expected[:3]]


def test_parquet_tells_in_its_metadata(server: Server) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="needs latentserve[tables]")
    content = ask(server, "picture", "parquet").content
    head = json.loads(pq.read_table(io.BytesIO(content)).schema.metadata[b"latentserve"])
    assert (head["seed"], head["offset"], head["n"]) == (SEED, OFFSET, N)
    told = json.loads(pq.read_metadata(io.BytesIO(content)).metadata[b"latentserve.rows"])
    expected = facts(server, "picture")
    assert told["labels"] == [row["label"] for row in expected]
    assert told["conditions"] == [row["condition"] for row in expected]


@pytest.mark.parametrize("form", ["csv", "arrow", "parquet"])
def test_columns_of_the_address(server: Server, form: str) -> None:
    """Only where they are asked for: what is trained on a table is not to learn the seed."""
    content = ask(server, "table", form, address=True).content
    frame = pd.read_csv(io.BytesIO(content)) if form == "csv" else read(content, form).to_pandas()
    own = ["share", "sign", "count"]
    assert list(frame) == [*own, "$seed", "$row", "$label", "$condition.energy", "$condition.angle"]
    expected = facts(server, "table")
    assert set(frame["$seed"]) == {SEED}
    assert frame["$row"].tolist() == list(range(OFFSET, OFFSET + N))
    assert frame["$label"].tolist() == [row["label"] for row in expected]
    assert np.array_equal(
        np.float32(frame["$condition.angle"]), np.float32([row["condition"]["angle"] for row in expected])
    )
    plain = ask(server, "plain", form, address=True).content
    frame = pd.read_csv(io.BytesIO(plain)) if form == "csv" else read(plain, form).to_pandas()
    assert list(frame) == [*own, "$seed", "$row"]


@pytest.mark.parametrize("form", ["png", "webp", "npy", "raw"])
def test_headers_tell_where_there_is_no_room(server: Server, form: str) -> None:
    headers = ask(server, "picture", form, n=4).headers
    expected = facts(server, "picture")[:4]
    assert (headers["Latentserve-Seed"], headers["Latentserve-Offset"]) == (str(SEED), str(OFFSET))
    assert json.loads(headers["Latentserve-Labels"]) == [row["label"] for row in expected]
    assert json.loads(headers["Latentserve-Conditions"]) == [row["condition"] for row in expected]
    assert "Latentserve-Rows" not in headers


def test_headers_are_bounded(server: Server) -> None:
    for n in (200, N):
        headers = ask(server, "picture", "npy", n=n).headers
        assert "Latentserve-Labels" not in headers
        assert sum(len(name) + len(value) + 4 for name, value in headers.raw) < 4096
    assert "Latentserve-Labels" not in ask(server, "picture", "json", n=1).headers


def test_a_format_that_was_named_counts_before_accept(server: Server) -> None:
    def kind(query: str, accept: str, **body: object) -> str:
        answer = server.http.post(f"/v1/samples{query}", json={"model": "table", **body}, headers={"Accept": accept})
        return answer.headers["Content-Type"].split(";")[0] if answer.status_code == 200 else str(answer.status_code)

    assert kind("?format=csv", "application/json") == "text/csv"
    assert kind("?format=csv", "text/html") == "text/csv"
    assert kind("", "text/html", format="csv") == "text/csv"
    assert kind("", "text/csv;q=0.5, application/x-ndjson;q=0.6, image/png") == "application/x-ndjson"
    assert kind("?format=png", "*/*") == "406"
    assert kind("?format=tiff", "*/*") == "422"
    assert kind("?format=csv&format=csv", "*/*") == "422"
    assert kind("?format=csv", "*/*", format="csv") == "422"
    assert kind("?n=3", "*/*") == "422"
    assert kind("?format=", "*/*") == "422"


def test_a_format_beside_a_body_of_arrays(server: Server) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.full((2, 12), 0.5))
    answer = server.http.post(
        "/v1/samples?model=picture&format=ndjson",
        content=buffer.getvalue(),
        headers={"Content-Type": "application/x-npy"},
    )
    lines = [json.loads(line) for line in answer.raise_for_status().content.splitlines()]
    assert [line["row"] for line in lines] == [0, 1]
    assert all("seed" not in line and "label" in line for line in lines)


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("picture", "json"),
        ("picture", "zip"),
        ("picture", "arrow"),
        ("table", "ndjson"),
        ("table", "parquet"),
        ("table", "csv"),
        ("sound", "zip"),
        ("array", "jsonl"),
    ],
)
def test_the_command_writes_what_a_server_answers(
    server: Server, bundles: dict[str, Path], model: str, suffix: str, tmp_path: Path
) -> None:
    words = ["-n", "20", "--seed", "5", "--condition", "energy=50", "--out", str(tmp_path / f"rows.{suffix}")]
    done = CliRunner().invoke(sample, [str(bundles[model]), *words])
    assert done.exit_code == 0, done.output
    form = "ndjson" if suffix == "jsonl" else suffix
    answer = ask(server, model, form, n=20, offset=0, deterministic=True)
    assert (tmp_path / f"rows.{suffix}").read_bytes() == answer.content
