import math

import pytest
import torch
from torch import nn

from latentserve.training.game import optimizers
from latentserve.training.game.optimizers import Ema, ema_decay
from latentserve.training.recipe.config import Cosine, Optimisation

LR, BETA2 = Cosine(start=0.1, end=0.02), Cosine(start=0.9, end=0.5)
HALF_WAY = 0.06, 0.7  # what the two say in the middle of a run


def one_step(optimisation: Optimisation, gradient: float, steps: int = 1) -> float:
    """What a weight of 1 is after steps of a constant gradient, in the middle of a run."""
    weight = nn.Parameter(torch.ones(1))
    optimizer = optimizers.build(optimisation, [weight])
    for _ in range(steps):
        weight.grad = torch.full((1,), gradient)
        optimizers.set_schedules(optimizer, optimisation, 50, 100)
        optimizer.step()
    return weight.item()


def test_a_step_of_each_by_hand() -> None:
    lr, beta2 = HALF_WAY
    sgd = Optimisation(optimizer="sgd", lr=LR, beta1=None, beta2=None)
    assert one_step(sgd, 2.0) == pytest.approx(1 - lr * 2)
    momentum = Optimisation(optimizer="sgd", lr=LR, beta1=0.5, beta2=None)
    assert one_step(momentum, 2.0, steps=2) == pytest.approx(1 - lr * 2 - lr * (2 + 0.5 * 2))
    rmsprop = Optimisation(optimizer="rmsprop", lr=LR, beta1=None, beta2=BETA2)
    assert one_step(rmsprop, 2.0) == pytest.approx(1 - lr * 2 / math.sqrt((1 - beta2) * 4), rel=1e-5)
    adam = Optimisation(optimizer="adam", lr=LR, beta1=0.5, beta2=BETA2)
    assert one_step(adam, 2.0, steps=3) == pytest.approx(1 - 3 * lr, rel=1e-5)  # unbiased: the gradient over itself


def test_a_gradient_norm_is_over_all_parameters() -> None:
    network = nn.Linear(2, 1)
    network.weight.grad, network.bias.grad = torch.tensor([[2.0, 3.0]]), torch.tensor([6.0])
    optimizer = torch.optim.SGD(network.parameters())
    assert optimizers.gradient_norm(optimizer).item() == 7
    network.bias.grad.fill_(torch.inf)
    assert not torch.isfinite(optimizers.gradient_norm(optimizer))


def test_what_has_no_gradient_has_no_norm() -> None:
    used, unused = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    used.grad = torch.tensor([3.0])
    assert optimizers.gradient_norm(torch.optim.SGD([used, unused])).item() == 3


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
