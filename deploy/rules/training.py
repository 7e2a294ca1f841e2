"""Records and alerts of training runs that show their metrics (`latentserve train --metrics-port`)."""

from __future__ import annotations

from collections.abc import Iterator

from deploy import names
from deploy.rules.counts import by
from deploy.rules.rule import Alert, Record, Rule
from deploy.windows import duration

_RUN = ("recipe", "run")
_NAMED = "{{ $labels.run }} ({{ $labels.recipe }}) on {{ $labels.instance }}"
_STALLED = 600.0  # seconds without a step; a tick, after which one is reported, is far shorter


def training_rules() -> Iterator[Rule]:
    """A run's clock is its own: nothing here is made faster."""
    rate = "run:latentserve_training_images:rate5m"
    yield Record(rate, f"sum {by(*_RUN)} (rate({names.TRAINING_IMAGES}[5m]))")
    left = f"sum {by(*_RUN)} ({names.TRAINING_PLANNED} - {names.TRAINING_IMAGES})"
    yield Record("run:latentserve_training_left:seconds", f"{left} / ({rate} > 0)")
    yield Alert(
        "LatentserveTrainingStalled",
        f"time() - {names.TRAINING_LAST_STEP} > {_STALLED:g} and {names.TRAINING_IMAGES} < {names.TRAINING_PLANNED}",
        "ticket",
        f"Training stands still: {_NAMED}",
        "The last step was reported {{ $value | humanizeDuration }} ago, and the run is not finished.",
    )
    yield Alert(
        "LatentserveTrainingNotFinite",
        f"increase({names.TRAINING_NONFINITE}[{duration(_STALLED)}]) > 0",
        "ticket",
        f"Training steps are not finite: {_NAMED}",
        f"{{{{ $value | humanize }}}} steps were left out in {duration(_STALLED)}: a loss or gradient was not finite.",
    )
