"""A table served over a socket: rows, CSV and Arrow say the same of the same seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from latentserve.service.bundle import Column, Latent, SampleSpec
from latentserve.service.commands.sample import sample
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

SPEC = SampleSpec(
    kind="table",
    shape=[3],
    columns=[
        Column(name="share", type="float64", decimals=2),
        Column(name="sign", type="string", categories=["small", "large"]),
        Column(name="count", type="int64", missing=0),
    ],
)


def test_every_form_of_a_table_holds_the_same_rows(tmp_path: Path, start_server: Callable[..., Server]) -> None:
    generator = dense_generator(dim=5, shape=(3,), labels=None).SerializeToString()
    told = {"critic": None, "latent": Latent(dim=5), "labels": None, "sample": SPEC}
    bundle = make_bundle(tmp_path / "table", name="table", generator=generator, **told)
    http = start_server(bundle).http

    def answer(media: str) -> bytes:
        reply = http.post("/v1/samples", json={"n": 300, "seed": 5}, headers={"Accept": media})
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"].startswith(media)
        return reply.content

    numbers = np.load(io.BytesIO(answer("application/x-npy")))
    rows = [list(row.values()) for row in csv.DictReader(io.StringIO(answer("text/csv").decode()))]
    assert [row[0] for row in rows] == [str(round(float(value), 2)) for value in numbers[:, 0]]
    assert [row[1] for row in rows] == ["large" if value > 0.5 else "small" for value in numbers[:, 1]]
    assert {row[2] for row in rows} <= {"", "0", "1", "-1"}

    words = ["-n", "300", "--seed", "5", "--out", str(tmp_path / "rows.csv")]
    done = CliRunner().invoke(sample, [str(bundle), *words])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "rows.csv").read_bytes() == answer("text/csv")

    reply = http.post("/v1/samples", json={"n": 300, "seed": 5}).json()
    assert reply["columns"] == ["share", "sign", "count"]
    assert [["" if value is None else str(value) for value in row] for row in reply["samples"]] == rows

    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    table = pa.ipc.open_stream(answer("application/vnd.apache.arrow.stream")).read_all()
    assert [list(row.values()) for row in table.to_pylist()] == reply["samples"]
