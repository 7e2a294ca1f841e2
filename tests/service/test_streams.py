"""Answers of many rows: a server holds a few of them at a time, whatever their format, however slow the reader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentserve.service.bundle import Column, Latent, SampleSpec
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

WIDTH = 1024
MOST_BYTES = 64 << 20  # over what it held before: a fraction of any of the answers
SPECS = {
    "array": SampleSpec(kind="array", shape=[WIDTH]),
    "sound": SampleSpec(kind="audio", shape=[WIDTH], sample_rate=8000),
    "table": SampleSpec(kind="table", shape=[16], columns=[Column(name=f"column {index}") for index in range(16)]),
    "picture": SampleSpec(kind="image", shape=[1, 32, 32], value_range=(-1, 1), channels="L"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model of each kind, that takes no time."""
    folder = tmp_path_factory.mktemp("bundles")
    bundles = [
        make_bundle(
            folder / name,
            name,
            generator=dense_generator(dim=5, shape=tuple(spec.shape), labels=None).SerializeToString(),
            **{"critic": None, "latent": Latent(dim=5), "labels": None, "sample": spec, "reference_samples": 64},
        )
        for name, spec in SPECS.items()
    ]
    with Server(*bundles) as running:
        yield running


def held(server: Server, name: str) -> int:
    """Bytes of memory of the one worker: `VmRSS` now, `VmHWM` at the most since it was last asked."""
    (worker,) = server.worker_pids()
    (line,) = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) << 10


def most_held(
    server: Server, model: str, form: str, n: int, *, slow: bool = False, **fields: object
) -> tuple[int, int]:
    """Bytes that a whole answer has, and that a worker held for it at the most."""
    server.samples(model=model, n=3000, format=form, **fields).raise_for_status()  # what is made once is made
    (worker,) = server.worker_pids()
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # VmHWM begins anew (proc(5))
    before, size = held(server, "VmRSS"), 0
    body = {"model": model, "n": n, "format": form, "seed": 1, **fields}
    with server.http.stream("POST", "/v1/samples", json=body, headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_raw(1 << 20):
            size += len(piece)
            if slow and size < 64 << 20:
                time.sleep(0.1)
    return size, held(server, "VmHWM") - before


@pytest.mark.parametrize("form", ["npy", "ndjson", "arrow", "parquet", "zip"])
def test_an_answer_is_never_in_memory_whole(server: Server, form: str) -> None:
    size, most = most_held(server, "array", form, 30_000)
    assert size > 100 << 20
    assert most < MOST_BYTES


@pytest.mark.full
@pytest.mark.parametrize(
    ("model", "form", "n"),
    [
        ("array", "raw", 200_000),
        ("array", "json", 100_000),
        ("array", "ndjson", 100_000),
        ("array", "arrow", 200_000),
        ("array", "parquet", 200_000),
        ("array", "zip", 200_000),
        ("table", "csv", 1_000_000),
        ("table", "ndjson", 1_000_000),
        ("table", "arrow", 1_000_000),
        ("table", "parquet", 1_000_000),
        ("table", "zip", 1_000_000),
        ("sound", "wav", 200_000),
        ("sound", "zip", 65_000),
        ("picture", "zip", 65_000),
        ("picture", "png", 10_000),
        ("picture", "arrow", 300_000),
        ("picture", "parquet", 300_000),
    ],
)
@pytest.mark.timeout(3600)
def test_answers_of_all_sizes_and_readers(server: Server, model: str, form: str, n: int) -> None:
    """To a slow reader; with what is told of each row."""
    size, most = most_held(server, model, form, n, slow=True, address=True)
    assert most < (300 << 20)
    assert size > 4 << 20
