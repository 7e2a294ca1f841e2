"""What is done about a fault: a ladder each, one rung a time, the mildest that is known to help first.

A rung is a few steps, each a name and a number: a factor of `lr`, `critic_lr`, `gamma`, and of the best line's largest
gradient norm for `clip`. What a run has no use for is left out, and a rung of which nothing is left is passed over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from latentserve.training.supervising.actions import Changes
from latentserve.training.supervising.detectors import Line

if TYPE_CHECKING:
    from latentserve.training.recipe.config import Config

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
    "plateau": (BOTH_SLOWER, BOTH_SLOWER, STOP),
}

AUGMENT = ("translate", "brightness", "contrast")  # not `flip`: it suits no digits and no letters


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
