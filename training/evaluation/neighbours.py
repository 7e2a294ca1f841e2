"""Precision, recall, density and coverage: samples within reach of their k nearest neighbours of the other kind.

Precision and recall: Kynkaanniemi et al. 2019, Improved Precision and Recall Metric, equations 1 and 2. Density and
coverage: Naeem et al. 2020, Reliable Fidelity and Diversity Metrics, equations 3 and 4, with their k of 5. A sample's
reach is the distance to its k-th nearest other sample of its own kind.

Holes are our own: reals without a generated sample where there are k = 50 real ones, or a twentieth of all. Chance
leaves none, exp(-50) of them; what is left out is a group of its own, which coverage cannot tell from bad luck.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentserve.training.evaluation.resampling import Floats, Measured, Resampling

K = 5
WIDE = 50  # neighbours; of few reals a twentieth
_AT_ONCE = 100  # rows: their distances to 10,000 others stay near the processor
_GROUP = 16  # columns


class Within(NamedTuple):
    """Who is within whose reach, by blocks of the others, in which these are resampled.

    Attributes:
        reals: int32 [M, G], of each fake: reals of each block that it is within reach of.
        recalled: bool [H, N], of each real: whether it is within reach of a fake of each block.
        covered: bool [H, N], of each real: whether a fake of each block is within its reach.
        near: bool [H, N], the same of its wide reach.
    """

    reals: NDArray[np.int32]
    recalled: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    near: NDArray[np.bool_]

    def measured(self, of_real: Resampling, of_fake: Resampling, k: int = K) -> dict[str, Measured]:
        """All of them, resampled over reals and fakes; reaches stay as they are."""
        by_reals = self.reals.T
        near = _share(self.near, of_fake, of_real)
        return {
            "precision": _share(by_reals > 0, of_real, of_fake),
            "recall": _share(self.recalled, of_fake, of_real),
            "density": _mean(by_reals / k, of_real, of_fake),
            "coverage": _share(self.covered, of_fake, of_real),
            "holes": Measured(1 - near.value, None if near.drawn is None else 1 - near.drawn),
        }


def reaches(features: Floats, k: int = K) -> Floats:
    """Squared distance float64 [N] of each of features [N, d] to its k-th nearest other row, of at least two."""
    return _reaches(features, [k])[0]


def both_reaches(features: Floats) -> tuple[Floats, Floats]:
    """Of reals: the reach, and the wide one."""
    reach, wide = _reaches(features, [K, max(K, min(WIDE, len(features) // 20))])
    return reach, wide


def _reaches(features: Floats, ks: Sequence[int]) -> list[Floats]:
    columns = torch.from_numpy(features)
    found = []
    for part in torch.split(columns, _AT_ONCE):
        # The nearest of all is the row itself.
        nearest = _smallest(squared_distances(part, columns), min(max(ks) + 1, len(features)))
        found.append(nearest[:, [min(k, len(features) - 1) for k in ks]])
    return list(torch.cat(found).T.contiguous().numpy())


def _smallest(values: Tensor, count: int) -> Tensor:
    """The so many smallest of each row [n, m], in order: [n, count]. They are in the groups of columns whose own
    smallest are the smallest, and among these little is left to be sorted."""
    groups = values.shape[1] // _GROUP
    if groups > count:
        grouped = values[:, : groups * _GROUP].view(len(values), _GROUP, groups)
        least = grouped.amin(dim=1).topk(count, largest=False).indices
        kept = grouped.gather(2, least[:, None].expand(-1, _GROUP, -1)).flatten(1)
        values = torch.cat([kept, values[:, groups * _GROUP :]], dim=1)
    return values.topk(count, largest=False).values


def within_reach(
    real: Floats,
    fake: Floats,
    real_reaches: tuple[Floats, Floats],
    fake_reaches: Floats,
    of_real: Resampling,
    of_fake: Resampling,
) -> Within:
    """Of features [N, d] and [M, d] with squared reaches [N], of reals both, and [M], and the blocks that either is
    resampled in."""
    reals, of_reals, wide = (torch.from_numpy(each) for each in (real, *real_reaches))
    counts, recalled, covered, near = [], [], [], []
    ends = [*of_fake.starts[1:].tolist(), len(fake)]
    for start, end in zip(of_fake.starts.tolist(), ends, strict=True):
        distances = squared_distances(torch.from_numpy(fake[start:end]), reals)
        inside = distances < of_reals
        counts.append(np.add.reduceat(inside.numpy(), of_real.starts, axis=1, dtype=np.int32))
        covered.append(inside.any(dim=0).numpy())
        near.append((distances.amin(dim=0) <= wide).numpy())
        recalled.append((distances < torch.from_numpy(fake_reaches[start:end, None])).any(dim=0).numpy())
    return Within(np.concatenate(counts), np.stack(recalled), np.stack(covered), np.stack(near))


def _share(by_block: NDArray[np.bool_], blocks: Resampling, rows: Resampling) -> Measured:
    """Share of rows [M] for which it is so with any block, of truths [G, M]; in a draw, with any block drawn."""
    value = float(by_block.any(axis=0).mean())
    hits = (blocks.weights > 0).astype(np.float32) @ by_block.astype(np.float32) > 0
    per_row = rows.per_row
    return Measured(value, (hits * per_row).sum(axis=1) / per_row.sum(axis=1))


def _mean(by_block: Floats, blocks: Resampling, rows: Resampling) -> Measured:
    """Mean over rows of sums over blocks, of values [G, M]; in a draw, of blocks as often as they are drawn."""
    means = (blocks.weights @ rows.block_sums(by_block.T).T * rows.weights).sum(axis=1) / (rows.weights @ rows.sizes)
    return Measured(float(by_block.sum(axis=0).mean()), means)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """[n, d] and [m, d] to [n, m]."""
    distances = torch.addmm((second**2).sum(dim=1)[None, :], first, second.T, alpha=-2)
    return distances.add_((first**2).sum(dim=1)[:, None]).clamp_(min=0)
