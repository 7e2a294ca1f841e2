import pytest
import torch

from latentserve.training.game.ema import Ema, ema_decay


def test_half_of_the_average_is_left_after_the_half_life() -> None:
    decay = ema_decay(half_life=640, images=64)
    assert decay**10 == pytest.approx(0.5)
    assert ema_decay(half_life=0, images=64) == 0


def test_the_ema_follows_parameters_and_statistics() -> None:
    ema, generator = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(generator.weight, 3.0)
    generator.running_mean.fill_(4.0)
    generator.num_batches_tracked.fill_(9)
    Ema(ema, generator).update(half_life=100, images=200)
    assert ema.weight.tolist() == [2.5, 2.5]
    assert ema.running_mean.tolist() == [3.0, 3.0]
    assert ema.num_batches_tracked.item() == 9
