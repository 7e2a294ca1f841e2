"""What a recipe can name: data sets, networks and losses. To add one, write it, and enter it here.

Nothing is imported before it is used, so that a wrong recipe is refused before torch is there.
"""

import math
from importlib import import_module
from typing import Any, NamedTuple

from latentserve.service.errors import one_line
from latentserve.training.errors import ConfigError


class DatasetChoice(NamedTuple):
    """A data set.

    Attributes:
        loader: `module:function` that loads it: of (path, split), or of (split) where it needs no path; that of
            `files` of size and label, too.
        path: what its path must be; None: it needs none.
        origin: where it comes from instead.
    """

    loader: str
    path: str | None = None
    origin: str = "is drawn by code"


class LossChoice(NamedTuple):
    """A game of the two networks.

    Attributes:
        loss: `module:name` of its `Loss`.
        equilibrium: the critic's loss where fakes cannot be told from reals; None: it is in the critic's own unit.
        needs: the field that keeps the critic Lipschitz, instead of R1 + R2; None: it needs none.
        because: why it needs that.
    """

    loss: str
    equilibrium: float | None = None
    needs: str | None = None
    because: str = ""


_DATA, _NETWORKS, _LOSSES = (f"latentserve.training.{room}" for room in ("data", "networks", "game.losses"))

DATASETS = {
    "digits": DatasetChoice(f"{_DATA}.digits:load", origin="ships with scikit-learn"),
    "ring": DatasetChoice(f"{_DATA}.synthetic:ring"),
    "grid": DatasetChoice(f"{_DATA}.synthetic:grid"),
    "waves": DatasetChoice(f"{_DATA}.synthetic:waves"),
    "blobs": DatasetChoice(f"{_DATA}.synthetic:blobs"),
    "mnist": DatasetChoice(f"{_DATA}.digits:mnist", "folder of IDX files"),
    "stacked-mnist": DatasetChoice(f"{_DATA}.digits:stacked_mnist", "folder of IDX files"),
    "files": DatasetChoice(f"{_DATA}:files", "file or a folder"),
}

# `module:name` of each, a `Family` of a generator and a critic; a recipe may name one of somebody's own in that way.
NETWORKS = {
    "residual": f"{_NETWORKS}.residual:FAMILY",
    "r3gan": f"{_NETWORKS}.r3gan:FAMILY",
    "convolutional": f"{_NETWORKS}.convolutional:FAMILY",
    "dense": f"{_NETWORKS}.dense:FAMILY",
    "mixture": f"{_NETWORKS}.mixture:FAMILY",
    "tabular": f"{_NETWORKS}.tabular:FAMILY",
    "waveform": f"{_NETWORKS}.waveform:FAMILY",
}

_CLIPPED = "nothing else keeps its critic Lipschitz (0.01 in the paper)"
_PENALISED = "it is the weight of its gradient penalty (10 in the paper)"

LOSSES = {
    "minimax": LossChoice(f"{_LOSSES}:minimax", 2 * math.log(2)),
    "non-saturating": LossChoice(f"{_LOSSES}:non_saturating", 2 * math.log(2)),
    "wasserstein": LossChoice(f"{_LOSSES}:wasserstein", needs="clip_weights", because=_CLIPPED),
    "wasserstein-gp": LossChoice(f"{_LOSSES}:wasserstein", needs="gradient_penalty", because=_PENALISED),
    "least-squares": LossChoice(f"{_LOSSES}:least_squares", 0.25),
    "hinge": LossChoice(f"{_LOSSES}:hinge", 2.0),
    "relativistic": LossChoice(f"{_LOSSES}:relativistic", math.log(2)),
}


def resolve(where: str, field: str) -> Any:
    """What `module:name` names, imported as any module is: from what is installed, or on PYTHONPATH.

    Raises ConfigError naming the recipe's field.
    """
    path, _, name = where.partition(":")
    try:
        module = import_module(path)
    except Exception as error:  # the module may be anybody's
        raise ConfigError(f"`{field}`: {where}: cannot be imported: {one_line(error)}") from None
    if not hasattr(module, name):
        raise ConfigError(f"`{field}`: {where}: the module has no `{name}`")
    return getattr(module, name)
