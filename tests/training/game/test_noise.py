import math

import pytest
import torch

from latentserve.training.game import noise


def test_strength_is_spread_evenly_over_its_logarithm() -> None:
    torch.manual_seed(0)
    drawn = noise.draw(3.0, (20_000, 64))
    strength = drawn.square().mean(dim=1).sqrt()
    logarithm = (strength / 3.0).log()
    assert logarithm.mean() == pytest.approx(-1, abs=0.02)
    assert logarithm.std() == pytest.approx(2 / math.sqrt(12), rel=0.05)
    assert abs(drawn.mean()) < 0.01


def test_a_row_has_one_strength_and_rows_have_others() -> None:
    torch.manual_seed(0)
    images = noise.draw(1.0, (100, 3, 32, 32))
    assert images.shape == (100, 3, 32, 32)
    by_channel = images.square().mean(dim=(2, 3)).sqrt()
    assert (by_channel.std(dim=1) / by_channel.mean(dim=1)).max() < 0.1
    assert by_channel.mean(dim=1).std() > 0.1
