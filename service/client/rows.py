"""Rows as a client has them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec, typed
from latentserve.service.errors import LatentserveError

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    from PIL.Image import Image


@dataclass(frozen=True)
class Samples:
    """Samples of a server, and what is known of each.

    Attributes:
        array: float32 [n, *shape], as the generator gives them.
        numbers: int64 [n]: which row of its seed each is.
        seed: that they are of; None: latents were sent.
        labels: names, or None of a model that has none.
        conditions: float32 [n, k], or None.
        next_offset: where to go on with a search; None: there was none.
        model, version: that made them.
        spec: what one of them is.
    """

    array: NDArray[np.float32]
    numbers: NDArray[np.int64]
    seed: int | None
    labels: list[str] | None
    conditions: NDArray[np.float32] | None
    next_offset: int | None
    model: str
    version: str
    spec: SampleSpec

    def __len__(self) -> int:
        return len(self.array)

    def images(self) -> list[Image]:
        """Each as a picture of Pillow's, with the pixels that the server's PNG files have. Raises LatentserveError: the
        model makes none."""
        from PIL import Image

        from latentserve.service.encoding.images import pixels

        if self.spec.kind != "image":
            raise LatentserveError(f"{self.model}: its samples are of kind {self.spec.kind}, and no images")
        values = np.moveaxis(pixels(self.array, self.spec), 1, -1)
        return [Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one) for one in values]

    def frame(self) -> pandas.DataFrame:
        """A table as a data frame of pandas's, each column of its own type, the index each row's number.

        Raises LatentserveError: the model makes none. ImportError: without pandas.
        """
        import pandas

        if self.spec.columns is None:
            raise LatentserveError(f"{self.model}: its samples are of kind {self.spec.kind}, and no table")
        columns = {one.name: typed(self.array[:, place], one) for place, one in enumerate(self.spec.columns)}
        return pandas.DataFrame(columns, index=pandas.Index(self.numbers, name="row"))


def read_samples(content: bytes, headers: Mapping[str, str], about: Mapping[str, Any]) -> Samples:
    """An `.npz` answer and its headers; `about` is what `GET /v1/models` says of the model."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    seed, onward = headers.get("latentserve-seed"), headers.get("latentserve-next-offset")
    labels = found.get("labels")
    return Samples(
        array=found["samples"],
        numbers=found["rows"],
        seed=None if seed is None else int(seed),
        labels=None if labels is None else [about["labels"][label] for label in labels.tolist()],
        conditions=found.get("conditions"),
        next_offset=None if onward is None else int(onward),
        model=headers["latentserve-model"],
        version=headers["latentserve-version"],
        spec=SampleSpec.model_validate(about["sample"]),
    )
