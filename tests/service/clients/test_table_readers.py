"""Programs that read tables, given a sample's address and nothing else."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentserve import open_bundle
from latentserve.service.bundle import Column, Latent, SampleSpec, typed
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

COLUMNS = [
    Column(name="height", decimals=2),
    Column(name="job", type="string", categories=["nurse, at night", None]),
    Column(name="children", type="int64"),
]
ROWS = 50


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("bundles") / "people",
        name="people",
        generator=dense_generator(dim=3, shape=(3,), labels=None).SerializeToString(),
        latent=Latent(dim=3),
        critic=None,
        labels=None,
        sample=SampleSpec(kind="table", shape=[3], columns=COLUMNS),
        reference_samples=64,
    )


@pytest.fixture(scope="module")
def people(table: Path) -> dict[str, list[Any]]:
    """What every reader must find."""
    rows = open_bundle(table).sample(ROWS, seed=7)
    found = {one.name: typed(rows[:, place], one).tolist() for place, one in enumerate(COLUMNS)}
    assert None in found["job"]
    return found


@pytest.fixture(scope="module")
def address(table: Path) -> Iterator[str]:
    """Of the samples; `&format=...` follows."""
    with Server(table) as server:
        yield f"{server.url}/v1/models/people/samples/7?n={ROWS}"


def equal(found: dict[str, list[Any]], people: dict[str, list[Any]]) -> None:
    assert list(found) == list(people)
    assert np.allclose(found["height"], people["height"], atol=1e-6)
    assert found["children"] == people["children"]
    assert [None if one != one else one for one in found["job"]] == people["job"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_pandas(address: str, people: dict[str, list[Any]], form: str) -> None:
    import pandas

    frame = getattr(pandas, f"read_{form}")(f"{address}&format={form}")
    equal(frame.to_dict(orient="list"), people)


def content(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:  # noqa: S310
        found: bytes = answer.read()
    return found


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_polars(address: str, people: dict[str, list[Any]], form: str) -> None:
    """By its address: it asks for the length, then for parts."""
    import polars

    found = getattr(polars, f"scan_{form}")(f"{address}&format={form}").collect()
    if form == "ndjson":
        found = found.unnest("sample").select(list(people))
    equal(found.to_dict(as_series=False), people)


def test_polars_reads_what_it_needs(address: str, people: dict[str, list[Any]]) -> None:
    import polars

    lazy = polars.scan_parquet(f"{address}&format=parquet")
    found = lazy.filter(polars.col("children") == people["children"][3]).select("height").collect()
    wanted = [height for height, count in zip(people["height"], people["children"], strict=True)
              if count == people["children"][3]]  # fmt: skip
    assert np.allclose(found["height"], wanted, atol=1e-6)


def test_pyarrow(address: str, people: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    with urllib.request.urlopen(f"{address}&format=arrow") as answer:  # noqa: S310
        equal(pa.ipc.open_stream(answer).read_all().to_pydict(), people)


def test_pyarrow_by_address(address: str, people: dict[str, list[Any]]) -> None:
    """Through fsspec, which reads in parts."""
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    import pyarrow.parquet as pq

    with fsspec.open(f"{address}&format=parquet") as file:
        equal(pq.read_table(file).to_pydict(), people)


def rows_of(found: Any) -> dict[str, list[Any]]:
    rows = found.fetchall()
    return {name: [row[place] for row in rows] for place, name in enumerate(found.columns)}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_duckdb(address: str, people: dict[str, list[Any]], form: str, tmp_path: Path) -> None:
    """Of a file, as it is."""
    import duckdb

    file = tmp_path / f"people.{form}"
    file.write_bytes(content(f"{address}&format={form}"))
    with duckdb.connect() as connection:
        equal(rows_of(getattr(connection, f"read_{form}")(str(file))), people)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_duckdb_by_address(address: str, people: dict[str, list[Any]], form: str) -> None:
    """Its extension for addresses comes from elsewhere."""
    import duckdb

    connection = duckdb.connect()
    try:
        connection.execute("LOAD httpfs")
    except duckdb.Error as error:
        pytest.skip(f"duckdb has no httpfs here: {str(error).splitlines()[0]}")
    equal(rows_of(connection.sql(f"FROM read_{form}('{address}&format={form}')")), people)
