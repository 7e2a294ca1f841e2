"""CTGAN and TVAE: of stand-ins for `make test`, with the package itself in the long form."""

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from latentserve.service.bundle import Column, read_bundle
from latentserve.service.encoding.tables import rows as rows_of
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import draw_labels, draw_latents
from latentserve.service.sampling.request import RowsRequest
from latentserve.training import from_ctgan
from latentserve.training.errors import ExportError
from latentserve.training.export import export_bundle
from tests.server import Server
from tests.training.export import stand_ins
from tests.training.export.packages import HERE, run_with

SAMPLES = 600  # of a reference
ROWS = 400


def decoded(infos: list[stand_ins.Info], numbers: list[Any], leanings: list[Any]) -> NDArray[np.float64]:
    """Rows as ctgan's inverse transform has them, places for categories: of each column's number and block."""
    columns = []
    for info, number, block in zip(infos, numbers, leanings, strict=True):
        chosen = block.argmax(axis=1)
        if info.column_type == "discrete":
            columns.append(chosen.astype(float))
            continue
        mixture, valid = info.transform._bgm_transformer, info.transform.valid_component_indicator
        mean, std = mixture.means_[valid, 0][chosen], np.sqrt(mixture.covariances_[valid, 0, 0])[chosen]
        columns.append(np.clip(number, -1, 1).astype(float) * 4 * std + mean)
    return np.stack(columns, axis=1)


