"""What shows the lines of a run's `stats.jsonl` to Prometheus. No torch here.

All carry the labels `recipe` and `run`, the name of the run's folder. Gauges appear with the first line that has them.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from latentserve.service.watching import shared_values
from latentserve.training.errors import MetricsPortError

shared_values.decide()  # or they would be kept in the folder of whichever program has set PROMETHEUS_MULTIPROC_DIR

Sink = Callable[[Mapping[str, float]], None]  # is told the lines of stats.jsonl, as they are written there

Metric = TypeVar("Metric", Gauge, Counter)

ADDRESS = "127.0.0.1"
REGISTRY = CollectorRegistry()


GAUGES: dict[str, tuple[Gauge, dict[str, str]]] = {}  # field of a line -> its gauge, and its label beside the run's


def _metric(kind: type[Metric], name: str, documentation: str, *labels: str) -> Metric:
    return kind(f"latentserve_training_{name}", documentation, ("recipe", "run", *labels), registry=REGISTRY)


def _gauge(documentation: str, name: str, **labelled: dict[str, str]) -> Gauge:
    """Of the field that is named so, or of several: the label's value of each."""
    gauge = _metric(Gauge, name, documentation, *labelled)
    for label, fields in labelled.items():
        GAUGES.update({field: (gauge, {label: value}) for field, value in fields.items()})
    if not labelled:
        GAUGES[name.removesuffix("_probability")] = gauge, {}
    return gauge


INFO = _metric(Gauge, "info", "The run; always 1.")
IMAGES_PLANNED = _metric(Gauge, "images_planned", "Real images after which the run is finished.")
IMAGES = _metric(Counter, "images_total", "Real images shown to the critic, in all sittings.")
SECONDS = _metric(Counter, "seconds_total", "Time spent training, in all sittings.")
NONFINITE_STEPS = _metric(
    Counter, "nonfinite_steps_total", "Steps left out because a loss or a gradient was not finite."
)
LAST_STEP = _metric(
    Gauge,
    "last_step_timestamp_seconds",
    "When the last reported step ended, or when this sitting began if that is later.",
)
IMAGES_PER_SECOND = _gauge("Real images a second over the last tick.", "images_per_second")
LOSS = _gauge(
    "Mean loss of a player over the last tick, without penalties.",
    "loss",
    player={"critic_loss": "critic", "generator_loss": "generator"},
)
SCORE = _gauge(
    "Mean score that the critic gave over the last tick, or to held-out reals at its end.",
    "score",
    of={"real_score": "real", "fake_score": "fake", "held_out_score": "held_out"},
)
ACCURACY = _gauge(
    "Share of reals, fakes, and held-out reals that the critic took for what they are over the last tick.",
    "accuracy",
    of={"real_accuracy": "real", "fake_accuracy": "fake", "held_out_accuracy": "held_out"},
)
GRADIENT_NORM = _gauge(
    "Mean Euclidean norm of a player's whole gradient over the last tick.",
    "gradient_norm",
    player={"critic_gradient_norm": "critic", "generator_gradient_norm": "generator"},
)
PENALTY = _gauge(
    "Mean gradient penalty over the last tick, without its weight: R1 on reals, R2 on fakes, WGAN-GP's between them.",
    "penalty",
    of={"r1": "real", "r2": "fake", "gradient_penalty": "between"},
)
DIVERSITY = _gauge(
    "Mean distance between samples of a label over that between reals of a label: 0 is collapse, about 1 is healthy.",
    "diversity",
)
FRECHET = _gauge(
    "Frechet distance from held-out reals: of samples, of the reals shown last, and of other reals, the floor.",
    "frechet",
    of={"frechet": "fake", "frechet_floor": "floor", "real_frechet": "real"},
)
EFFECTIVE_RANK = _gauge(
    "Directions that the critic's features of samples vary in, over those of reals.", "effective_rank"
)
HELD_OUT_GAP = _gauge(
    "How much lower unseen reals score than those shown, over the lead of the latter: 0 is learnt, 1 is by heart.",
    "held_out_gap",
)
LEAD = _gauge(
    "How far the critic puts reals shown last, and held-out reals, above fakes: 1 is all of them, 0 is no better than "
    "chance.",
    "lead",
    of={"shown_lead": "shown", "held_out_lead": "held_out"},
)
DATA_SECONDS = _gauge("Time in the last tick that waited for data.", "data_seconds")
ACTIONS = _gauge("Times that the supervisor has changed the run.", "actions")
AUGMENTATION = _gauge(
    "Probability of each alteration of the images that the critic sees, at the end of the last tick.",
    "augmentation_probability",
)


class RunMetrics:
    """The series of the one run of this process; counters are there from the start, at 0."""

    def __init__(self, recipe: str, run: str, images: int) -> None:
        """`images` is the run's budget."""
        self._of = {"recipe": recipe, "run": run}
        for metric in (INFO, IMAGES_PLANNED, IMAGES, SECONDS, NONFINITE_STEPS, LAST_STEP):
            metric.clear()
        for gauge, _ in GAUGES.values():
            gauge.clear()
        INFO.labels(**self._of).set(1)
        IMAGES_PLANNED.labels(**self._of).set(images)
        self._images, self._seconds = IMAGES.labels(**self._of), SECONDS.labels(**self._of)
        self._nonfinite_steps = NONFINITE_STEPS.labels(**self._of)
        self._last_step = LAST_STEP.labels(**self._of)
        # A sitting that has only begun has not stalled, whenever the one before it ended.
        self._began = time.time()
        self._last_step.set(self._began)
        self._gauges: dict[str, Gauge] = {}
        self._shown = (0.0, 0.0)

    def show(self, line: Mapping[str, float]) -> None:
        """Show one line of `stats.jsonl`; a resumed run shows those it has first.

        A gauge whose field is missing, because it had no finite value, is NaN.
        """
        for field in GAUGES.keys() & line.keys() - self._gauges.keys():
            gauge, label = GAUGES[field]
            self._gauges[field] = gauge.labels(**self._of, **label)
        for field, series in self._gauges.items():
            series.set(line.get(field, math.nan))
        images, seconds = self._shown
        self._images.inc(line["images"] - images)
        self._seconds.inc(line["seconds"] - seconds)
        self._shown = (line["images"], line["seconds"])
        self._nonfinite_steps.inc(line.get("nonfinite_steps", 0))
        self._last_step.set(max(self._began, line.get("timestamp", 0)))


@contextmanager
def served(port: int) -> Iterator[int]:
    """Serve this file's metrics at `http://127.0.0.1:PORT/metrics` within the block, which is given the port.

    Args:
        port: 0 lets the system choose a free one.

    Raises:
        MetricsPortError: The port cannot be had.
    """
    try:
        server, thread = start_http_server(port, ADDRESS, REGISTRY)
    except OSError as error:
        raise MetricsPortError(f"--metrics-port {port}: {ADDRESS}:{port}: {error.strerror}") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
