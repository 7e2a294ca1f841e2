"""The dashboard *training*: does the run learn, and does it go on? What `latentserve train --metrics-port` shows."""

from __future__ import annotations

from deploy.dashboards.frame import Section, dashboard, labels_of
from deploy.dashboards.panels import BLUE, RED, Panel, lines, number, rows
from deploy.dashboards.queries import of, one_of, total
from deploy.names import TRAINING_JOB
from latentserve.training.reporting import metrics as m

_RUNS = one_of("recipe", "run")  # of records
_RUN = f'job="{TRAINING_JOB}", {_RUNS}'
_OF = "{{recipe}} {{run}}"


def training(runbooks: str) -> str:
    """The dashboard as JSON; `runbooks` is the address of the folder that holds them."""
    return dashboard(
        "training",
        "latentserve: training",
        "Does the run learn, and does it go on? Of runs that were started with --metrics-port.",
        [labels_of(m.INFO, "recipe", "Recipe"), labels_of(m.INFO, "run", "Run", within=["recipe"])],
        [Section("Progress", _progress()), Section("The game", _game()), Section("Samples and gradients", _samples())],
        runbooks=runbooks,
    )


def _progress() -> list[Panel]:
    return [
        number("Runs", "short", "Runs that are scraped.", (f"count({of(m.INFO, _RUN)})", "runs"), width=4, first=BLUE),
        number(
            "Done", "percentunit", "Share of the run's budget of real images.",
            (f"{of(m.IMAGES, _RUN)} / {of(m.IMAGES_PLANNED, _RUN)}", _OF), width=4, first=BLUE,
        ),
        number(
            "Time left", "s", "Of the images left, at the speed of the last five minutes.",
            (of("run:latentserve_training_left:seconds", _RUNS), _OF), width=4, first=BLUE,
        ),
        number(
            "Since the last step", "s", "Grows when the run has stalled, or has ended.",
            (f"time() - {of(m.LAST_STEP, _RUN)}", _OF), width=4, runbooks=["LatentserveTrainingStalled"],
            colours={600: RED},
        ),
        number(
            "Steps left out", "short", "Because a loss or a gradient was not finite, in this sitting.",
            (of(m.NONFINITE_STEPS, _RUN), _OF), width=4, runbooks=["LatentserveTrainingNotFinite"], colours={1: RED},
        ),
        number(
            "Changed by the supervisor", "short", "Times; journal.jsonl in the run's folder says why and how.",
            (of(m.ACTIONS, _RUN), _OF), width=4, colours={1: RED},
        ),
        lines(
            "Images", "short", "Real images shown to the critic, and the run's budget of them.",
            (of(m.IMAGES, _RUN), f"shown {_OF}"), (of(m.IMAGES_PLANNED, _RUN), f"planned {_OF}"),
        ),
        lines(
            "Speed", "short", "Real images a second.",
            (of(m.IMAGES_PER_SECOND, _RUN), _OF), runbooks=["LatentserveTrainingStalled"],
        ),
        lines(
            "Waiting for data", "s", "Time of the last tick that went into reading.",
            (of(m.DATA_SECONDS, _RUN), _OF), runbooks=["LatentserveTrainingStalled"],
        ),
        rows(
            "Time", "s", "What each run has taken.", total("recipe, run, instance", of(m.SECONDS, _RUN)),
            value="trained for", width=8,
        ),
    ]  # fmt: skip


def _game() -> list[Panel]:
    return [
        lines(
            "Losses", "short", "Mean loss of each player over a tick, without penalties. Neither falls for ever: they "
            "play against each other. A critic's near 0 has won, and teaches nothing more.",
            (of(m.LOSS, _RUN), f"{{{{player}}}} {_OF}"), signed=True,
        ),
        lines(
            "Critic's scores", "short", "Mean score of reals and of fakes; the gap is what the critic still sees.",
            (of(m.SCORE, _RUN), f"{{{{of}}}} {_OF}"), signed=True,
        ),
        lines(
            "Critic's accuracy", "percentunit", "Share of reals and of fakes taken for what they are. Between a half "
            "and 1 both players learn; at 1 the critic has won. With augmentation also how often images are altered.",
            (
                f'{of(m.ACCURACY, _RUN)} or label_replace({of(m.AUGMENTATION, _RUN)}, "of", "altered", "", "")',
                f"{{{{of}}}} {_OF}",
            ),
            most=1,
        ),
    ]  # fmt: skip


def _samples() -> list[Panel]:
    return [
        lines(
            "Gradient norms", "short", "Of each player's whole gradient. A jump comes before what is not finite.",
            (of(m.GRADIENT_NORM, _RUN), f"{{{{player}}}} {_OF}"), runbooks=["LatentserveTrainingNotFinite"],
        ),
        lines(
            "Gradient penalties", "short", "Without their weight: R1 on reals, R2 on fakes, or that between them.",
            (of(m.PENALTY, _RUN), f"{{{{of}}}} {_OF}"),
        ),
        lines(
            "Diversity", "percentunit", "Distance between samples of a label over that between reals of a label: 0 is "
            "collapse, about 1 is healthy. And the same of the critic's features: the directions that they vary in.",
            (of(m.DIVERSITY, _RUN), f"samples {_OF}"), (of(m.EFFECTIVE_RANK, _RUN), f"features {_OF}"),
        ),
        lines(
            "Distance from reals", "short", "Frechet distance of samples from held-out reals, beside what it is "
            "between reals. Where the reals shown leave the floor, the data are not what was held out.",
            (of(m.FRECHET, _RUN), f"{{{{of}}}} {_OF}"),
        ),
        lines(
            "Overfitting", "percentunit", "How much lower unseen reals score than those shown, over the lead of the "
            "latter over fakes: at 1 the critic knows its reals by heart. And how far each lie above fakes: 1 is all, "
            "0 no better than chance.",
            (of(m.HELD_OUT_GAP, _RUN), _OF), (of(m.LEAD, _RUN), f"lead, {{{{of}}}} {_OF}"), signed=True,
        ),
    ]  # fmt: skip
