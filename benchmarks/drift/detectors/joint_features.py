"""A generator's features together: the run length of our joint evidence, and its delay beside online MMD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift.detectors import ours
from benchmarks.drift.detectors.generator_features import DRIFTS, Features
from benchmarks.drift.detectors.records import REFERENCE_ROWS, Plan, Record, answer, compared, kept
from benchmarks.drift.detectors.run_lengths import NEVER, Integers, delays, mean_run_length
from benchmarks.environments import environment
from latentserve.service.watching.feature_space import FeatureSpace
from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.joint_head import JointHead

UNSEEN = "labels unseen"


def beside_mmd(plan: Plan, bundle: Path, scratch: Path) -> Iterator[Record]:
    """Features of a generator with ten labels, its critic's. Raises AbsentError."""
    features = Features(bundle, 2 * REFERENCE_ROWS + 100_000)
    heads = {name: _head(features, labelled=labelled) for name, labelled in ((UNSEEN, False), ("by label", True))}
    rng = np.random.default_rng(8)

    def first(name: str, streams: tuple[NDArray[np.float32], Integers], run_length: float, block: int = 1) -> Integers:
        values, labels = streams
        shape = labels.shape
        head, joint = heads[name]
        cells = labels.ravel() if len(joint.norms) > 1 else np.zeros(labels.size, np.int64)
        vectors = joint.vectors(head.components(values.reshape(-1, values.shape[2]), cells), cells, rng)
        vectors = vectors.astype(np.float32).reshape(shape[0], -1, block, joint.width).sum(axis=2)
        return ours.first_joint_alarms(joint, vectors, [run_length], block)[0]

    never = np.full(plan.beside, NEVER)
    for run_length, rows, block in ((1e3, 3000, 1), (1e4, 15_000, 10)):
        null = features.streams((plan.beside, rows), never, "", seed=9)
        for name in heads:
            alarms = first(name, null, run_length, block)
            yield kept(f"features, {name}", 32, REFERENCE_ROWS, run_length, rows, block, alarms)
    change = rng.integers(100, 200, plan.beside)
    drifted = {drift: features.streams((plan.beside, 1200), change, drift, seed=10) for drift in DRIFTS}
    # MMD has the same white components, of which it makes more than of the features they are from.
    head = heads[UNSEEN][0]

    def components(values: NDArray[np.float32]) -> NDArray[np.float32]:
        flat = values.reshape(-1, values.shape[-1])
        own = head.components(flat, np.zeros(len(flat), np.int64))
        return own.astype(np.float32).reshape(*values.shape[:-1], -1)

    given = {
        "reference": components(features.reference(plan.mmd_rows)[0]),
        "windows": np.array(plan.windows),
        "bootstraps": np.array(plan.bootstraps),
        "null": components(features.streams((plan.beside, 2000), never, "", seed=11)[0]),
        **{drift: components(values) for drift, (values, _) in drifted.items()},
    }
    found = answer(environment("alibi"), "alibi_mmd", given, scratch)
    for drift, streams in drifted.items():
        for name in heads:
            mine = delays(first(name, streams, 1e3), change)
            for window in plan.windows:
                yield {
                    "part": "alibi-detect",
                    "window": window,
                    "features": name,
                    "drift": drift,
                    "promised": 1e3,
                    "streams": plan.beside,
                    "peer_realised": asdict(mean_run_length(found[f"{window} null"], 2000)),
                    **compared(mine, delays(found[f"{window} {drift}"], change)),
                }


def _head(features: Features, *, labelled: bool) -> tuple[FeatureHead, JointHead]:
    values, labels = features.reference(REFERENCE_ROWS)
    cells, count = (labels, 10) if labelled else (np.zeros_like(labels), 1)
    head = FeatureHead.of(FeatureSpace("critic", 0), values, cells, count, count)
    return head, JointHead.of(head.components(values, cells), cells, count)
