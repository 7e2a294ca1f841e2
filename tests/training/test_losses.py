import math

import pytest
import torch

from training.losses import non_saturating, relativistic, zero_centred_penalty


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_non_saturating_by_hand() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    critic = (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2
    assert non_saturating.critic(real, fake).item() == pytest.approx(critic, rel=1e-6)
    assert non_saturating.generator(real, fake).item() == pytest.approx((softplus(-0.5) + softplus(3)) / 2, rel=1e-6)


def test_relativistic_by_hand() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    assert relativistic.critic(real, fake).item() == pytest.approx((softplus(-1.5) + softplus(-2)) / 2, rel=1e-6)
    assert relativistic.generator(real, fake).item() == pytest.approx((softplus(1.5) + softplus(2)) / 2, rel=1e-6)


def shares(right: tuple[torch.Tensor, torch.Tensor]) -> list[float]:
    return [of.double().mean().item() for of in right]


def test_accuracy_by_hand() -> None:
    """Scores have a zero for the one loss, and for the other only a distance from those of the other side."""
    real, fake = torch.tensor([2.0, 3.0, -1.0, 0.5]), torch.tensor([0.25, -3.0, -1.25, 4.0])
    assert shares(non_saturating.right(real, fake)) == [0.75, 0.5]
    assert shares(relativistic.right(real, fake)) == [0.75, 0.75]  # the means are 1.125 and 0
    assert shares(relativistic.right(real + 100, fake + 100)) == [0.75, 0.75]
    assert shares(non_saturating.right(real + 100, fake + 100)) == [1, 0]


def test_relativistic_equilibrium_is_log_2() -> None:
    same = torch.randn(8)
    assert relativistic.critic(same, same).item() == pytest.approx(math.log(2), rel=1e-6)
    assert relativistic.generator(same, same).item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("loss", [non_saturating, relativistic])
def test_gradients_are_the_numerical_ones(loss) -> None:
    scores = [torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(loss.critic, scores)
    assert torch.autograd.gradcheck(loss.generator, scores)


def test_penalty_of_a_linear_critic_is_its_squared_weight() -> None:
    weight = torch.tensor([3.0, -4.0])
    sample = torch.randn(6, 2, requires_grad=True)
    assert zero_centred_penalty(sample @ weight, sample).tolist() == pytest.approx([25.0] * 6)


def test_penalty_is_the_numerical_gradients_squared_norm_and_has_a_gradient_itself() -> None:
    torch.manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    critic = critic.double()
    sample = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    penalty = zero_centred_penalty(critic(sample).squeeze(1), sample)
    step = 1e-6
    for row in range(3):
        slopes = []
        for index in range(4):
            moved = torch.zeros(4, dtype=torch.float64)
            moved[index] = step
            moved = moved.reshape(1, 1, 2, 2)
            slopes.append(
                ((critic(sample[row : row + 1] + moved) - critic(sample[row : row + 1] - moved)) / (2 * step)).item()
            )
        assert penalty[row].item() == pytest.approx(sum(slope**2 for slope in slopes), rel=1e-6)
    penalty.mean().backward()
    assert critic[1].weight.grad is not None
    assert critic[1].weight.grad.abs().sum() > 0
