"""Fields of a recipe that are each possible and together are not, told before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentserve.training.recipe.config import Config, Optimisation


def first_contradiction(config: Config, ranks: int = 1) -> str | None:
    """The first that is found, in one line that begins with the field to change; None where there is none.

    `ranks` is the number of processes that share a batch.
    """
    return (
        _of_loss(config)
        or _of_optimisation(config.generator_optimisation, "")
        or _of_optimisation(config.critic_optimisation, "critic.")
        or _of_batch(config, ranks)
    )


def _of_loss(config: Config) -> str | None:
    for field, loss, why in (
        ("clip_weights", "wasserstein", "nothing else keeps its critic Lipschitz (0.01 in the paper)"),
        ("gradient_penalty", "wasserstein-gp", "it is the weight of its gradient penalty (10 in the paper)"),
    ):
        stated = getattr(config, field) is not None
        if config.loss == loss and not stated:
            return f"`{field}`: {loss} needs it: {why}"
        if config.loss != loss and stated:
            return f"`{field}`: belongs to the loss {loss}, not to {config.loss}"
        if config.loss == loss and config.penalised:
            return f"`gamma`: {loss} has {field}, which R1 + R2 would work against; set gamma to 0"
    if config.compile and (config.penalised or config.gradient_penalty):
        return "`compile`: torch.compile cannot differentiate twice, as gradient penalties do; set gamma to 0"
    return None


def _of_optimisation(chosen: Optimisation, of: str) -> str | None:
    if chosen.optimizer == "adam" and chosen.beta1 is None:
        return f"`{of}beta1`: adam needs it"
    if chosen.optimizer == "sgd" and chosen.beta2 is not None:
        return f"`{of}beta2`: sgd has no second moment to decay"
    if chosen.optimizer != "sgd" and chosen.beta2 is None:
        return f"`{of}beta2`: {chosen.optimizer} needs it"
    if chosen.beta2 is not None and max(chosen.beta2.start, chosen.beta2.end) >= 1:
        return f"`{of}beta2`: a decay is less than 1"
    return None


def _of_batch(config: Config, ranks: int) -> str | None:
    share, left = divmod(config.batch, ranks)
    if left:
        return f"`batch`: {config.batch} cannot be shared equally by {ranks} ranks"
    part, left = divmod(share, config.accumulate)
    if left:
        of = f"a rank's share of {share}" if ranks > 1 else f"a batch of {share}"
        return f"`accumulate`: {of} cannot be cut into {config.accumulate} equal parts"
    if part % config.packing:
        of = f"a part of {part} of the batch" if part < config.batch else f"a batch of {part}"
        return f"`packing`: {of} cannot be cut into packs of {config.packing}"
    return None
