"""The fault injector, for benchmarks and tests: faulty bundles, faulty traffic, and the cause each must be given."""

from benchmarks.drift.faults.bundles import (
    Fault,
    drop_mode,
    flip_bit,
    in_precision,
    nan_at_rate,
    precision,
    swap,
    zero_channel,
)
from benchmarks.drift.faults.cases import CASES, Case
from benchmarks.drift.faults.traffic import (
    Traffic,
    by_seed,
    label_mix,
    repeated_latent,
    requested_truncation,
    truncated_latents,
    wide_latents,
    without_seed,
)

__all__ = [
    "CASES",
    "Case",
    "Fault",
    "Traffic",
    "by_seed",
    "drop_mode",
    "flip_bit",
    "in_precision",
    "label_mix",
    "nan_at_rate",
    "precision",
    "repeated_latent",
    "requested_truncation",
    "swap",
    "truncated_latents",
    "wide_latents",
    "without_seed",
    "zero_channel",
]
