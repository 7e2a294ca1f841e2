"""What shows the lines of a run's `stats.jsonl`, and nothing else: Prometheus metrics, and TensorBoard. No torch here.

All carry the labels `recipe` and `run`, the name of the run's folder. Gauges appear with the first line that has them.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from latentserve.training.errors import MetricsPortError, TrainingError

Sink = Callable[[Mapping[str, float]], None]  # is told the lines of stats.jsonl, as they are written there

ADDRESS = "127.0.0.1"
TENSORBOARD = "tensorboard"  # folder of a run
REGISTRY = CollectorRegistry()
_RUN = ("recipe", "run")

INFO = Gauge("latentserve_training_info", "The run; always 1.", _RUN, registry=REGISTRY)
IMAGES_PLANNED = Gauge(
    "latentserve_training_images_planned", "Real images after which the run is finished.", _RUN, registry=REGISTRY
)
IMAGES = Counter(
    "latentserve_training_images_total", "Real images shown to the critic, in all sittings.", _RUN, registry=REGISTRY
)
SECONDS = Counter(
    "latentserve_training_seconds_total", "Time spent training, in all sittings.", _RUN, registry=REGISTRY
)
NONFINITE_STEPS = Counter(
    "latentserve_training_nonfinite_steps_total",
    "Steps left out because a loss or a gradient was not finite.",
    _RUN,
    registry=REGISTRY,
)
LAST_STEP = Gauge(
    "latentserve_training_last_step_timestamp_seconds",
    "When the last reported step ended, or when this sitting began if that is later.",
    _RUN,
    registry=REGISTRY,
)
IMAGES_PER_SECOND = Gauge(
    "latentserve_training_images_per_second", "Real images a second over the last tick.", _RUN, registry=REGISTRY
)
LOSS = Gauge(
    "latentserve_training_loss",
    "Mean loss of a player over the last tick, without penalties.",
    (*_RUN, "player"),
    registry=REGISTRY,
)
SCORE = Gauge(
    "latentserve_training_score",
    "Mean score that the critic gave over the last tick, or to held-out reals at its end.",
    (*_RUN, "of"),
    registry=REGISTRY,
)
ACCURACY = Gauge(
    "latentserve_training_accuracy",
    "Share of reals, fakes, and held-out reals that the critic took for what they are over the last tick.",
    (*_RUN, "of"),
    registry=REGISTRY,
)
GRADIENT_NORM = Gauge(
    "latentserve_training_gradient_norm",
    "Mean Euclidean norm of a player's whole gradient over the last tick.",
    (*_RUN, "player"),
    registry=REGISTRY,
)
PENALTY = Gauge(
    "latentserve_training_penalty",
    "Mean gradient penalty over the last tick, without its weight: R1 on reals, R2 on fakes, WGAN-GP's between them.",
    (*_RUN, "of"),
    registry=REGISTRY,
)
DIVERSITY = Gauge(
    "latentserve_training_diversity",
    "Mean distance between samples of a label over that between reals of a label: 0 is collapse, about 1 is healthy.",
    _RUN,
    registry=REGISTRY,
)
FRECHET = Gauge(
    "latentserve_training_frechet",
    "Frechet distance from held-out reals: of samples, of the reals shown last, and of other reals, the floor.",
    (*_RUN, "of"),
    registry=REGISTRY,
)
EFFECTIVE_RANK = Gauge(
    "latentserve_training_effective_rank",
    "Directions that the critic's features of samples vary in, over those of reals.",
    _RUN,
    registry=REGISTRY,
)
HELD_OUT_GAP = Gauge(
    "latentserve_training_held_out_gap",
    "How much lower unseen reals score than those shown, over the lead of the latter: 0 is learnt, 1 is by heart.",
    _RUN,
    registry=REGISTRY,
)
DATA_SECONDS = Gauge(
    "latentserve_training_data_seconds", "Time in the last tick that waited for data.", _RUN, registry=REGISTRY
)
ACTIONS = Gauge(
    "latentserve_training_actions", "Times that the supervisor has changed the run.", _RUN, registry=REGISTRY
)
AUGMENTATION = Gauge(
    "latentserve_training_augmentation_probability",
    "Probability of each alteration of the images that the critic sees, at the end of the last tick.",
    _RUN,
    registry=REGISTRY,
)

# Field of a line -> the gauge that shows it, and its label beside those of the run.
GAUGES: dict[str, tuple[Gauge, dict[str, str]]] = {
    "images_per_second": (IMAGES_PER_SECOND, {}),
    "critic_loss": (LOSS, {"player": "critic"}),
    "generator_loss": (LOSS, {"player": "generator"}),
    "real_score": (SCORE, {"of": "real"}),
    "fake_score": (SCORE, {"of": "fake"}),
    "real_accuracy": (ACCURACY, {"of": "real"}),
    "fake_accuracy": (ACCURACY, {"of": "fake"}),
    "critic_gradient_norm": (GRADIENT_NORM, {"player": "critic"}),
    "generator_gradient_norm": (GRADIENT_NORM, {"player": "generator"}),
    "r1": (PENALTY, {"of": "real"}),
    "r2": (PENALTY, {"of": "fake"}),
    "gradient_penalty": (PENALTY, {"of": "between"}),
    "held_out_score": (SCORE, {"of": "held_out"}),
    "held_out_accuracy": (ACCURACY, {"of": "held_out"}),
    "held_out_gap": (HELD_OUT_GAP, {}),
    "frechet": (FRECHET, {"of": "fake"}),
    "frechet_floor": (FRECHET, {"of": "floor"}),
    "real_frechet": (FRECHET, {"of": "real"}),
    "effective_rank": (EFFECTIVE_RANK, {}),
    "data_seconds": (DATA_SECONDS, {}),
    "actions": (ACTIONS, {}),
    "augmentation": (AUGMENTATION, {}),
    "diversity": (DIVERSITY, {}),
}


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


@contextmanager
def tensorboard(run: Path) -> Iterator[Sink]:
    """A sink for lines, into the run's folder `tensorboard`. What lies there is of an earlier sitting, whose lines the
    sink is told again, and is deleted.

    Raises TrainingError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("--tensorboard: the package tensorboard is not installed") from None
    for file in (run / TENSORBOARD).glob("events.*"):
        file.unlink()
    writer = SummaryWriter(str(run / TENSORBOARD))

    def write(line: Mapping[str, float]) -> None:
        for name, value in line.items():
            writer.add_scalar(name, value, line["images"])

    try:
        yield write
    finally:
        writer.close()
