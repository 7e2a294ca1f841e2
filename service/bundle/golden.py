"""Golden samples: latents and labels with the samples (and scores) they must give, and how far off is still right."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import BundleError, one_line

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

TOLERANCE_FACTOR = 4  # over the largest difference measured, for machines not tried


class Measured(NamedTuple):
    """The largest absolute difference from the golden samples that one combination showed at export."""

    provider: str  # ONNX Runtime's name
    precision: str  # fp32, fp16 or int8
    batch: int
    difference: float


@dataclass(frozen=True)
class Golden:
    """P golden probes.

    One tolerance holds wherever they are replayed. The rows of `table` would be no better: a provider's name, precision
    and batch size do not say which kernels run, for another generation of processor, or another number of threads, has
    others; and at a batch size below P, `table` knows the first probes alone. Of an int8 generator's probes most can be
    exact and one be off by 0.02, where a value lies between two levels.

    Attributes:
        z: float32 [P, dim].
        label: int64 [P], or None for an unconditional generator.
        sample: float32 [P, *sample.shape], what the exported generator was measured against.
        score: float32 [P] the critic's, or None.
        measured: largest absolute difference seen at export, over batch sizes, between `sample` and the engine.
        tolerance: largest absolute difference that still counts as a match.
        score_tolerance: the same for `score`.
        floor: a difference that is always tolerated: float32 kernels of other processors differ by as much.
        table: what was measured at export, by provider, precision and batch size.
    """

    z: Floats
    label: Labels | None
    sample: Floats
    score: Floats | None
    measured: float
    tolerance: float
    score_tolerance: float = 0.0
    floor: float = 0.0
    table: tuple[Measured, ...] = ()

    def to_bytes(self) -> bytes:
        """The content of `golden.npz`."""
        arrays: dict[str, NDArray[np.generic]] = {
            "z": self.z,
            "sample": self.sample,
            "measured": np.float64(self.measured),  # type: ignore[dict-item]
            "tolerance": np.float64(self.tolerance),  # type: ignore[dict-item]
            "score_tolerance": np.float64(self.score_tolerance),  # type: ignore[dict-item]
            "floor": np.float64(self.floor),  # type: ignore[dict-item]
        }
        if self.table:
            for field, column in zip(Measured._fields, zip(*self.table, strict=True), strict=True):
                arrays[f"table.{field}"] = np.array(column)
        if self.label is not None:
            arrays["label"] = self.label
        if self.score is not None:
            arrays["score"] = self.score
        return pack_arrays(arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Read `golden.npz`. Raises BundleError where it holds something else."""
        arrays = unpack_arrays(content, "golden.npz")
        try:
            return cls(
                z=_expect(arrays["z"], np.float32, 2),
                label=_expect(arrays["label"], np.int64, 1) if "label" in arrays else None,
                sample=_expect(arrays["sample"], np.float32, None),
                score=_expect(arrays["score"], np.float32, 1) if "score" in arrays else None,
                measured=_distance(arrays["measured"]),
                tolerance=_distance(arrays["tolerance"]),
                score_tolerance=_distance(arrays["score_tolerance"]),
                floor=_distance(arrays["floor"]) if "floor" in arrays else 0.0,
                table=_table(arrays),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"golden.npz: {error}") from None


def _table(arrays: dict[str, NDArray[Any]]) -> tuple[Measured, ...]:
    columns = [arrays[name].tolist() for field in Measured._fields if (name := f"table.{field}") in arrays]
    if not columns:
        return ()
    rows = [Measured(*row) for row in zip(*columns, strict=True)]
    return tuple(row._replace(difference=_distance(np.float64(row.difference))) for row in rows)


def pack_arrays(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """An `.npz` whose bytes depend on the arrays alone: numpy's own writer puts the time of day into it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
    return buffer.getvalue()


def unpack_arrays(content: bytes, file: str) -> dict[str, NDArray[np.generic]]:
    """The arrays of an `.npz`, never unpickled. Raises BundleError naming `file`."""
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive fails in zipfile, zlib and numpy, each in ways of its own
        raise BundleError(f"{file}: not a readable npz file ({one_line(error)})") from None


def _distance(array: NDArray[Any] | np.float64) -> float:
    value = float(array)
    if not 0 <= value < math.inf:
        raise ValueError(f"a tolerance of {value}")
    return value


def _expect(array: NDArray[Any], dtype: type[np.generic], rank: int | None) -> NDArray[Any]:
    if array.dtype != dtype or (rank is not None and array.ndim != rank):
        raise ValueError(f"an array of dtype {array.dtype} and rank {array.ndim} stands where {dtype.__name__} should")
    return array
