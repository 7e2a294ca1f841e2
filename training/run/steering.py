"""What the supervisor decides, done to a run."""

from collections.abc import Iterable
from pathlib import Path

import torch

from latentserve.training import networks
from latentserve.training.data import Description
from latentserve.training.game import optimizers
from latentserve.training.recipe.config import Config
from latentserve.training.run.checkpoint import State
from latentserve.training.supervising import Action, Journal, Supervisor
from latentserve.training.supervising.detectors import Line


class Steering:
    """The supervisor of a run in training, its journal, and the best state so far."""

    def __init__(
        self, config: Config, dataset: Description, run: Path, state: State, lines: Iterable[Line], leads: bool = True
    ) -> None:
        """Go on after `lines`, those of the run so far.

        Ranks that see the same lines decide the same; the one that leads keeps the journal.

        Raises RunError naming a journal of another version.
        """
        self._config, self._dataset = config, dataset
        self._acts = config.supervise == "act"
        self._supervisor = None if config.supervise == "off" else Supervisor(config, dataset.kind)
        if self._supervisor is None:
            return
        self._journal = Journal(run, state.images_seen) if leads else None
        for line in lines:
            self._supervisor.see(line)
        if self._acts:
            # They were made already; a run that was only observed before has none.
            self._supervisor.changes = state.changes
            if not state.best:
                keep(state)

    def see(self, line: Line, state: State) -> list[Action]:
        """Let the supervisor see a line, and return what was changed for it; the configuration is the loop's to change.

        A rollback goes to the best networks so far, with optimisers that know nothing of before, and another random
        stream; a new critic begins in one, too. The images seen, and with them every schedule, go on.
        """
        if self._supervisor is None:
            return []
        actions = self._supervisor.see(line)
        if actions and self._journal is not None:
            self._journal.write(actions)
        if not self._acts:
            return []
        if self._supervisor.best_images == line["images"]:
            keep(state)
        state.changes = self._supervisor.changes
        names = {action.action for action in actions}
        if "rollback" in names:
            roll_back(state, self._config)
        if "critic" in names:
            renew_critic(state, self._config, self._dataset)
        return [action for action in actions if action.applied and action.action != "skip"]


def keep(state: State) -> None:
    """Remember the networks as they are."""
    state.best = {name: tensor.detach().clone() for name, tensor in state.tensors().items()}


def roll_back(state: State, config: Config) -> None:
    """Go back to the networks that were kept."""
    with torch.no_grad():
        for name, tensor in state.tensors().items():
            tensor.copy_(state.best[name])
    for player, chosen in (("generator", config.generator_optimisation), ("critic", config.critic_optimisation)):
        parameters = getattr(state, player).parameters()
        setattr(state, f"{player}_optimizer", optimizers.build(chosen, parameters))
    torch.manual_seed(state.changes.seed(config.seed))


def renew_critic(state: State, config: Config, dataset: Description) -> None:
    """Give the critic new weights, and an optimiser that knows nothing of the old ones."""
    torch.manual_seed(state.changes.seed(config.seed))
    state.critic.load_state_dict(networks.build(config, dataset)[1].state_dict())
    state.critic_optimizer = optimizers.build(config.critic_optimisation, state.critic.parameters())
