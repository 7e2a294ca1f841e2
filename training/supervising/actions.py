"""What a supervisor can do to a run, and how it adds up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from latentserve.training.recipe.config import PENALISED

if TYPE_CHECKING:
    from latentserve.training.recipe.config import Config, Cosine


@dataclass(frozen=True)
class Changes:
    """What differs from the configuration by now; part of a checkpoint. It survives JSON.

    Attributes:
        lr, critic_lr: factors of the step sizes of generator and critic.
        gamma: factor of the weight of R1 + R2.
        penalised: whether R1 + R2 came with their default weight, where the configuration has none.
        clip: largest norm of a player's gradient; None: the configuration's.
        n_critic: steps of the critic to one of the generator; None: the configuration's.
        loss: the game; None: the configuration's.
        augment: what may be done to images; empty: the configuration's.
        stream: random stream: how often the run was rolled back, or its critic begun anew.
        stopped: whether the run ended early.
        count: how often something was changed.
    """

    lr: float = 1.0
    critic_lr: float = 1.0
    gamma: float = 1.0
    penalised: bool = False
    clip: float | None = None
    n_critic: int | None = None
    loss: str | None = None
    augment: tuple[str, ...] = field(default=())
    stream: int = 0
    stopped: bool = False
    count: int = 0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Changes:
        return cls(**{**values, "augment": tuple(values.get("augment", ()))})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def applied_to(self, config: Config) -> Config:
        """The configuration that the run goes on with."""
        if self == Changes(stream=self.stream, stopped=self.stopped, count=self.count):
            return config
        critic = config.critic_optimisation.lr
        return config.model_copy(
            update={
                "lr": _times(self.lr, config.lr),
                "critic": config.critic.model_copy(update={"lr": _times(self.critic_lr, critic)}),
                "gamma": _times(self.gamma, PENALISED if self.penalised else config.gamma),
                "clip": self.clip or config.clip,
                "n_critic": self.n_critic or config.n_critic,
                "loss": self.loss or config.loss,
                "augment": self.augment or config.augment,
            }
        )

    def seed(self, seed: int) -> int:
        """The seed of what is left to chance from here on: the run's own until it is rolled back."""
        if self.stream == 0:
            return seed
        return int(np.random.SeedSequence((seed, self.stream)).generate_state(1, np.uint64)[0] >> 11)


@dataclass(frozen=True)
class Action:
    """One entry of the journal.

    Attributes:
        images: real images seen when it was decided.
        fault: what was found, one of `latentserve.training.supervising.FAULTS`.
        signal: what was read.
        window: its last values, the newest last.
        threshold: what they were held against.
        action: `skip` (done by the loop already), `tell`, `lr`, `critic_lr`, `gamma`, `clip`, `n_critic`, `loss`,
            `critic` (it gets new weights), `augment`, `rollback` or `stop`.
        before, after: the value that is changed, factors of the configuration's where `Changes` says so; of a rollback
            the images that the state goes back from and to.
        applied: whether the run was changed; not where the supervisor only observes, or tells.
    """

    images: int
    fault: str
    signal: str
    window: tuple[float, ...]
    threshold: float
    action: str
    before: Any
    after: Any
    applied: bool


def _times(factor: float, schedule: Cosine) -> Cosine:
    return schedule.model_copy(update={"start": factor * schedule.start, "end": factor * schedule.end})
