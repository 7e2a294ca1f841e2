"""Whoever names data gets a recipe that fits: by what it is, its size, and the machine."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from latentserve.training.data import load
from latentserve.training.errors import ConfigError
from latentserve.training.fitting import fit
from latentserve.training.networks import require_fit
from latentserve.training.recipe import is_data, load_config, recipes
from tests.digits import write_idx
from tests.training.people import write_people


def pictures(folder: Path, *sizes: tuple[int, int], mode: str = "RGB") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for at, (width, height) in enumerate(sizes):
        Image.new(mode, (width, height), at).save(folder / f"{at}.png")
    return folder


@pytest.mark.parametrize(
    ("side", "small", "published"),
    [
        (32, ("pictures-32", ()), ("r3gan-32", ("images=1000000",))),
        (63, ("pictures-32", ()), ("r3gan-32", ("images=1000000",))),
        (64, ("pictures-64", ()), ("r3gan-64", ("images=1000000",))),
        (200, ("pictures-64", ()), ("r3gan-128", ("images=1000000",))),
        (1024, ("pictures-64", ()), ("r3gan-256", ("images=1000000",))),
        (28, ("pictures-32", ("size=28",)), ("r3gan-32", ("size=28", "images=1000000"))),
        (11, ("pictures-32", ("size=8",)), ("r3gan-32", ("size=8", "images=1000000"))),
        (5, ("pictures-32", ("size=8",)), ("r3gan-32", ("size=8", "images=1000000"))),
    ],
)
def test_pictures_get_the_largest_size_that_most_of_them_have(
    tmp_path: Path, side: int, small: tuple[str, tuple[str, ...]], published: tuple[str, tuple[str, ...]]
) -> None:
    folder = pictures(tmp_path / "pets", (side, side + 3), (side + 9, side), (side, side), (4, 4))
    for gpu, expected in ((False, small), (True, published)):
        chosen = fit(folder, gpu)
        assert (chosen.recipe, chosen.overrides) == expected
        config = load_config(chosen.recipe, chosen.overrides)
        dataset = load(config.data, folder, **config.reading)
        assert list(dataset.samples.shape[1:]) == [3, config.size, config.size]
        require_fit(config, dataset.description)


def test_it_says_what_it_saw_and_how_to_choose_another(tmp_path: Path) -> None:
    grey = pictures(tmp_path / "letters", *[(20, 20)] * 5, mode="L")
    assert fit(grey, gpu=False).sentence == (
        "pictures-32 --set size=20, for 5 grey pictures of 20x20 pixels and no GPU; "
        "another: latentserve train RECIPE --data ..."
    )
    colour = pictures(tmp_path / "pets", (70, 80), (70, 80), (90, 64))
    assert fit(colour, gpu=True).sentence.startswith(
        "r3gan-64 --set images=1000000, for 3 pictures of about 70x80 pixels and a GPU;"
    )


def test_broken_pictures_do_not_count(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pets", (64, 64))
    (folder / "broken.png").write_bytes(b"no picture")
    assert fit(folder, gpu=False).recipe == "pictures-64"
    (folder / "0.png").unlink()
    assert fit(folder, gpu=False).recipe == "pictures-32"  # and what is broken is told when it is read


def test_other_kinds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wavfile.write(tmp_path / "tone.wav", 8000, rng.integers(-99, 99, 9000).astype(np.int16))
    np.save(tmp_path / "points.npy", rng.standard_normal((40, 2)))
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (40, 64, 64, 3), np.uint8))
    np.save(tmp_path / "fields.npy", rng.standard_normal((40, 3, 30)))
    expected = {
        write_people(tmp_path / "people.csv"): "adult",
        tmp_path / "tone.wav": "waves",
        tmp_path / "points.npy": "ring",
        tmp_path / "images.npy": "pictures-64",
        tmp_path / "fields.npy": "waves",
        write_idx(tmp_path / "mnist"): "mnist",
    }
    for path, recipe in expected.items():
        chosen = fit(path, gpu=False)
        assert chosen.recipe == recipe
        config = load_config(recipe, chosen.overrides)
        if path.suffix == ".csv":
            config = config.model_copy(update={"latent": 512})
        require_fit(config, load(config.data, path, **config.reading).description)


def test_pictures_in_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = pictures(tmp_path / "pets", *[(130, 140)] * 4)
    encoded = [{"bytes": file.read_bytes(), "path": file.name} for file in sorted(folder.iterdir())]
    parquet.write_table(pa.table({"image": encoded}), tmp_path / "pets.parquet")
    assert fit(tmp_path / "pets.parquet", gpu=True).recipe == "r3gan-128"


def test_nothing_to_choose_by(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ConfigError, match="no pictures, recordings, tables or arrays in it"):
        fit(tmp_path, gpu=False)


def test_a_recipe_goes_before_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "pets", "own.yaml"):
        Path(name).mkdir()
    assert [is_data(name) for name in ("digits", "pets", "own.yaml", "absent")] == [False, True, False, False]
    assert {f"r3gan-{size}" for size in (32, 64, 128, 256)} < set(recipes())
