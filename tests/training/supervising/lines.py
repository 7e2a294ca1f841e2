"""Lines of stats.jsonl as a healthy run writes them, and as others do."""

from typing import Any

Line = dict[str, Any]

HEALTHY: Line = {
    "images_per_second": 1000.0,
    "data_seconds": 0.01,
    "nonfinite_steps": 0,
    "gamma": 1.0,
    "lr": 1e-3,
    "critic_loss": 0.58,
    "generator_loss": 0.87,
    "real_score": 0.5,
    "fake_score": -0.2,
    "real_accuracy": 0.8,
    "fake_accuracy": 0.85,
    "critic_gradient_norm": 0.4,
    "generator_gradient_norm": 0.3,
    "diversity": 0.8,
    "effective_rank": 0.9,
    "frechet": 0.15,
    "frechet_floor": 0.1,
    "real_frechet": 0.11,
    "held_out_score": 0.4,
    "held_out_accuracy": 0.75,
    "held_out_gap": 0.1,
}


def line(at: int, **other: Any) -> Line:
    """The line number `at` of a run with a line every 100 images; None leaves a field out."""
    made = HEALTHY | {"images": 100 * (at + 1), "seconds": 0.1 * (at + 1)} | other
    return {name: value for name, value in made.items() if value is not None}


def run(healthy: int, failing: int, **other: Any) -> list[Line]:
    """So many healthy lines, and then so many others."""
    return [line(at) for at in range(healthy)] + [line(healthy + at, **other) for at in range(failing)]
