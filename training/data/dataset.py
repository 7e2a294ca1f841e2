"""What every data set looks like to the rest of the code."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Description:
    """What a run must remember of its data set to be resumed and exported without it.

    Attributes:
        name: what the data set is called.
        sha256: hex digest of its content.
        shape: [C, H, W] of one image.
        label_names: one name a class.
        label_counts: images of each class.
    """

    name: str
    sha256: str
    shape: list[int]
    label_names: list[str]
    label_counts: list[int]


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes:
        name: what it is called.
        images: float32 [N, C, H, W] in [-1, 1].
        labels: int64 [N], each an index into `label_names`.
        label_names: one name a class.
    """

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    label_names: list[str]

    @cached_property
    def description(self) -> Description:
        """Its description; the digest covers shape, images and labels, as little-endian bytes in C order."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images, dtype="<f4").data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return Description(
            self.name, digest.hexdigest(), list(self.images.shape[1:]), self.label_names, counts.tolist()
        )
