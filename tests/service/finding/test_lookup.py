"""Pictures that were sent are found, whatever became of them on their way; others are not."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from latentserve.service.cli import cli
from latentserve.service.encoding.document import PNG
from latentserve.service.finding import control
from latentserve.service.opened import OpenedBundle
from tests.service.finding.conftest import CHANGES, account_in, cut, found, noise, picture, send, written
from tests.service.verifying.files import served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiles: OpenedBundle, tiles_bundle: Path) -> Path:
    """An account of 600 rows of seeds from 0 on, in its index."""
    there = tmp_path_factory.mktemp("accounts") / "account"
    account = account_in(there)
    for seed in range(120):
        send(account, tiles, f"r-{seed}", n=5, seed=seed)
    account.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "PICTURES", 30)
        done = CliRunner().invoke(cli, ["audit", "index", str(there), "--bundle", str(tiles_bundle)])
    assert done.exit_code == 0, done.output
    assert "120 of 120 answers of tiles" in done.output
    return there


def test_what_was_sent_is_exact(folder: Path, tiles: OpenedBundle):
    verified = found(written(picture(tiles, 17, 3)), folder, tiles)
    assert (verified.verdict, verified.rests_on, verified.distance) == ("exact", ["audit"], 0), verified
    assert (verified.model, verified.seed, verified.row, verified.n) == ("tiles", 17, 3, 1)
    assert verified.log == {"answers": 120, "of": 120}


@pytest.mark.parametrize("cases", [6, pytest.param(120, marks=pytest.mark.full)])
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_sent_and_changed_is_alike(change: str, cases: int, folder: Path, tiles: OpenedBundle):
    random = np.random.default_rng(1)
    for _ in range(cases):
        seed, row = int(random.integers(120)), int(random.integers(5))
        verified = found(CHANGES[change](picture(tiles, seed, row)), folder, tiles)
        assert (verified.verdict, verified.rests_on) == ("alike", ["audit"]), (seed, row, verified)
        assert (verified.seed, verified.row) == (seed, row)
        assert verified.distance is not None
        assert 0 <= verified.distance < 0.1


@pytest.mark.parametrize("cases", [4, pytest.param(300, marks=pytest.mark.full)])
@pytest.mark.parametrize("change", ["JPEG", "all"])
def test_what_was_not_sent_is_not_found(change: str, cases: int, folder: Path, tiles: OpenedBundle):
    """Rows of the same model that nobody asked for, other pictures, pictures of nothing."""
    for case in range(cases):
        for image in (picture(tiles, 1000 + case), noise(case)):
            verified = found(CHANGES[change](image), folder, tiles)
            assert (verified.verdict, verified.rests_on, verified.seed) == ("no", [], None), (case, verified)
    for plain in (Image.new("RGB", (48, 48), "red"), Image.new("L", (1, 1)), Image.new("RGBA", (300, 2))):
        assert "too little" in found(written(plain), folder, tiles).why
    assert found(written(picture(tiles, 5).rotate(90)), folder, tiles).verdict == "no"
    assert found(written(cut(picture(tiles, 5), 0.6)), folder, tiles).verdict == "no"


def test_a_touched_up_picture_is_not_exact(folder: Path, tiles: OpenedBundle):
    image = picture(tiles, 5)
    image.putpixel((3, 4), tuple(value ^ 1 for value in image.getpixel((3, 4))))
    verified = found(written(image), folder, tiles)
    assert (verified.verdict, verified.seed) == ("alike", 5)
    assert verified.distance
    assert verified.distance > 0


def test_a_sheet_is_found_picture_by_picture(folder: Path, tiles: OpenedBundle, tmp_path: Path):
    content, _ = served(tiles, PNG, n=5, seed=40)
    (tmp_path / "sheet.png").write_bytes(content)
    with Image.open(tmp_path / "sheet.png") as sheet:
        stripped = Image.fromarray(np.asarray(sheet))
    verified = found(written(stripped), folder, tiles)
    assert (verified.verdict, verified.seed, verified.row, verified.n) == ("exact", 40, 0, 5), verified
    assert found(written(stripped, "JPEG", quality=75), folder, tiles).verdict == "alike"
    stripped.paste(noise(1), (0, 0))
    verified = found(written(stripped), folder, tiles)
    assert verified.verdict == "no"
    assert verified.why.startswith("1 of 5 pictures were not sent")


def test_by_the_command(folder: Path, tiles: OpenedBundle, tiles_bundle: Path, tmp_path: Path):
    """A mark that names another row is one thing, what was sent another."""
    file = tmp_path / "file.png"

    def verify(*words: str) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(cli, ["verify", str(file), "--bundle", str(tiles_bundle), "--json", *words])
        return done.exit_code, json.loads(done.stdout)

    file.write_bytes(written(picture(tiles, 9)))
    assert verify()[0] == 1
    status, told = verify("--audit", str(folder))
    assert (status, told["verdict"], told["rests_on"]) == (0, "exact", ["audit"])
    content, _ = served(tiles, PNG, n=1, seed=9)
    with Image.open(io.BytesIO(content)) as marked:
        marked.load()
        pixels = picture(tiles, 11)
        pixels.save(file, xmp=marked.info["xmp"])
    status, told = verify("--audit", str(folder))
    assert (status, told["seed"], told["rests_on"]) == (0, 11, ["audit"])
    file.write_bytes(written(picture(tiles, 5000)))
    status, told = verify("--audit", str(folder))
    assert (status, told["verdict"], told["log"]) == (1, "no", {"answers": 120, "of": 120})
    assert "the nearest row that was sent" in str(told["why"])