def finished(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """With what `people` says of bounds and rounding."""
    values[:, 1] = values[:, 1].round()
    values[:, 4] = values[:, 4].clip(0.1, 0.9).round(2)
    return values


def split(infos: list[stand_ins.Info], codes: NDArray[Any]) -> tuple[list[Any], list[Any]]:
    """Numbers and blocks of each column; no number of a column of categories."""
    numbers, blocks, at = [], [], 0
    for info in infos:
        of = codes[:, at : at + info.output_dimensions]
        at += info.output_dimensions
        numbers.append(of[:, 0] if info.column_type == "continuous" else None)
        blocks.append(of[:, 1:] if info.column_type == "continuous" else of)
    return numbers, blocks


def ctgan_rows(model: stand_ins.CTGAN, z: NDArray[np.float32], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows of z [n, dim], of which `place` of the conditional vector is on, in evaluation mode."""
    infos = model._transformer._column_transform_info_list
    entries = sum(span.dim for info in infos for span in info.output_info if span.activation_fn == "softmax")
    condition = np.eye(model._data_sampler._n_categories, dtype=np.float32)[place]
    given = torch.from_numpy(np.concatenate([z[:, : stand_ins.EMBEDDING], condition], axis=1))
    model._generator.eval()
    with torch.no_grad():
        numbers, blocks = split(infos, model._generator(given).numpy())
    model._generator.train()
    gumbel, at = -np.log(-np.log(z[:, -entries:].astype(float))), 0
    for column, block in enumerate(blocks):
        blocks[column] = block + gumbel[:, at : at + block.shape[1]]
        at += block.shape[1]
    return decoded(infos, [None if of is None else np.tanh(of) for of in numbers], blocks)


def alike(rows: NDArray[Any], expected: NDArray[Any]) -> None:
    """But for rounding: a row in which another entry is the largest by a last bit has other values."""
    assert rows.shape == expected.shape
    assert (np.isclose(rows, expected, rtol=1e-5, atol=1e-5).all(axis=1)).mean() > 0.995


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ctgan") / "bundle"
    export_bundle(from_ctgan(stand_ins.ctgan(*stand_ins.people())), out, name="people", reference_samples=SAMPLES)
    return out


def test_the_served_rows_are_the_users_columns(bundle: Path) -> None:
    infos, types = stand_ins.people()
    model = stand_ins.ctgan(infos, types)
    manifest = read_bundle(bundle).manifest
    assert manifest.labels is None
    z = draw_latents(manifest.latent, 3, 0, ROWS)
    shares = model._data_sampler._discrete_column_category_prob
    place = np.searchsorted(np.cumsum(shares[shares != 0] / shares.sum()), z[:, stand_ins.EMBEDDING], side="right")
    expected = finished(ctgan_rows(model, z, place))

    samples = Engine(read_bundle(bundle), "cpu").generate(RowsRequest(n=ROWS, seed=3).inputs(manifest, 0, ROWS))
    values = [list(column) for column in zip(*rows_of(samples, manifest.sample), strict=True)]
    places = {0: ["some", "none", None, "much"], 3: [False, True], 5: [3, 1, 2]}
    told = [[places[at].index(value) for value in of] if at in places else of for at, of in enumerate(values)]
    alike(np.array(told, float).T, expected)
    assert [{type(value) for value in of} - {type(None)} for of in values] == [
        {str},
        {int},
        {float},
        {bool},
        {float},
        {int},
    ]
    assert min(values[4]) == 0.1
    assert all(value == round(value, 2) for value in values[4])


def test_the_manifest_says_what_each_column_and_each_part_of_z_is(bundle: Path) -> None:
    manifest = read_bundle(bundle).manifest
    assert [(column.name, column.type) for column in manifest.sample.columns or []] == [
        ("school", "string"),
        ("age", "int64"),
        ("income", "float64"),
        ("rich", "bool"),
        ("share", "float64"),
        ("rooms", "int32"),
    ]
    parts = manifest.latent.pieces
    assert [(part.name, part.noise) for part in parts] == [("z", False), ("category", True), ("choice", True)]
    assert manifest.latent.width == stand_ins.EMBEDDING


def test_how_far_training_mode_is_away_is_measured_and_said(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = stand_ins.ctgan(*stand_ins.people())
    before = {name: value.clone() for name, value in model._generator.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        from_ctgan(model)
    assert model._generator.training
    assert all(torch.equal(value, before[name]) for name, value in model._generator.state_dict().items())
    (line,) = [record.getMessage() for record in caplog.records]
    found = read_bundle(bundle).manifest.lineage.evaluation
    assert found is not None
    assert f"by {found['training_mode_distance']:.3f} on average" in line
    assert str(found["training_mode_distance_column"]) in line
    assert 0 < found["training_mode_distance"] < found["training_mode_distance_largest"] < 1  # type: ignore[operator]
    assert "| training_mode_distance | " in (bundle / "MODEL_CARD.md").read_text()


def test_without_batch_normalisation_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = stand_ins.ctgan(*stand_ins.people())
    for part in model._generator.modules():
        if isinstance(part, stand_ins.Residual):
            part.bn = torch.nn.Identity()  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        assert from_ctgan(model).export_arguments["lineage"].evaluation is None
    assert caplog.records == []


def test_a_discrete_column_as_the_label(tmp_path: Path) -> None:
    model = stand_ins.ctgan(*stand_ins.people())
    module = from_ctgan(model, label_column="rooms")
    manifest = export_bundle(module, tmp_path / "bundle", name="rooms", reference_samples=SAMPLES)
    assert manifest.labels == ["3", "1", "2"]
    counts = [len(rows) for rows in model._data_sampler._rid_by_cat_cols[2]]
    assert manifest.label_prior == pytest.approx(np.array(counts) / sum(counts))
    assert [part.name for part in manifest.latent.pieces] == ["z", "choice"]
    z = draw_latents(manifest.latent, 0, 0, ROWS)
    label = draw_labels(manifest.latent.dim, manifest.label_prior or 3, 0, 0, ROWS)
    with torch.no_grad():
        rows = module(torch.from_numpy(z), torch.from_numpy(label)).numpy()
    before = {name: value.clone() for name, value in model._generator.state_dict().items()}
    model._generator.load_state_dict(module.generator.state_dict())
    alike(rows, finished(ctgan_rows(model, z, 6 + label)))  # after 4 schools and 2 kinds of rich
    assert 0 < manifest.lineage.evaluation["rows_of_their_label"] < 1  # type: ignore[index, operator]

    # The averages are those of the rows that are served; those of training have not settled.
    model._generator.load_state_dict(before)
    unsettled = from_ctgan(model).export_arguments["lineage"].evaluation["training_mode_distance"]
    assert manifest.lineage.evaluation["training_mode_distance"] < unsettled / 5  # type: ignore[index, operator]


def test_tvae_scatters_numbers_by_its_sigmas(tmp_path: Path) -> None:
    infos, types = stand_ins.people()
    model = stand_ins.tvae(infos, types)
    manifest = export_bundle(from_ctgan(model), tmp_path / "bundle", name="tvae", reference_samples=SAMPLES)
    assert [(part.name, part.width, part.noise) for part in manifest.latent.pieces] == [
        ("z", stand_ins.EMBEDDING, False),
        ("spread", 3, True),
    ]
    z = draw_latents(manifest.latent, 0, 0, ROWS)
    with torch.no_grad():
        codes, sigma = model.decoder(torch.from_numpy(z[:, : stand_ins.EMBEDDING]))
    numbers, blocks = split(infos, np.tanh(codes.numpy()))
    sigmas, _ = split(infos, sigma.detach().numpy()[None])
    spread = iter(z[:, stand_ins.EMBEDDING :].T)
    numbers = [None if of is None else of + by * next(spread) for of, by in zip(numbers, sigmas, strict=True)]
    with torch.no_grad():
        rows = from_ctgan(model)(torch.from_numpy(z)).numpy()
    alike(rows, finished(decoded(infos, numbers, blocks)))
    assert manifest.lineage.evaluation is None


@pytest.mark.parametrize("is_exported", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize(("kind", "only"), [(stand_ins.ctgan, "continuous"), (stand_ins.tvae, "discrete")])
def test_tables_of_one_kind_of_column(
    kind: Callable[..., object], only: str, is_exported: bool, tmp_path: Path
) -> None:
    infos, types = stand_ins.people()
    module = from_ctgan(kind([info for info in infos if info.column_type == only], types))
    z = torch.from_numpy(draw_latents(module.export_arguments["latent"], 0, 0, 5))
    with torch.no_grad():
        assert module(z).shape == (5, 3)
    if is_exported:
        manifest = export_bundle(module, tmp_path / "bundle", name="half", reference_samples=SAMPLES)
        assert manifest.sample.shape == [3]


def columns(*infos: stand_ins.Info, **types: str) -> list[Column]:
    model = stand_ins.tvae(list(infos), {info.column_name: "object" for info in infos} | types)
    return from_ctgan(model).export_arguments["columns"]


@pytest.mark.parametrize(
    ("values", "column_type", "told", "categories"),
    [
        ([1.0, np.nan, 2.5], "float64", "float64", [1.0, None, 2.5]),
        ([1, "one"], "object", "string", ["1", "one"]),
        ([True, None], "object", "bool", [True, None]),
        (["a", "b"], "category", "string", ["a", "b"]),
        ([7, 8], "category", "int64", [7, 8]),
        ([np.datetime64("2020-01-01", "ns"), np.datetime64("NaT")], "datetime64[ns]", "string", ["2020-01-01", None]),
        (["NaT", "<NA>"], "object", "string", ["NaT", "<NA>"]),
        ([None], "object", "string", [None]),
    ],
)
def test_categories_as_they_were(values: list[Any], column_type: str, told: str, categories: list[Any]) -> None:
    (column,) = columns(stand_ins.category("c", values), c=column_type)
    assert (column.type, column.categories) == (told, categories)


@pytest.mark.parametrize(
    ("column_type", "told"), [("Int64", "int64"), ("uint8", "uint8"), ("float32", "float32"), ("object", "float64")]
)
def test_numbers_as_they_were(column_type: str, told: str) -> None:
    (column,) = columns(stand_ins.number("x", np.arange(50.0)), x=column_type)
    assert (column.type, column.categories, column.decimals) == (told, None, None)


def test_columns_without_names_are_told_by_their_places() -> None:
    assert [column.name for column in columns(stand_ins.number(0, np.arange(50.0)), stand_ins.category(1, [1]))] == [
        "0",
        "1",
    ]


def test_whole_numbers_that_float32_does_not_hold_are_said(caplog: pytest.LogCaptureFixture) -> None:
    columns(stand_ins.number("x", np.arange(50.0) * 1e8), x="int64")
    assert "column x: whole numbers beyond 16777216 are rounded" in caplog.text


def unfitted() -> object:
    return stand_ins.CTGAN(_generator=None, _data_sampler=None, _transformer=None, _embedding_dim=6)


def with_missing_numbers() -> object:
    nulls = SimpleNamespace(models_missing_values=lambda: True)
    return stand_ins.tvae([stand_ins.number("age", np.arange(50.0), null_transformer=nulls)], {"age": "float64"})


def of_another_layout() -> object:
    model = stand_ins.ctgan(*stand_ins.people())
    del model._data_sampler._discrete_column_category_prob
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (unfitted, "this CTGAN is not fitted yet; call its fit first"),
        (
            lambda: stand_ins.TVAE(embedding_dim=6, decompress_dims=(8,)),
            "this TVAE is not fitted yet; call its fit first",
        ),
        (lambda: SimpleNamespace(_model=unfitted(), embedding_dim=6, decompress_dims=()), "give its `_model`"),
        (lambda: "model.pkl", "str is no CTGAN or TVAE; of a file, `load` of ctgan.CTGAN makes one"),
        (lambda: torch.nn.Linear(2, 2), "Linear is no CTGAN or TVAE"),
        (with_missing_numbers, "column age: has missing numbers, which ctgan learns but cannot sample"),
        (
            of_another_layout,
            "this CTGAN is laid out otherwise than ctgan 0.10 to 0.12: .*_discrete_column_category_prob",
        ),
        (lambda: stand_ins.tvae([stand_ins.category("c", ["x" * 300])], {"c": "object"}), "column c: .*256 characters"),
        (lambda: stand_ins.tvae([stand_ins.category("c", [1, "1"])], {"c": "object"}), "column c: .*different values"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(model: Callable[[], object], message: str) -> None:
    with pytest.raises(ExportError, match=message) as raised:
        from_ctgan(model())
    assert "\n" not in str(raised.value)


def test_a_label_column_that_cannot_be() -> None:
    people = stand_ins.people()
    with pytest.raises(ExportError, match="'age' is no discrete column of this table; there are school, rich, rooms"):
        from_ctgan(stand_ins.ctgan(*people), label_column="age")
    with pytest.raises(ExportError, match="TVAE has no conditional vector"):
        from_ctgan(stand_ins.tvae(*people), label_column="rich")


# The package itself.


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["CTGAN", "TVAE"])
@pytest.mark.parametrize("table", ["made", "adult"])
def test_rows_are_those_of_the_package(
    kind: str, table: str, tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    """`ctgan_rows.py` trains, exports, and lets ctgan's own `sample` draw rows from the numbers that the bundle has."""
    if table == "adult":
        beside = Path(__file__).parents[3] / ".." / "shared" / "data"
        path = Path(os.environ.get("TEST_DATA_FOLDER", beside)) / "adult" / "adult.csv.gz"
        if not path.is_file():
            pytest.skip(f"no {path}; set TEST_DATA_FOLDER")
        table = str(path)
    run_with("ctgan", HERE / "ctgan_rows.py", kind, table, tmp_path)
    told = json.loads((tmp_path / "rows.json").read_text())
    http = start_server(tmp_path / "bundle").http
    answer = http.post("/v1/samples", json={"n": len(told["rows"]), "seed": told["seed"]}).json()
    assert answer["columns"] == told["columns"]
    rows = np.array(answer["samples"], object), np.array(told["rows"], object)
    same = np.stack([alike_cells(one, other) for one, other in zip(*(of.T for of in rows), strict=True)])
    assert same.all(axis=0).mean() >= 0.999
    for served, expected in zip(zip(*answer["samples"], strict=True), zip(*told["rows"], strict=True), strict=True):
        assert {type(value) for value in served} == {type(value) for value in expected}


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """As they stand there, but of one epoch."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (HERE.parents[2] / "docs" / "ctgan.md").read_text(), re.M | re.S)
    assert len(blocks) == 2
    (tmp_path / "page.py").write_text(TABLE + "".join(blocks).replace("epochs=300", "epochs=1"))
    run_with("ctgan", tmp_path / "page.py", cwd=tmp_path)
    assert read_bundle(tmp_path / "bundles" / "rich").manifest.labels == ["no", "yes"]


TABLE = """
import pandas

schools, rich = ["none", "some", "much"], ["no", "yes"]
rows = [(schools[at % 3], 20 + at % 50, rich[at % 7 > 4]) for at in range(1000)]
table = pandas.DataFrame(rows, columns=["school", "age", "rich"])
"""


def alike_cells(served: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    """Of one column: equal, or numbers alike to the rounding of the network's own, a place within a wide mode."""
    if not all(type(value) in (int, float) for value in expected):
        return served == expected
    span = np.ptp(expected.astype(float))
    return np.isclose(served.astype(float), expected.astype(float), rtol=1e-6, atol=1e-6 * span)
