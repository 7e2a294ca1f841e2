"""What this process has counted, read from its registry of metrics."""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.samples import Sample


def samples(name: str, **labels: str) -> list[Sample]:
    """The series of `latentserve_{name}` that carry these labels.

    No other metric is gathered: many tests make models, and the series of all of them are there until the end.
    """
    full, wanted = f"latentserve_{name}", labels.items()
    families = REGISTRY.restricted_registry([full]).collect()
    return [sample for family in families for sample in family.samples if wanted <= sample.labels.items()]


def value(name: str, **labels: str) -> float | None:
    """The value of the one series that has these labels and no others; None where there is none."""
    return next((sample.value for sample in samples(name, **labels) if sample.labels == labels), None)
