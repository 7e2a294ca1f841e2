import math

import pytest

from latentserve.training.recipe.config import UNPENALISED, Config
from latentserve.training.supervising import FAULTS, replay
from latentserve.training.supervising.windows import WINDOWS
from tests.training.supervising.lines import line, run

FAR = {"frechet_floor": 0.04, "real_frechet": 0.05}  # samples that are several floors from the reals

FAILING = {
    "non-finite values": {"nonfinite_steps": 1},
    "divergence": {"critic_loss": -150.0},
    "changed data": {"real_frechet": 0.4},
    "mode collapse": {"diversity": 0.1},
    "worse quality": {"frechet": 0.4},
    "vanishing gradients": {"generator_gradient_norm": 1e-4, "fake_accuracy": 1.0},
    "overpowering critic": {"critic_loss": 0.01, "real_accuracy": 1.0, "fake_accuracy": 1.0},
    "overfitting critic": {"held_out_gap": 0.7} | FAR,
    "stall": {"images_per_second": 100.0},
}
PATIENCE = {"divergence": 1, "non-finite values": 1, "mode collapse": 2, "vanishing gradients": 2, "worse quality": 3}


def long(config: Config, **other: object) -> Config:
    """A run whose windows are lines."""
    return config.model_copy(update={"images": 100 * WINDOWS, **other})


def found(config: Config, lines: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(action.fault for action in replay(config, "image", lines)))


def test_a_healthy_run_is_left_alone(tiny: Config) -> None:
    wiggles = [
        line(at, frechet=0.15 + 0.05 * math.sin(at), held_out_gap=0.3 * math.cos(at), diversity=0.7 + 0.2 * (-1) ** at)
        for at in range(60)
    ]
    assert replay(long(tiny), "image", wiggles) == []


@pytest.mark.parametrize("fault", FAILING)
def test_what_lasts_is_called_by_its_name_and_what_passes_is_not(tiny: Config, fault: str) -> None:
    config = long(tiny)
    assert found(config, run(18, 6, **FAILING[fault]))[:1] == [fault]
    patience = PATIENCE.get(fault, 3)
    assert fault not in found(config, run(18, patience - 1, **FAILING[fault]) + [line(30 + at) for at in range(9)])


def test_every_fault_that_can_be_found_has_been_looked_for() -> None:
    assert set(FAULTS) == FAILING.keys() | {"plateau", "mismatched data"}


def test_a_critic_may_overfit_where_samples_are_as_good_as_they_get(tiny: Config) -> None:
    assert found(long(tiny), run(8, 30, held_out_gap=0.9)) == []
    assert found(long(tiny), run(8, 30, held_out_gap=0.9, frechet=None, frechet_floor=None)) == ["overfitting critic"]


@pytest.mark.parametrize(("shown", "held_out", "expected"), [(0.9, 0.2, True), (0.9, 0.7, False), (0.2, -0.2, False)])
def test_what_is_lost_of_a_lead_goes_before_a_gap_of_scores(
    tiny: Config, shown: float, held_out: float, expected: bool
) -> None:
    """But where there is hardly a lead."""
    gap = 0.1 if expected else 0.9 if shown > 0.5 else 0.2
    lines = run(8, 30, held_out_gap=gap, shown_lead=shown, held_out_lead=held_out, **FAR)
    assert ("overfitting critic" in found(long(tiny), lines)) is expected


def test_gradients_that_are_gone_need_no_sure_critic(tiny: Config) -> None:
    assert found(long(tiny), run(3, 3, generator_gradient_norm=0.0)) == ["vanishing gradients"]
    assert found(long(tiny), run(3, 9, generator_gradient_norm=1e-4)) == []


def test_minimax_vanishes_by_its_loss_from_the_start(tiny: Config) -> None:
    config = long(tiny, loss="minimax")
    sure = {"fake_accuracy": 1.0, "generator_loss": -1e-3}
    assert found(config, run(0, 3, **sure)) == ["vanishing gradients"]
    assert found(config, run(0, 3, **sure | {"generator_loss": -0.3})) == []


@pytest.mark.parametrize("norm", ["critic_gradient_norm", "generator_gradient_norm"])
def test_gradients_explode_in_units_of_the_runs_own(tiny: Config, norm: str) -> None:
    lost = {norm: 20.0, "critic_loss": 2.0}
    assert found(long(tiny), run(6, 2, **lost)) == ["divergence"]
    assert found(long(tiny), run(0, 8, **lost)) == []
    assert found(long(tiny), run(6, 8, **{norm: 20.0})) == []  # with healthy losses they only get sharper


def test_wasserstein_losses_have_a_unit_of_their_own(tiny: Config) -> None:
    assert (
        found(long(tiny, loss="wasserstein", clip_weights=0.01, gamma=UNPENALISED), run(5, 5, critic_loss=-500.0)) == []
    )


def test_a_run_that_never_had_diversity_has_collapsed_only_when_it_is_late(tiny: Config) -> None:
    config = tiny.model_copy(update={"images": 3000})
    assert found(config, run(0, 20, diversity=0.1)) == ["mode collapse"]
    assert found(config, run(0, 15, diversity=0.1)) == []
    assert found(config, [line(at, diversity=0.05 * 1.05**at) for at in range(28)]) == []


def test_a_plateau_far_from_the_reals_is_told_from_an_end_near_them(tiny: Config) -> None:
    assert found(long(tiny), run(0, 60, frechet=0.5)) == ["plateau"]
    assert found(long(tiny), run(0, 60, frechet=0.2)) == []
    assert found(long(tiny), [line(at, frechet=5.0 * 0.97**at) for at in range(60)]) == []


def test_data_that_never_looked_like_what_is_held_out(tiny: Config) -> None:
    (action,) = replay(long(tiny), "image", run(0, 9, real_frechet=0.5))
    assert (action.fault, action.action, action.applied) == ("mismatched data", "tell", False)


def test_waiting_for_data_is_a_stall(tiny: Config) -> None:
    assert found(long(tiny), run(4, 4, data_seconds=0.09)) == ["stall"]


@pytest.mark.parametrize("field", [*line(0)])
def test_a_field_that_is_missing_is_no_failure(tiny: Config, field: str) -> None:
    if field != "images":
        assert replay(long(tiny), "image", run(6, 12, **{field: None})) == []


def test_where_chance_alone_doubles_a_distance_it_takes_more(tiny: Config) -> None:
    far = {"real_frechet": 0.3, "frechet_floor": 0.1}
    assert found(long(tiny), run(0, 9, **far)) == ["mismatched data"]
    assert found(long(tiny), run(0, 9, **far, frechet_floor_deviation=0.06)) == []
    assert found(long(tiny), run(9, 9, **far)) == ["changed data", "mismatched data"]
    assert found(long(tiny), run(9, 9, **far, frechet_floor_deviation=0.06)) == []
