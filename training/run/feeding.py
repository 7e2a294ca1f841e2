"""Reals on their way to the device: read ahead of the loop where they are not at hand, as they are stored, and brought
to the networks' scale there. Pixels travel as bytes, a quarter of what they become."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from latentserve.training.data import Dataset
from latentserve.training.data.dataset import IN_MEMORY

AHEAD = 3  # batches that are read before they are asked for
THREADS = 2  # that read them

# Types that torch brings to float32 as numpy does; others are brought to it before they travel.
_TRAVEL = ("uint8", "int16", "int32", "float32")


class Batch(NamedTuple):
    """This rank's share of a batch, on the device.

    Attributes:
        real: float32 [n, *shape], as networks see them.
        label: int64 [n].
        condition: float32 [n, k]; None: the data have none.
    """

    real: Tensor
    label: Tensor
    condition: Tensor | None

    def each(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """What a function makes of each of them."""
        return Batch(
            function(self.real), function(self.label), None if self.condition is None else function(self.condition)
        )


class Feed:
    """The batches of a run. Which rows a batch has is a function of the seed and of the images seen, so that whatever
    was read ahead is what will be asked for, unless a supervisor changes the seed."""

    def __init__(
        self,
        dataset: Dataset,
        encode: nn.Module,
        rows: Callable[[int, int], Tensor],
        batch: int,
        device: torch.device,
    ) -> None:
        """
        Args:
            dataset: What is learnt.
            encode: From samples float32 [n, *shape] to what networks see.
            rows: Of a seed and the images seen, int64 [n].
            batch: Images from one batch to the next.
            device: Where networks are.
        """
        self._dataset, self._encode, self._rows, self._batch = dataset, encode, rows, batch
        self._device = device
        stored = dataset.samples.dtype
        self._travels = stored.name in _TRAVEL and stored.isnative
        scale = dataset.stored_range if self._travels else None
        # Tensors, for a number would be divided by in another way on a GPU.
        self._scale = None if scale is None else self._as_scale(*scale)
        # What lies in memory is there before a thread could be asked; a large file may have to come from a disk.
        far = device.type == "cuda" or (isinstance(dataset.samples, np.memmap) and dataset.samples.nbytes > IN_MEMORY)
        self._threads = ThreadPoolExecutor(THREADS, "reading") if far else None
        self._ahead: dict[tuple[int, int], Future[Batch]] = {}

    def __call__(self, seed: int, images_seen: int) -> Batch:
        """The batch after so many images."""
        if self._threads is None:
            return self._arrived(self._read(seed, images_seen))
        wanted = [(seed, images_seen + at * self._batch) for at in range(AHEAD + 1)]
        # What nobody will ask for any more is let go.
        self._ahead = {key: self._ahead.get(key) or self._threads.submit(self._read, *key) for key in wanted}
        return self._arrived(self._ahead.pop(wanted[0]).result())

    def _read(self, seed: int, images_seen: int) -> Batch:
        """As it is stored, in memory that a GPU can fetch it from by itself."""
        rows = self._rows(seed, images_seen).numpy()
        dataset = self._dataset
        taken = dataset.samples[rows] if self._travels else dataset.take(rows)
        conditions = dataset.conditions_of(rows)
        read = Batch(
            torch.from_numpy(np.require(taken, None, "W")),
            torch.from_numpy(dataset.labels[rows]),
            None if conditions is None else torch.from_numpy(conditions),
        )
        return read.each(Tensor.pin_memory) if self._device.type == "cuda" else read

    def _arrived(self, read: Batch) -> Batch:
        """On the device, on its way to which nobody waits, and scaled as `Dataset.take` does it."""
        there = read.each(lambda tensor: tensor.to(self._device, non_blocking=True))
        real = there.real.to(torch.float32)
        if self._scale is not None:
            low, half = self._scale
            real = (real - low).div_(half).sub_(1)
        return there._replace(real=self._encode(real))

    def _as_scale(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        return (
            torch.tensor(low, dtype=torch.float32, device=self._device),
            torch.tensor((high - low) / 2, dtype=torch.float32, device=self._device),
        )
