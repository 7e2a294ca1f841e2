"""`conditions.csv`: numbers beside samples, whichever kind of files these are; and what is refused in one line."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from latentserve.service.bundle import Condition
from latentserve.training.data import Dataset, Description, load
from latentserve.training.data.conditions import QUANTILES, Conditions, along, quantiles, ranks
from latentserve.training.errors import DataError

TABLE = "file,energy [GeV],angle\na.png,1,0.5\nb.png,50.5,-1e-3\nc.png,2.5,0\n"


def pictures(folder: Path, *names: str) -> Path:
    for at, name in enumerate(names or ("a.png", "b.png", "c.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), at, np.uint8)).save(folder / name)
    return folder


def beside(folder: Path, text: str = TABLE) -> Path:
    (folder / "conditions.csv").write_text(text)
    return folder


def refused(words: str, path: Path, **options: object) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load("files", path, **options)
    assert "\n" not in str(caught.value)


def told(dataset: Dataset) -> list[list[float]]:
    assert dataset.conditions is not None
    assert dataset.conditions.values.dtype == np.float32
    return dataset.conditions.values.tolist()


class TestFiles:
    def test_each_picture_has_its_row_wherever_that_stands(self, tmp_path: Path) -> None:
        dataset = load("files", beside(pictures(tmp_path)))
        assert told(dataset) == [[1, 0.5], [50.5, np.float32(-1e-3)], [2.5, 0]]
        assert (dataset.conditions.names, dataset.conditions.units) == (["energy", "angle"], ["GeV", None])
        lines = TABLE.splitlines()
        again = load("files", beside(tmp_path, "\n".join([lines[0], "", *lines[:0:-1]])))
        assert again.description == dataset.description

    def test_in_class_folders_it_names_them_too(self, tmp_path: Path) -> None:
        pictures(tmp_path, "cat/a.png", "dog/a.png", "dog/deep/b.png")
        beside(tmp_path, "file,age\ndog/deep/b.png,3\n./dog/a.png,2\ncat/a.png,1\n")
        dataset = load("files", tmp_path)
        assert told(dataset) == [[1], [2], [3]]
        assert dataset.label_names == ["cat", "dog"]
        (tmp_path / "dog" / "conditions.csv").write_text("file,age\n")
        refused(r"dog/conditions.csv: belongs into .*, with the files of all classes", tmp_path)

    def test_each_part_has_its_own(self, tmp_path: Path) -> None:
        for part, ages in (("train", "1,2,3"), ("test", "7,8,9")):
            rows = "\n".join(f"{name}.png,{age}" for name, age in zip("abc", ages.split(","), strict=True))
            beside(pictures(tmp_path / part), f"file,age\n{rows}\n")
        assert told(load("files", tmp_path)) == [[1], [2], [3]]
        assert told(load("files", tmp_path, "test")) == [[7], [8], [9]]
        beside(tmp_path)
        refused("conditions.csv: of which samples", tmp_path)

    def test_pieces_of_a_recording_share_its_row(self, tmp_path: Path) -> None:
        for name, length in (("a", 25), ("b", 10)):
            wavfile.write(tmp_path / f"{name}.wav", 100, np.arange(length, dtype=np.int16))
        dataset = load("files", beside(tmp_path, "file,pitch [Hz]\nb.wav,200\na.wav,100\n"), size=10)
        assert told(dataset) == [[100], [100], [200]]
        assert dataset.kind == "audio"


class TestRows:
    def test_an_array_in_a_folder(self, tmp_path: Path) -> None:
        np.save(tmp_path / "points.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
        assert load("files", tmp_path).conditions is None
        dataset = load("files", beside(tmp_path, "x,y_1 [m/s]\n1,2\n3,4\n5,7\n"))
        assert told(dataset) == [[1, 2], [3, 4], [5, 7]]
        assert dataset.conditions.units == [None, "m/s"]
        refused("conditions.csv: of the training part; a held-out one needs", tmp_path, split="test")
        beside(tmp_path, "x\n1\n2\n")
        refused("conditions.csv: 2 rows; points.npy has 3 samples", tmp_path)
        beside(tmp_path, "file,x\na,1\nb,2\nc,3\n")
        refused("column `file`: points.npy has no files to be named", tmp_path)
        np.save(tmp_path / "more.npy", np.zeros((3, 2), np.float32))
        refused("2 arrays in it; name one of them, or join them", tmp_path)

    def test_arrays_and_tables_of_two_parts(self, tmp_path: Path) -> None:
        for part, first in (("train", 1), ("test", 5)):
            (tmp_path / part).mkdir()
            np.save(tmp_path / part / "points.npy", np.zeros((2, 2), np.float32))
            beside(tmp_path / part, f"x\n{first}\n{first + 1}\n")
        assert told(load("files", tmp_path)) == [[1], [2]]
        assert told(load("files", tmp_path, "test")) == [[5], [6]]

    def test_a_table_is_not_taken_for_its_conditions(self, tmp_path: Path) -> None:
        (tmp_path / "people.csv").write_text("age,work\n3,a\n4,b\n5,a\n")
        dataset = load("files", beside(tmp_path, "year\n2001\n2002\n2003\n"))
        assert told(dataset) == [[2001], [2002], [2003]]
        assert [column.name for column in dataset.columns or []] == ["age", "work"]

    def test_files_that_were_published_without_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
        refused("conditions.csv: not of IDX files", beside(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,e\na.png,1\nb.png,2\n", "no row for c.png"),
        ("file,e\na.png,1\nb.png,2\nc.png,\n", "line 4, column `e` is empty"),
        ("file,e\na.png,1\nb.png,nan\nc.png,3\n", "line 3, column `e`: `nan` is no number between"),
        ("file,e\na.png,1\nb.png,inf\nc.png,3\n", "line 3, column `e`: `inf` is no number"),
        ("file,e\na.png,1\nb.png,1e38\nc.png,3\n", "line 3, column `e`: `1e38` is no number between -1e"),
        ("file,e\na.png,1\nb.png,two\nc.png,3\n", "line 3, column `e`: `two` is no number"),
        ("file,e\na.png,1\nb.png,1_0\nc.png,3\n", "line 3, column `e`: `1_0` is no number"),
        ("file,e\na.png,1\nb.png,2,3\nc.png,3\n", "line 3: fields: 3, columns: 2"),
        ("file,e\na.png,1\nd.png,2\nb.png,2\nc.png,3\n", "line 3, column `file`: `d.png` is none of the pictures"),
        ("file,e\na.png,1\nb.png,2\na.png,2\nc.png,3\n", "line 4, column `file`: `a.png` has a row already, on line 2"),
        ("file,e,e\na.png,1,1\n", "two columns are named `e`"),
        ("file,e [m],e\na.png,1,1\n", "two columns are named `e`"),
        ("file,my e\na.png,1\n", "column `my e`: a name is a letter or _"),
        ("file,1st\na.png,1\n", "column `1st`: a name is"),
        ("file,\na.png,1\n", "column ``: a name is"),
        ("file,e [\na.png,1\n", r"column `e \[`: a name is"),
        ("file,e [" + "m" * 33 + "]\na.png,1\n", "column `e`: a unit has 1 to 32 characters"),
        ("e,file\n1,a.png\n", "column `file`: must be the first"),
        ("e\n1\n2\n3\n", "its first column must be `file`, and name each of the pictures"),
        ("file\na.png\n", "no column beside `file`"),
        ("file,e\n", "no rows"),
        ("", "no line that names columns"),
        ("file," + ",".join(f"e{at}" for at in range(65)) + "\n", "65 columns; 64 can be learnt at most"),
        ("file,e\na.png,7\nb.png,7\nc.png,7\n", "column `e` is 7 in every row: nothing can be learnt"),
        ('file,e\na.png,"1\n', "conditions.csv: after line"),
    ],
)
def test_what_is_refused(text: str, words: str, tmp_path: Path) -> None:
    refused(words, beside(pictures(tmp_path), text))


def test_it_is_part_of_the_content_only_where_it_is(tmp_path: Path) -> None:
    without = load("files", pictures(tmp_path)).description
    assert "conditions" not in without.to_json()
    found = load("files", beside(tmp_path)).description
    left_out = load("files", tmp_path, conditions=False)
    assert (left_out.conditions, left_out.description.sha256) == (None, without.sha256)
    digests = {without.sha256, found.sha256}
    for changed in (TABLE.replace("50.5", "50.25"), TABLE.replace("GeV", "MeV"), TABLE.replace("angle", "phi")):
        digests.add(load("files", beside(tmp_path, changed)).description.sha256)
    assert len(digests) == 5
    assert Description(**json.loads(json.dumps(found.to_json()))) == found
    assert asdict(found).keys() == found.to_json().keys()


def test_what_a_bundle_says_of_them(tmp_path: Path) -> None:
    dataset = load("files", beside(pictures(tmp_path)))
    energy, angle = (Condition.model_validate(each) for each in dataset.description.conditions or [])
    assert (energy.name, energy.unit, energy.range, energy.prior) == ("energy", "GeV", (1, 50.5), "quantiles")
    assert energy.quantiles is not None
    assert (len(energy.quantiles), energy.quantiles[QUANTILES // 2]) == (QUANTILES, 2.5)
    assert (angle.unit, angle.range[1]) == (None, 0.5)
    assert dataset.conditions.sentence == "energy from 1 to 50.5 GeV, angle from -0.001 to 0.5"


@given(
    st.lists(st.floats(-(2.0**122), 2.0**122, width=32, allow_subnormal=False), min_size=2, max_size=200).filter(
        lambda values: np.ptp(values) > 1e-30
    )
)
def test_quantiles_are_of_a_manifest_and_ranks_go_from_0_to_1(values: list[float]) -> None:
    column = np.array(values, np.float32)
    (described,) = Conditions(column[:, None], ["x"], [None]).described()
    assert described.range == (column.min(), column.max())
    found = ranks(column[:, None], [described.quantiles or []])[:, 0]
    assert found.min() >= 0
    assert found.max() == 1
    assert (np.diff(found[np.argsort(column, kind="stable")]) >= 0).all()


def test_rows_stay_with_their_numbers() -> None:
    blobs = load("blobs", None)
    assert blobs.conditions is not None
    rows = np.array([5, 3, 5])
    some = blobs.subset(rows)
    assert np.array_equal(some.conditions_of(slice(None)), blobs.conditions.values[rows])
    turned = blobs.conditions.in_order(["radius", "x"])
    assert (turned.names, turned.values[0].tolist()) == (["radius", "x"], blobs.conditions.values[0, ::-1].tolist())


def test_values_along_one_condition_after_the_other() -> None:
    energy = Condition(name="energy", range=(1, 100), prior="log-uniform")
    angle = Condition(name="angle", range=(0, 1))
    np.testing.assert_allclose(
        along([energy, angle], 3), [[[1, 0.5], [10, 0.5], [100, 0.5]], [[10, 0], [10, 0.5], [10, 1]]], rtol=1e-6
    )
    assert quantiles(np.array([0, 1], np.float32))[::32] == [0, 0.5, 1]
