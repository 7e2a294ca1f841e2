"""A batch that does not fit a GPU's memory goes through the networks in more parts."""

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from latentserve.training.distributed import Ranks
from latentserve.training.errors import RunError
from latentserve.training.game.step import Part

T = TypeVar("T")


class Splitting:
    """Into how many parts a rank's share of a batch is cut: as many as the recipe's `accumulate` says, and twice as
    many each time that memory is not enough. It never becomes fewer, for the memory would not be enough again."""

    def __init__(self, parts: int, packing: int, ranks: Ranks) -> None:
        self.parts, self._packing, self._ranks = parts, packing, ranks

    def cut(self, parts: list[Part]) -> list[Part]:
        """Parts as the recipe has them, cut as far as was necessary before."""
        while len(parts) < self.parts:
            parts = [half for part in parts for half in part.halves()]
        return parts

    def until_it_fits(self, parts: list[Part], step: Callable[[list[Part]], T]) -> tuple[list[Part], T]:
        """Do a player's step, or whatever else the networks make of a batch, with as many parts as it takes; which
        these were.

        What was drawn for the step stays what it was: parts are halved, not drawn anew. Where a rank's memory is not
        enough, all ranks do the step again. Raises RunError where a part cannot be halved.
        """
        while True:
            try:
                return parts, step(parts)
            except torch.OutOfMemoryError:
                pass  # not here, where the error still holds what filled the memory
            parts = self._halved(parts)

    def _halved(self, parts: list[Part]) -> list[Part]:
        whole = len(parts[0].real)
        rows, left = divmod(whole, 2)
        if left or rows % self._packing:
            raise RunError(
                f"out of memory: {whole} of a batch do not fit the GPU, and cannot be halved; a smaller `width`, or "
                "precision=bf16, takes less"
            )
        self.parts *= 2
        for part in parts:
            part.fake = None  # whose graph would go on holding memory
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self._ranks.leads:
            print(
                f"out of memory: the batch goes through the networks in {self.parts} parts from now on, of {rows} each "
                f"(as accumulate={self.parts} would have it)",
                file=sys.stderr,
                flush=True,
            )
        return [half for part in parts for half in part.halves()]
