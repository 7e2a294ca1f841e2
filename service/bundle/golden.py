"""Golden samples: latents and labels with the samples (and scores) they must give, and how far off is still right."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle.inputs import Inputs
from latentserve.service.errors import BundleError, one_line

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

TOLERANCE_FACTOR = 4  # over the largest difference measured, for machines not tried

_OF_RANGE, _OF_SIZE = 1e-3, 5e-5
_NOTHING = np.float64(0)


@dataclass(frozen=True)
class Golden:
    """P golden probes.

    One tolerance holds wherever they are replayed: a provider's name, precision and batch size do not say which kernels
    run, for another generation of processor, or another number of threads, has others.

    Attributes:
        z: float32 [P, dim].
        label: int64 [P], or None for an unconditional generator.
        sample: float32 [P, *sample.shape], what the exported generator was measured against.
        score: float32 [P] the critic's of `sample`, or None.
        measured: largest absolute difference seen at export, over batch sizes, between `sample` and the engine.
        tolerance: largest absolute difference that still counts as a match.
        score_tolerance: the same for `score`, as far as export has measured it: see `critic_tolerances`.
        features: float32 [P, ...] the critic's of `sample`, or None; older bundles have none.
        feature_tolerance: as `score_tolerance`.
        condition: float32 [P, k], or None for a generator without conditions.
    """

    z: Floats
    label: Labels | None
    sample: Floats
    score: Floats | None
    measured: float
    tolerance: float
    score_tolerance: float = 0.0
    features: Floats | None = None
    feature_tolerance: float = 0.0
    condition: Floats | None = None

    @property
    def inputs(self) -> Inputs:
        """What the samples are made from."""
        return Inputs(self.z, self.label, self.condition)

    @property
    def critic_tolerances(self) -> tuple[float, float]:
        """How far the critic's score and features may be off.

        Older bundles measured scores in one batch on one device, or not at all, and a critic is far deeper than its
        scores are wide. So a thousandth of the range of what was recorded is always tolerated: it moves no signal by
        a bin, and no other kernel's rounding is so large. Where all are the same, 5e-5 of them.
        """
        stated = ((self.score, self.score_tolerance), (self.features, self.feature_tolerance))
        score, features = (max(tolerance, 0.0 if of is None else _tolerated(of)) for of, tolerance in stated)
        return score, features

    def to_bytes(self) -> bytes:
        """The content of `golden.npz`."""
        arrays: dict[str, NDArray[np.generic]] = {
            "z": self.z,
            "sample": self.sample,
            "measured": np.float64(self.measured),  # type: ignore[dict-item]
            "tolerance": np.float64(self.tolerance),  # type: ignore[dict-item]
            "score_tolerance": np.float64(self.score_tolerance),  # type: ignore[dict-item]
            "feature_tolerance": np.float64(self.feature_tolerance),  # type: ignore[dict-item]
        }
        for name in ("label", "condition", "score", "features"):
            if (array := getattr(self, name)) is not None:
                arrays[name] = array
        return pack_arrays(arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Read `golden.npz`. Raises BundleError where it holds something else."""
        arrays = unpack_arrays(content, "golden.npz")
        try:
            golden = cls(
                z=_expect(arrays["z"], np.float32, 2),
                label=_expect(arrays["label"], np.int64, 1) if "label" in arrays else None,
                sample=_expect(arrays["sample"], np.float32, None),
                score=_expect(arrays["score"], np.float32, 1) if "score" in arrays else None,
                measured=_distance(arrays["measured"]),
                tolerance=_distance(arrays["tolerance"]),
                score_tolerance=_distance(arrays.get("score_tolerance", _NOTHING)),
                features=_expect(arrays["features"], np.float32, None) if "features" in arrays else None,
                feature_tolerance=_distance(arrays.get("feature_tolerance", _NOTHING)),
                condition=_expect(arrays["condition"], np.float32, 2) if "condition" in arrays else None,
            )
            for name, array in (("score", golden.score), ("features", golden.features)):
                if array is not None and (not array.ndim or len(array) != len(golden.z)):
                    raise ValueError(f"{name} has shape {array.shape}; one of each of {len(golden.z)} probes is needed")
            return golden
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"golden.npz: {error}") from None


def _tolerated(recorded: Floats) -> float:
    """Of scores, or features, whatever was measured; NaN and infinity are no range."""
    finite = recorded[np.isfinite(recorded)]
    return max(_OF_RANGE * float(np.ptp(finite)), _OF_SIZE * float(np.abs(finite).max())) if finite.size else 0.0


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
