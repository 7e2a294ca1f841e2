"""The detectors: everything the workers counted of one model goes in, suspicions come out."""

from __future__ import annotations

import json
import math

import numpy as np

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.request import ARMS
from latentserve.service.watching.alarm import Alarm
from latentserve.service.watching.conditions import CONDITION_BINS, ConditionEvidence, condition_bins
from latentserve.service.watching.evidence import Evidence, run_length
from latentserve.service.watching.inputs import INPUTS
from latentserve.service.watching.ledger import Counts, Layout
from latentserve.service.watching.mix import MixEvidence
from latentserve.service.watching.multivariate import MultivariateEvidence
from latentserve.service.watching.reference import BINS, Reference
from latentserve.service.watching.verdict import Suspicion

GENERATED, JOINT, ASKED, LATENTS, LABELS = "generated", "joint", "asked", "latents", "labels"
CONDITIONS = "conditions"
DETECTORS = (GENERATED, JOINT, ASKED, LATENTS, LABELS, CONDITIONS)

_CLIENT = ARMS.index("client")
_OWN = [arm for arm in range(len(ARMS)) if arm != _CLIENT]  # the server drew the latents
_EXACT = 1e15  # rows: the distribution of latents is known, not measured


def layout(manifest: Manifest, reference: Reference) -> Layout:
    """What is counted of a model, by name and shape.

    rows [arms] and bins [arms, signals, BINS]: signals of the output, over rows that were not there before.
    joint [arms, width] and joint_rows [arms]: sums of the feature components' vectors, over looked-at rows.
    sent [1] and inputs [INPUTS, BINS]: latents that clients sent, the first time; repeated [1]: the other times.
    labels [labels]: rows asked for, the server's own not counted. nonfinite [1]: rows, of plausible latents.
    conditions [conditions, CONDITION_BINS]: rows of which each was asked for, by its bin.
    compared [arms]: rows that the reference knows the like of: those that `bins` can hold.
    spots [2]: rows made again of which spots were recorded, and those of them that differ.
    """
    return {
        "rows": (len(ARMS),),
        "bins": (len(ARMS), len(reference.signals), BINS),
        "joint": (len(ARMS), 0 if reference.joint is None else reference.joint.width),
        "joint_rows": (len(ARMS),),
        "sent": (1,),
        "inputs": (len(INPUTS), BINS),
        "repeated": (1,),
        "labels": (len(manifest.labels or ()),),
        "nonfinite": (1,),
        "conditions": (len(manifest.conditions or ()), CONDITION_BINS),
        "compared": (len(ARMS),),
        "spots": (2,),
    }


def detectors_of(manifest: Manifest) -> tuple[str, ...]:
    """Those that a model may have. Each takes its share of the promised run length."""
    return DETECTORS if manifest.conditions else tuple(name for name in DETECTORS if name != CONDITIONS)


class Detectors:
    """The detectors of one model, with one false alarm in 30 days at most together, at `rows_per_second`."""

    def __init__(self, manifest: Manifest, reference: Reference, rows_per_second: float) -> None:
        threshold = run_length(rows_per_second, detectors=len(detectors_of(manifest)))
        self.log_threshold = math.log(threshold)
        self._reference = reference
        self._names = {GENERATED: list(reference.signals), ASKED: list(reference.signals), LATENTS: list(INPUTS)}
        self._names[JOINT] = ["features"]
        self._detectors: dict[str, Evidence | MixEvidence | MultivariateEvidence | ConditionEvidence] = {
            LATENTS: Evidence([_EXACT] * len(INPUTS), 1, threshold)
        }
        self._arms = {GENERATED: _OWN, JOINT: _OWN, ASKED: [_CLIENT], LATENTS: [_CLIENT]}
        if reference.signals:
            for name in (GENERATED, ASKED):
                arms = len(self._arms[name])
                self._detectors[name] = Evidence(reference.signal_rows, arms, threshold, len(reference.cells))
        if reference.joint is not None:
            self._detectors[JOINT] = MultivariateEvidence(reference.joint, len(_OWN), threshold)
        labels = manifest.labels or []
        if len(labels) > 1:
            shares = np.array(manifest.label_prior or np.full(len(labels), 1 / len(labels)))
            self._detectors[LABELS] = MixEvidence(shares, threshold)
            self._names[LABELS] = labels
        if manifest.conditions:
            conditions = ConditionEvidence(condition_bins(manifest.conditions), threshold)
            self._detectors[CONDITIONS] = conditions
            self._names[CONDITIONS] = conditions.names

    def weigh(self, total: Counts) -> None:
        """Take the counts as they stand, of all workers together."""
        for name, detector in self._detectors.items():
            if isinstance(detector, MixEvidence):
                detector.observe(total["labels"])
            elif isinstance(detector, ConditionEvidence):
                detector.observe(total["conditions"])
            elif isinstance(detector, MultivariateEvidence):
                detector.observe(total["joint"][_OWN], total["joint_rows"][_OWN])
            elif name == LATENTS:
                detector.observe(total["inputs"][None], total["sent"])
            else:
                detector.observe(total["bins"][self._arms[name]], total["rows"][self._arms[name]])

    def log_evidence(self) -> dict[str, float]:
        """By detector, to compare with `log_threshold`; at least 0."""
        return {name: round(max(0.0, detector.log_value), 3) for name, detector in self._detectors.items()}

    def left_out(self) -> list[str]:
        """What is not weighed though there is a reference, for want of rows in it (or of features that vary)."""
        joint = self._reference.joint
        if joint is None:
            return ["joint"] if self._reference.cells else []
        return [] if joint.measured else ["joint: norms and clusters"]

    def suspicion(self, name: str) -> Suspicion | None:
        """What a detector's alarm says, while it stands."""
        detector = self._detectors.get(name)
        alarm: Alarm | None = None if detector is None else detector.alarm
        if alarm is None:
            return None
        arm = ARMS[self._arms[name][alarm.arm]] if name in (GENERATED, JOINT, ASKED) else ""
        return Suspicion(alarm.rows, alarm.began, arm, self._names[name][alarm.signal], alarm.again, alarm.clears)

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        return json.dumps({name: detector.to_json() for name, detector in self._detectors.items()})

    def restore(self, text: str) -> bool:
        """Go on from a saved state; a detector whose part does not fit begins anew. Whether all of them fitted."""
        try:
            state = dict(json.loads(text))
        except (ValueError, TypeError):
            return False
        restored = [detector.restore(str(state.get(name))) for name, detector in self._detectors.items()]
        return all(restored)
