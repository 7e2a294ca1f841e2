"""What samples are worth: three generators of three seeds, and a picture of which nothing was chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

from PIL import Image

from benchmarks.quality import samples
from benchmarks.runner import main


def test_the_picture_has_a_row_for_each_class(tmp_path: Path) -> None:
    asked: list[int] = []

    def brightness(labels: samples.Labels, seed: int) -> samples.Images:
        asked.append(seed)
        return np.broadcast_to(labels[:, None, None, None] / 4.5 - 1, (len(labels), 1, 28, 28)).astype(np.float32)

    samples.draw_picture(brightness, tmp_path / "samples.png")
    picture = np.asarray(Image.open(tmp_path / "samples.png"))
    assert picture.shape == (298, 598)
    assert asked == [samples.PICTURE_SEED]
    middles = picture[14::30, 14::30]
    assert middles.shape == (10, 20)
    assert np.array_equal(middles, np.repeat(np.round(np.arange(10) / 9 * 255).astype(np.uint8)[:, None], 20, axis=1))


def test_one_generator_is_not_three(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["samples", "digits", *[str(bundle)] * 3, "--out", str(tmp_path / "samples")])
    assert "bundles of runs of the seeds (0, 1, 2) are needed" in capsys.readouterr().err


def test_the_page_has_each_seed_and_the_share_of_real_images() -> None:
    lineage = {"recipe": "mnist", "images_seen": 600_000}
    found = {
        "bundles": [{"lineage": lineage}] * 3,
        "real_images": 6_000,
        "test_images": 10_000,
        "agreement": {
            "samples": 2_000,
            "judge_trained_on": 60_000,
            "judge_accuracy": 0.993,
            "shares": [0.99, 0.98, 0.97],
        },
        "classifiers": {"CNN": {"real": [0.98, 0.98, 0.98], "6,000 samples": [0.95, 0.96, 0.97]}},
    }
    text = "\n".join(samples.report({"data": {"mnist": found}}))
    assert "| CNN | 6,000 samples | 0.9500 / 0.9600 / 0.9700 | 0.9796 |" in text
    assert "| CNN | 6,000 real images | 0.9800 / 0.9800 / 0.9800 | 1.0000 |" in text
    assert "takes 99.00 % / 98.00 % / 97.00 % of 2,000 samples" in text
