"""Whatever the tick, a supervisor comes to the same verdicts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.supervising import Action, replay
from latentserve.training.supervising.windows import WINDOWS, Windows
from tests.training.supervising.lines import HEALTHY

BUDGET, BATCH = 200_000, 250

# What fails, from some share of the budget on: each by how the steps' statistics change.
FAULTS: dict[str, dict[str, float]] = {
    "divergence": {"critic_loss": 150.0, "critic_gradient_norm": 90.0},
    "mode collapse": {"diversity": 0.1},
    "worse quality": {"frechet": 3.0},
    "overpowering critic": {"critic_loss": 0.01, "real_accuracy": 1.0, "fake_accuracy": 1.0},
    "overfitting critic": {"held_out_gap": 0.9},
    "vanishing gradients": {"generator_gradient_norm": 1e-5, "fake_accuracy": 1.0},
}
MEASURED = ("frechet", "diversity", "effective_rank", "held_out_gap", "real_frechet")  # once a line, not once a step


def simulated(tick: int, seed: int, fault: str | None, since: float) -> list[dict[str, Any]]:
    """The lines of a run that learns: its first steps are like nothing, its statistics wander from step to step, and
    the same steps are in the lines whatever the tick. A fault that is there stays."""
    rng = np.random.default_rng(seed)
    images = np.arange(BATCH, BUDGET + 1, BATCH)
    progress = images / BUDGET
    still = np.exp(-progress / 0.02)  # how much of the untrained is left
    steps = {}
    for name, value in HEALTHY.items():
        if name in ("images_per_second", "data_seconds", "nonfinite_steps"):
            steps[name] = np.full(len(images), float(value))
            continue
        wander = np.exp(0.15 * rng.standard_normal(len(images)))
        steps[name] = value * wander
    steps["frechet"] *= 1 + 8 * still
    steps["frechet"] = np.where(progress < 0.01, 0.05, steps["frechet"])  # a grey mean is near to everything
    steps["diversity"] *= 1 - 0.95 * still
    steps["critic_loss"] *= 1 - 0.99 * still
    for name in ("real_accuracy", "fake_accuracy"):
        steps[name] = np.minimum(steps[name] + still, 1.0)
    if fault == "overfitting critic":  # of samples that stay far from the reals
        steps["frechet"] = np.full(len(images), 0.5)
    for name, value in FAULTS.get(fault or "", {}).items():
        steps[name] = np.where(progress >= since, value, steps[name])
    lines = []
    ends = [
        at
        for at in range(1, len(images) + 1)
        if at == len(images) or images[at - 1] // tick > _before(images, at, tick)
    ]
    start = 0
    for end in ends:
        made = {
            name: float(values[end - 1] if name in MEASURED or name == "frechet_floor" else values[start:end].mean())
            for name, values in steps.items()
        }
        lines.append(made | {"frechet_floor": 0.1, "images": int(images[end - 1]), "seconds": float(images[end - 1])})
        start = end
    return lines


def _before(images: np.ndarray, at: int, tick: int) -> int:
    return int(images[at - 2] // tick) if at > 1 else 0


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("waves", ("supervise=act",)).model_copy(update={"images": BUDGET})


def verdict(config: Config, tick: int, seed: int, fault: str | None, since: float = 1.0) -> Action | None:
    changes = [one for one in replay(config, "audio", simulated(tick, seed, fault, since)) if one.action != "tell"]
    return changes[0] if changes else None


@settings(max_examples=8, deadline=None)
@given(tick=st.integers(BATCH, BUDGET // 10), seed=st.integers(0, 99))
def test_a_healthy_run_is_left_alone_whatever_the_tick(config: Config, tick: int, seed: int) -> None:
    assert verdict(config, tick, seed, None) is None


@settings(max_examples=8, deadline=None)
@given(
    ticks=st.lists(st.integers(BATCH, BUDGET // WINDOWS), min_size=2, max_size=2),
    seed=st.integers(0, 99),
    fault=st.sampled_from(sorted(FAULTS)),
    since=st.floats(0.3, 0.7),
)
def test_a_failing_one_is_called_the_same_at_the_same_time(
    config: Config, ticks: list[int], seed: int, fault: str, since: float
) -> None:
    found = [verdict(config, tick, seed, fault, since) for tick in ticks]
    assert [None if one is None else one.fault for one in found] == [fault, fault]
    first, second = (one.images for one in found if one is not None)
    assert abs(first - second) <= 2 * BUDGET / WINDOWS


@settings(max_examples=8, deadline=None)
@given(
    tick=st.integers(BUDGET // WINDOWS, BUDGET // 15), seed=st.integers(0, 99), fault=st.sampled_from(sorted(FAULTS))
)
def test_a_long_tick_is_as_many_windows_and_says_it_later(config: Config, tick: int, seed: int, fault: str) -> None:
    found = verdict(config, tick, seed, fault, 0.4)
    assert found is not None
    assert found.fault == fault
    assert found.images >= 0.4 * BUDGET


def test_a_window_is_what_its_lines_say_together() -> None:
    pool = Windows(6400)
    assert pool.see({"images": 40, "loss": 1.0, "nonfinite_steps": 2, "seconds": 1.0}) is None
    assert pool.see({"images": 50, "nonfinite_steps": 0, "seconds": 2.0}) is None
    whole = pool.see({"images": 120, "loss": 2.0, "nonfinite_steps": 1, "seconds": 3.0})
    assert whole == {"images": 120, "loss": (40 + 2 * 70) / 110, "nonfinite_steps": 3, "seconds": 3.0}
    assert pool.see({"images": 500, "loss": 7.0}) == {"images": 500, "loss": 7.0}
