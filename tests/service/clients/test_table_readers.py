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


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_polars(address: str, people: dict[str, list[Any]], form: str) -> None:
    """Of an answer's bytes: by an address it wants lengths and ranges."""
    import polars

    found = getattr(polars, f"read_{form}")(content(f"{address}&format={form}"))
    equal(found.to_dict(as_series=False), people)


def test_pyarrow(address: str, people: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    with urllib.request.urlopen(f"{address}&format=arrow") as answer:  # noqa: S310
        equal(pa.ipc.open_stream(answer).read_all().to_pydict(), people)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_duckdb(address: str, people: dict[str, list[Any]], form: str, tmp_path: Path) -> None:
    """Of a file: for addresses it needs an extension that it fetches from elsewhere."""
    import duckdb

    file = tmp_path / f"people.{form}"
    file.write_bytes(content(f"{address}&format={form}"))
    found = getattr(duckdb, f"read_{form}")(str(file))
    rows = found.fetchall()
    equal({name: [row[place] for row in rows] for place, name in enumerate(found.columns)}, people)
