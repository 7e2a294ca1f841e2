"""What is done about a fault: a ladder each, one rung a time, the mildest that is known to help first; how it adds up.

A rung is a few steps, each a name and a number: a factor of `lr`, `critic_lr`, `gamma`, and of the best line's largest
gradient norm for `clip`. What a run has no use for is left out, and a rung of which nothing is left is passed over.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from latentserve.training.recipe.config import PENALISED, Config, Cosine
from latentserve.training.supervising.windows import Line

Step = tuple[str, float]

BOTH_SLOWER: tuple[Step, ...] = (("lr", 0.5), ("critic_lr", 0.5))
BOTH_MUCH_SLOWER: tuple[Step, ...] = (("lr", 0.1), ("critic_lr", 0.1))
BACK: Step = ("rollback", 0)
STOP: tuple[Step, ...] = (BACK, ("stop", 0))
NEW_CRITIC: Step = ("critic", 0)
WEAKER_CRITIC: tuple[tuple[Step, ...], ...] = (
    (("n_critic", 1),),
    (("gamma", 2), ("critic_lr", 0.3)),
    (("critic_lr", 0.3),),
)
NORMS = ("critic_gradient_norm", "generator_gradient_norm")

LADDERS: dict[str, tuple[tuple[Step, ...], ...]] = {
    "non-finite values": ((BACK,), (BACK,), (BACK, *BOTH_SLOWER)),
    "divergence": ((BACK, *BOTH_MUCH_SLOWER, ("clip", 2)), (BACK, *BOTH_MUCH_SLOWER), (BACK, *BOTH_SLOWER), STOP),
    "changed data": (STOP,),
    "mode collapse": ((BACK, ("gamma", 2)), (BACK, *BOTH_SLOWER, ("gamma", 2)), STOP),
    "worse quality": ((BACK, *BOTH_SLOWER), (BACK, *BOTH_SLOWER), STOP),
    "vanishing gradients": ((("loss", 0), ("gamma", 2), NEW_CRITIC), *WEAKER_CRITIC),
    "overpowering critic": ((("loss", 0), ("gamma", 2)), *WEAKER_CRITIC),
    "overfitting critic": ((("augment", 0),), (("gamma", 2), ("critic_lr", 0.5)), (BACK, ("critic_lr", 0.5)), STOP),
}

AUGMENT = ("translate", "brightness", "contrast")  # not `flip`: it suits no digits and no letters


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
    def from_json(cls, values: dict[str, Any]) -> Self:
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


def change(
    step: Step, config: Config, changes: Changes, best: Line | None, kind: str
) -> tuple[Any, Any, Changes] | None:
    """The value before, the value after, and the changes with it; None where the step has no use for such a run.

    `best` is the best line so far, `kind` that of the data's samples.
    """
    name, factor = step
    match name:
        case "lr" | "critic_lr":
            before = getattr(changes, name)
            return before, before * factor, replace(changes, **{name: before * factor})
        case "gamma" if _may_be_penalised(config):
            if not (config.penalised or changes.penalised):
                return 0.0, 1.0, replace(changes, penalised=True)
            return changes.gamma, changes.gamma * factor, replace(changes, gamma=changes.gamma * factor)
        case "clip" if best is not None:
            norms = [best[norm] for norm in NORMS if norm in best]
            if norms and max(norms) > 0:
                clip = factor * max(norms)
                return changes.clip or config.clip, clip, replace(changes, clip=clip)
        case "n_critic" if (changes.n_critic or config.n_critic) > factor:
            return changes.n_critic or config.n_critic, int(factor), replace(changes, n_critic=int(factor))
        case "loss" if (changes.loss or config.loss) == "minimax":
            return "minimax", "non-saturating", replace(changes, loss="non-saturating")
        case "augment" if kind == "image" and not (changes.augment or config.augment):
            return [], list(AUGMENT), replace(changes, augment=AUGMENT)
        case "rollback" | "critic":
            return None, None, replace(changes, stream=changes.stream + 1)
        case "stop":
            return False, True, replace(changes, stopped=True)
    return None


def _may_be_penalised(config: Config) -> bool:
    """Whether R1 + R2 go with the rest: not with what keeps a Wasserstein critic Lipschitz, nor with torch.compile."""
    return config.clip_weights is None and config.gradient_penalty is None and not config.compile


def _times(factor: float, schedule: Cosine) -> Cosine:
    return schedule.model_copy(update={"start": factor * schedule.start, "end": factor * schedule.end})
