"""Several seeds of one recipe trained in one process: a tiny network's step costs little more for ten than for one.

Their weights lie stacked, and each operation is done for all at once. Apart from rounding every seed goes the way that
`loop.train` takes it: the same initial weights, rows, latents and steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.errors import ConfigError, DivergedError
from latentserve.training.game import optimizers
from latentserve.training.game.optimizers import Ema
from latentserve.training.game.step import Cost, Game, Part, update
from latentserve.training.recipe.config import Config
from latentserve.training.run.loop import batch_rows, construct

# Of these each would need its own arithmetic over the stack: a norm, a mean or a share that is one seed's alone.
_ALONE = {"accumulate": 1, "augment": (), "clip": None, "compile": False, "n_critic": 1, "packing": 1}


class Stacked(nn.Module):
    """Networks of one kind as one: takes their batches on end, [S B, ...], and gives what each makes of its own."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(networks))
        self._of_one = [networks[0]]  # in a list: its weights are not this module's
        self._names = list(parameters)
        self._weights = nn.ParameterList(parameters.values())
        self._buffers_by_name = buffers
        self.count = len(networks)

    def forward(self, rows: Tensor, label: Tensor | None = None) -> Any:
        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], rows: Tensor) -> Any:
            return functional_call(self._of_one[0], (parameters, buffers), (rows,))

        stacked = dict(zip(self._names, self._weights, strict=True))
        made = vmap(one)(stacked, self._buffers_by_name, rows.reshape(self.count, -1, *rows.shape[1:]))
        return tuple(each.flatten(0, 1) for each in made) if isinstance(made, tuple) else made.flatten(0, 1)

    def unstack(self, into: Sequence[nn.Module]) -> None:
        """Give each network its weights back."""
        with torch.no_grad():
            for at, network in enumerate(into):
                own = dict(network.named_parameters())
                for name, weights in zip(self._names, self._weights, strict=True):
                    own[name].copy_(weights[at])


def train(
    config: Config,
    dataset: Dataset,
    seeds: Sequence[int],
    watch: Callable[[int], None] = lambda images_seen: None,
) -> list[nn.Module]:
    """Train once for each of the seeds, on the CPU, and return the averaged generators.

    Args:
        config: The run; its own seed is not used.
        dataset: What to learn, without labels.
        seeds: Different ones.
        watch: Told the images that each seed has seen, once a tick.

    Raises:
        ConfigError: The configuration has what cannot be done for several seeds at once.
        DivergedError: A loss or a gradient was not finite.
    """
    for field, alone in _ALONE.items():
        if getattr(config, field) != alone:
            raise ConfigError(f"`{field}`: seeds that train side by side need {alone}")
    if dataset.label_names:
        raise ConfigError(f"`data`: {dataset.name} has labels; seeds that train side by side need data without")
    torch.set_num_threads(config.threads)
    device = torch.device("cpu")

    # Construct each seed's networks as it would by itself, and remember where its chance stands.
    states, chances = [], []
    for seed in seeds:
        torch.manual_seed(seed)
        states.append(construct(config, dataset.description, device))
        chances.append(torch.get_rng_state())
    averages = [state.ema for state in states]
    average = Stacked(averages).requires_grad_(False)
    generator = Stacked([state.generator for state in states])
    critic = Stacked([state.critic for state in states])
    ema = Ema(average, generator)
    generator_optimizer = optimizers.build(config.generator_optimisation, generator.parameters())
    critic_optimizer = optimizers.build(config.critic_optimisation, critic.parameters())
    game = Game(config, generator, critic, device)
    labels = torch.zeros(config.batch, dtype=torch.int64)
    encode, _ = networks.coding(dataset.description)

    for images_seen in range(0, config.images, config.batch):
        optimizers.set_schedules(generator_optimizer, config.generator_optimisation, images_seen, config.images)
        optimizers.set_schedules(critic_optimizer, config.critic_optimisation, images_seen, config.images)

        # Draw what each seed would.
        strongest = config.noise.at(images_seen, config.images)
        parts = []
        for at, seed in enumerate(seeds):
            torch.set_rng_state(chances[at])
            rows = batch_rows(len(dataset), config.batch, seed, images_seen)
            parts += game.parts(encode(torch.from_numpy(dataset.take(rows.numpy()))), labels, 0.0, strongest)
            chances[at] = torch.get_rng_state()
        part = together(parts)

        # Costs are means over all seeds' rows: as many times over they are a sum over seeds of each one's own.
        gamma = config.gamma.at(images_seen, config.images)
        finite = update(critic_optimizer, [times(len(seeds), game.critic_cost(part, gamma, keep=True))], 1, None).finite
        critic.requires_grad_(False)
        finite &= update(generator_optimizer, [times(len(seeds), game.generator_cost(part))], 1, None).finite
        critic.requires_grad_(True)
        if not finite:
            raise DivergedError(f"seeds {list(seeds)}: diverged before {images_seen:,} images")
        ema.update(config.ema_half_life.at(images_seen, config.images), config.batch)
        if (images_seen + config.batch) // config.tick > images_seen // config.tick:
            average.unstack(averages)
            watch(images_seen + config.batch)
    average.unstack(averages)
    return averages


def times(seeds: int, cost: Cost) -> Cost:
    return Cost(seeds * cost.total, cost.statistics)


def together(parts: Sequence[Part]) -> Part:
    """The seeds' parts on end."""
    noises = [part.noise for part in parts if part.noise is not None]
    return Part(
        real=torch.cat([part.real for part in parts]),
        label=torch.cat([part.label for part in parts]),
        z=torch.cat([part.z for part in parts]),
        noise=(torch.cat([real for real, _ in noises]), torch.cat([fake for _, fake in noises])) if noises else None,
    )
