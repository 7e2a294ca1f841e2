import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="needs latentserve[training]")

from benchmarks.environments import AbsentError
from benchmarks.machine import describe_machine
from benchmarks.runner import Results
from benchmarks.training import colour


def test_what_a_report_says_is_kept_beside_its_floors() -> None:
    one = {"value": 0.9, "floor": 0.6, "interval": [0.8, 1.0], "n": 100}
    made = {
        "features": {"critic": {}, "pca": {}},
        "verdict": {"grade": "poor", "sentence": "This generator is not good."},
        "n": 100,
        "data": {"held_out": {"samples": 390}},
        "statistics": {"frechet_critic": one, "frechet_pca": {"value": 5}, "copies": {"value": 0.1, "floor": None}},
    }
    record = {"size": 64, "recipe": "pictures-64", "pictures": 3926, "threads": 2, "budget": 200_000, "images": 90_000}
    record |= {"seconds": 3000, "images_per_second": 30.0, **colour.said(made)}
    page = "\n".join(colour.report({"records": [record]}))
    assert "| `pictures-64` | 3,926 | 2 | 50 | 90,000 of 200,000 | 30 | poor | not measured | not measured |" in page
    assert "> This generator is not good." in page
    assert "| `frechet` | 0.9 | 0.8 to 1 | 0.6 |\n| `copies` | 0.1 |  |  |" in page


def test_a_font_without_pictures_is_one_line(tmp_path: Path) -> None:
    font = tmp_path / "font.ttf"
    font.write_bytes(b"no font")
    with pytest.raises(AbsentError, match=r"font\.ttf: no font with pictures"):
        colour.draw(font, tmp_path / "emoji")
    assert not (tmp_path / "emoji").exists()


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_short_form_trains_reports_and_exports_and_is_not_done_again(tmp_path: Path) -> None:
    data = tmp_path / "short" / "emoji"
    data.mkdir(parents=True)
    for at, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (300, 6, 6, 3), np.uint8)):
        Image.fromarray(pixels).resize((136, 128)).save(data / f"{at:04d}.png")
    given = argparse.Namespace(short=True, runs=tmp_path, font=None, sizes=[32], minutes=0.05, threads=1)
    results = Results(colour, tmp_path / "colour", {"machine": describe_machine()})
    colour.measure(given, results)
    (record,) = results["records"]
    assert 0 < record["images"] == record["reported_at"] == record["exported_at"] < record["budget"]
    assert {"frechet", "c2st", "copies"} <= record["statistics"].keys()
    assert (tmp_path / "short" / "bundle-32" / "manifest.json").exists()
    before = dict(record)
    colour.measure(given, results)
    assert results["records"] == [before]
