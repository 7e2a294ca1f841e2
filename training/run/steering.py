"""What the supervisor decides, done to a run."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch

from latentserve.training import networks
from latentserve.training.data import Description
from latentserve.training.distributed import Ranks
from latentserve.training.game import optimizers
from latentserve.training.recipe.config import Config
from latentserve.training.run.checkpoint import State
from latentserve.training.supervising import Changes, Journal, Supervisor
from latentserve.training.supervising.windows import Line


class Steering:
    """The supervisor of a run in training, its journal, and the best state so far.

    The rank that leads sees the lines, decides, and keeps the journal; the others do what it says."""

    def __init__(
        self, config: Config, dataset: Description, run: Path, state: State, lines: Iterable[Line], ranks: Ranks
    ) -> None:
        """Go on after `lines`, those of the run so far. Raises RunError naming a journal of another version."""
        self._config, self._dataset, self._ranks = config, dataset, ranks
        self._acts = config.supervise == "act"
        self._supervisor: Supervisor | None = None
        if self._acts and not state.best:
            keep(state)
        if config.supervise == "off" or not ranks.leads:
            return
        self._supervisor = Supervisor(config, dataset.kind)
        self._journal = Journal(run, state.images_seen)
        for line in lines:
            self._supervisor.see(line)
        if self._acts:
            # They were made already; a run that was only observed before has none.
            self._supervisor.changes = state.changes

    def see(self, line: Line, state: State) -> bool:
        """Let the supervisor see a line, and say whether anything was changed for it; the configuration is the loop's
        to change.

        A rollback goes to the best networks so far, with optimisers that know nothing of before, and another random
        stream; a new critic begins in one, too. The images seen, and with them every schedule, go on.
        """
        decided = b""
        if self._supervisor is not None:
            actions = self._supervisor.see(line)
            if actions:
                self._journal.write(actions)
            names = [action.action for action in actions if action.applied and action.action != "skip"]
            best = self._supervisor.best_images == line["images"]
            decided = json.dumps({"best": best, "names": names, "changes": self._supervisor.changes.to_json()}).encode()
        if not self._acts:
            return False
        told = json.loads(self._ranks.told(decided))
        if told["best"]:
            keep(state)
        state.changes = Changes.from_json(told["changes"])
        if "rollback" in told["names"]:
            roll_back(state, self._config)
        if "critic" in told["names"]:
            renew_critic(state, self._config, self._dataset)
        return bool(told["names"])


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
