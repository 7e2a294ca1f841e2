import math
from collections.abc import Callable

import pytest
import torch

from latentserve.training.game.losses import (
    Loss,
    between,
    lead,
    loss_named,
    one_centred_penalty,
    zero_centred_penalty,
)
from latentserve.training.recipe import choices

LOSSES = {name: loss_named(name) for name in choices.LOSSES}
REAL, FAKE = [2.0, -1.0], [0.5, -3.0]


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


# The critic's and the generator's loss of the scores above, written out.
CROSS_ENTROPY = (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2
BY_HAND = {
    "minimax": (CROSS_ENTROPY, -(softplus(0.5) + softplus(-3)) / 2),
    "non-saturating": (CROSS_ENTROPY, (softplus(-0.5) + softplus(3)) / 2),
    "wasserstein": (-1.25 - 0.5, 1.25),
    "wasserstein-gp": (-1.25 - 0.5, 1.25),
    "least-squares": (((1 + 4) / 2 + (0.25 + 9) / 2) / 2, (0.25 + 16) / 2 / 2),
    "hinge": ((0 + 2) / 2 + (1.5 + 0) / 2, 1.25),
    "relativistic": ((softplus(-1.5) + softplus(-2)) / 2, (softplus(1.5) + softplus(2)) / 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_by_hand(name: str) -> None:
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    critic, generator = BY_HAND[name]
    assert LOSSES[name].critic(real, fake).item() == pytest.approx(critic, rel=1e-6)
    assert LOSSES[name].generator(real, fake).item() == pytest.approx(generator, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_equilibrium_is_where_the_critic_cannot_tell(name: str) -> None:
    """Of all scores that are the same for reals and fakes, the best ones."""
    same = torch.linspace(-2, 2, 401)[:, None]
    best = min(LOSSES[name].critic(score, score).item() for score in same)
    expected = choices.LOSSES[name].equilibrium
    assert best == pytest.approx(0 if expected is None else expected, abs=1e-5)


def test_minimax_is_the_expectation_that_goodfellow_wrote() -> None:
    """Equation 1 in probabilities; the generator's gradient is about the share of real that the critic gives."""
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-8.0, -9.0], requires_grad=True)
    value = torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean()
    assert LOSSES["minimax"].critic(real, fake).item() == pytest.approx(-value.item(), rel=1e-6)
    (vanishing,) = torch.autograd.grad(LOSSES["minimax"].generator(real, fake), fake)
    (strong,) = torch.autograd.grad(LOSSES["non-saturating"].generator(real, fake), fake)
    assert vanishing.tolist() == pytest.approx((-torch.sigmoid(fake) / 2).tolist(), rel=1e-6)
    assert strong.abs().min() > 1000 * vanishing.abs().max()


def test_the_lead_is_of_all_pairs_whatever_the_unit() -> None:
    real, fake = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, -3.0])
    assert lead(real, fake).item() == pytest.approx(
        (2 + 0 + 1) / 6
    )  # of six pairs four are above, one below, one equal
    assert lead(1000 * real - 7, 1000 * fake - 7).item() == lead(real, fake).item()
    assert lead(real + 10, fake).item() == 1
    assert lead(real, real).item() == 0


def shares(right: tuple[torch.Tensor, torch.Tensor]) -> list[float]:
    return [of.double().mean().item() for of in right]


@pytest.mark.parametrize(
    ("names", "expected", "shifted"),
    [
        (("minimax", "non-saturating", "hinge"), [0.75, 0.5], [1, 0]),
        (("least-squares",), [0.5, 0.75], [1, 0]),  # half-way between its targets
        (("wasserstein", "wasserstein-gp", "relativistic"), [0.75, 0.75], [0.75, 0.75]),  # the means are 1.125 and 0
    ],
)
def test_accuracy_by_hand(names: tuple[str, ...], expected: list[float], shifted: list[float]) -> None:
    """Scores have a zero for some losses, and for others only a distance from those of the other side."""
    real, fake = torch.tensor([2.0, 3.0, -1.0, 0.5]), torch.tensor([0.25, -3.0, -1.25, 4.0])
    for name in names:
        assert shares(LOSSES[name].right(real, fake)) == expected
        assert shares(LOSSES[name].right(real + 100, fake + 100)) == shifted


def test_relativistic_equilibrium_is_log_2() -> None:
    same = torch.randn(8)
    assert LOSSES["relativistic"].critic(same, same).item() == pytest.approx(math.log(2), rel=1e-6)
    assert LOSSES["relativistic"].generator(same, same).item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_are_the_numerical_ones(loss: Loss) -> None:
    scores = [torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(loss.critic, scores)
    assert torch.autograd.gradcheck(loss.generator, scores)


def test_penalties_of_a_linear_critic_are_of_its_weight() -> None:
    weight = torch.tensor([3.0, -4.0])
    sample = torch.randn(6, 2, requires_grad=True)
    assert zero_centred_penalty(sample @ weight, sample).tolist() == pytest.approx([25.0] * 6)
    assert one_centred_penalty(sample @ weight, sample).tolist() == pytest.approx([16.0] * 6)
    assert one_centred_penalty(sample @ weight / 5, sample).tolist() == pytest.approx([0.0] * 6, abs=1e-9)


def test_the_penalty_of_a_pack_is_of_all_its_rows() -> None:
    sample = torch.randn(6, 2, requires_grad=True)
    score = sample.reshape(3, 4) @ torch.tensor([1.0, 2.0, 2.0, 4.0])
    assert zero_centred_penalty(score, sample).tolist() == pytest.approx([25.0] * 3)
    assert one_centred_penalty(score, sample).tolist() == pytest.approx([16.0] * 3)


def test_the_penalised_samples_lie_between_fakes_and_reals() -> None:
    real, fake = torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]]), torch.tensor([[[0.0, 1.0]], [[1.0, -1.0]]])
    assert between(real, fake, torch.tensor([0.0, 1.0])).tolist() == [[[0, 1]], [[5, 7]]]
    assert between(real, fake, torch.tensor([0.25, 0.5])).tolist() == [[[0.25, 1.5]], [[3, 3]]]


@pytest.mark.parametrize(
    ("penalty", "of_norm"),
    [(zero_centred_penalty, lambda norm: norm**2), (one_centred_penalty, lambda norm: (norm - 1) ** 2)],
)
def test_a_penalty_is_of_the_numerical_gradient_and_has_the_numerical_gradient_itself(
    penalty: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], of_norm: Callable[[float], float]
) -> None:
    torch.manual_seed(0)
    sample = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    first = torch.randn(8, 4, dtype=torch.float64, requires_grad=True)
    second = torch.randn(8, dtype=torch.float64, requires_grad=True)

    def score(sample: torch.Tensor) -> torch.Tensor:
        return torch.tanh(sample.flatten(1) @ first.T) @ second

    step = 1e-6
    for row, got in enumerate(penalty(score(sample), sample).tolist()):
        moves = step * torch.eye(4, dtype=torch.float64).reshape(4, 1, 2, 2)
        slopes = (score(sample[row] + moves) - score(sample[row] - moves)) / (2 * step)
        assert got == pytest.approx(of_norm(slopes.norm().item()), rel=1e-6)
    assert torch.autograd.gradcheck(
        lambda first, second: penalty(torch.tanh(sample.flatten(1) @ first.T) @ second, sample), (first, second)
    )
