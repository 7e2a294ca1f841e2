"""Gradients layer by layer, as the last step of a tick left them."""

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm


def layer_norms(player: str, network: nn.Module) -> dict[str, float]:
    """Euclidean norm of the gradient of each module that has parameters of its own, as it was applied.

    The names are `<player>_gradient_norm/<module>`. Modules without a gradient are left out.
    """
    layers: dict[str, list[Tensor]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            layers[name.rpartition(".")[0]].append(vector_norm(parameter.grad))
    return {
        f"{player}_gradient_norm/{layer}": vector_norm(torch.stack(norms)).item() for layer, norms in layers.items()
    }
