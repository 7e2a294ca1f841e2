"""What a step leaves to chance, and where it is drawn.

On a CPU it comes from torch's global random state, which a checkpoint holds. On a GPU it is drawn there, by a generator
that is a counter (Philox, Salmon et al. 2011): its key is a function of the run's seed and of the images seen, so that
a resumed run draws what an undisturbed one does, and the checkpoint need not hold a GPU's state."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_on(device: torch.device, seed: int, images_seen: int) -> Iterator[None]:
    """Within the block torch draws a step's chance on the device; networks that draw go on from there until the next
    step."""
    if device.type == "cpu":
        yield
        return
    if device.type == "cuda":
        torch.cuda.manual_seed(key(seed, images_seen))
    with device:
        yield


def key(seed: int, images_seen: int) -> int:
    """Of a step's counter, 0 <= key < 2^63: of two steps, or of two seeds, it is another."""
    (word,) = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)
    return int(word) >> 1
