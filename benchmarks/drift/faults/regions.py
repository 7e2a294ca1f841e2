"""Faults in a region of latent space: nodes put before a generator's inputs or after its output.

A region lies beyond a plane, { z : a.z > q }, with a random direction a and the prior's own quantile q, so that its
mass is known; a direction is taken that leaves no golden latent inside. The golden probes pass, by construction.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from scipy.special import ndtri

from latentserve.service.bundle import Bundle, Latent
from latentserve.service.sampling.latents import condition_at, draw_latents

_DIRECTIONS = 1000  # tried
_DRAWN = 100_000  # latents, where the quantile has no formula
_SLICE = 1e-3  # of a condition's range, around a golden value
_MARGIN = 1e-3  # of a projected latent: float32 sums depend on their order

Singles = NDArray[np.float32]


def nan_in_region(bundle: Bundle, model: onnx.ModelProto, rng: np.random.Generator, rate: float) -> onnx.ModelProto:
    """The generator with samples of NaN in a region of the mass `rate`. Raises ValueError: no such region."""
    around = _Around(model)
    direction, quantile = _region(bundle, rate, rng)
    inside = around.step("Greater", around.projected(direction), around.number(quantile))
    column = around.constant(np.array([-1, *[1] * len(bundle.manifest.sample.shape)], np.int64))
    return around.build(nan=around.step("Reshape", inside, column))


def mode_dropped(
    bundle: Bundle, model: onnx.ModelProto, rng: np.random.Generator, share: float, *, whole: bool
) -> onnx.ModelProto:
    """The generator with one mode's samples, all or half of them, replaced by another's.

    An unconditional generator gives in a region of the mass `share` what it gives for -z, outside. A conditional one
    gives for one label, of those whose prior is closest to `share`, what it gives for another, but for slices of
    2e-3 around the golden latents of that label. Raises ValueError: no such region, or no second label.
    """
    around = _Around(model)
    labels = bundle.manifest.labels
    if labels is None:
        direction, quantile = _region(bundle, share, rng)
        chosen = around.step("Greater", around.projected(direction), around.number(quantile))
        if not whole:
            chosen = around.step("And", chosen, around.half(direction, rng))
        return around.build(z=around.step("Where", chosen, around.step("Neg", "z"), "z"))
    label, other = _two_labels(bundle, share, rng)
    direction = _direction(bundle.manifest.latent, rng)
    chosen = around.away_from(direction, bundle.golden.z[bundle.golden.label == label])
    if not whole:
        chosen = around.step("And", chosen, around.half(direction, rng))
    flat = around.step("Reshape", chosen, around.constant(np.array([-1], np.int64)))
    asked = around.step("Equal", "label", around.constant(np.array(label, np.int64)))
    replaced = around.step("And", asked, flat)
    return around.build(label=around.step("Where", replaced, around.constant(np.array(other, np.int64)), "label"))


def band_dropped(bundle: Bundle, model: onnx.ModelProto, rng: np.random.Generator, share: float) -> onnx.ModelProto:
    """The generator that gives within a band of one condition, of the mass `share` under its prior, what it gives at
    the least value of the range, but for a few thousandths of the range around the golden probes' values. Raises
    ValueError: there are no conditions."""
    conditions = bundle.manifest.conditions
    if not conditions or bundle.golden.condition is None:
        raise ValueError("a band cannot be dropped: there are no conditions")
    around = _Around(model)
    column = int(rng.integers(len(conditions)))
    condition, start = conditions[column], rng.uniform(0, 1 - share)
    low, high = condition_at(condition, np.array([start, start + share])).tolist()
    ones = np.zeros((len(conditions), 1), np.float32)
    ones[column] = 1
    value = around.step("MatMul", "condition", around.constant(ones))  # [batch, 1]
    width = _SLICE * (condition.range[1] - condition.range[0])
    golden = np.unique(bundle.golden.condition[:, column])
    distance = around.step("Abs", around.step("Sub", value, around.constant(golden[None])))
    near = around.step("Cast", around.step("Less", distance, around.number(width)), to=TensorProto.FLOAT)
    counted = around.step("MatMul", near, around.constant(np.ones((len(golden), 1), np.float32)))
    inside = around.step(
        "And",
        around.step("Greater", value, around.number(low)),
        around.step("Less", value, around.number(high)),
    )
    chosen = around.step("And", inside, around.step("Less", counted, around.number(0.5)))
    own = around.constant((ones[:, 0] > 0)[None])
    other = around.step("Where", own, around.number(condition.range[0]), "condition")
    return around.build(condition=around.step("Where", chosen, other, "condition"))


class _Around:
    """New nodes around a generator, all of whose own names get a prefix."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"fault/w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def step(self, operator: str, *inputs: str, **attributes: object) -> str:
        name = f"fault/{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def projected(self, direction: Singles) -> str:
        """a.z, [batch, 1]."""
        return self.step("MatMul", "z", self.constant(direction[:, None]))

    def half(self, direction: Singles, rng: np.random.Generator) -> str:
        """Whether a latent lies on one side of a plane through 0, across `direction`: bool [batch, 1]."""
        if len(direction) < 2:
            raise ValueError("half of a mode needs a latent of two dimensions or more")
        other = rng.normal(size=len(direction))
        other -= (other @ direction) * direction
        return self.step("Greater", self.projected(other.astype(np.float32)), self.number(0))

    def away_from(self, direction: Singles, latents: Singles) -> str:
        """Whether a latent's projection is no golden one's: bool [batch, 1]."""
        distance = self.step("Abs", self.step("Sub", self.projected(direction), self.constant(direction @ latents.T)))
        near = self.step("Less", distance, self.number(_MARGIN))
        # A product with ones instead of a reduction, whose axes are given otherwise in every other operator set.
        counted = self.step("Cast", near, to=TensorProto.FLOAT)
        ones = self.constant(np.ones((len(latents), 1), np.float32))
        return self.step("Less", self.step("MatMul", counted, ones), self.number(0.5))

    def build(
        self, z: str = "z", label: str = "label", condition: str = "condition", nan: str | None = None
    ) -> onnx.ModelProto:
        """The generator of other latents, labels and conditions, with NaN where `nan` says so."""
        inner = compose.add_prefix(self._model, "inner/")
        inputs = [value for value in self._model.graph.input if value.name in ("z", "label", "condition")]
        given = {"z": z, "label": label, "condition": condition}
        self._nodes += [helper.make_node("Identity", [given[value.name]], [f"inner/{value.name}"]) for value in inputs]
        self._nodes += inner.graph.node
        if nan is None:
            self._nodes.append(helper.make_node("Identity", ["inner/sample"], ["sample"]))
        else:
            self._nodes.append(helper.make_node("Where", [nan, self.number(np.nan), "inner/sample"], ["sample"]))
        outer = helper.make_graph(
            self._nodes,
            "generator",
            inputs,
            list(self._model.graph.output),
            [*self._weights, *inner.graph.initializer],
        )
        outer.sparse_initializer.extend(inner.graph.sparse_initializer)
        return helper.make_model(
            outer,
            opset_imports=self._model.opset_import,
            functions=inner.functions,
            ir_version=self._model.ir_version,
        )


def _direction(latent: Latent, rng: np.random.Generator) -> Singles:
    direction = rng.normal(size=latent.dim)
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def _region(bundle: Bundle, mass: float, rng: np.random.Generator) -> tuple[Singles, float]:
    """A direction a float32 [dim] and a number q, with P(a.z > q) = mass and no golden latent beyond."""
    latent = bundle.manifest.latent
    normal = latent.parts is None and latent.prior == "normal"
    drawn = None if normal else draw_latents(latent, int(rng.integers(2**32)), 0, _DRAWN)
    for _ in range(_DIRECTIONS):
        direction = _direction(latent, rng)
        quantile = float(ndtri(1 - mass) if drawn is None else np.quantile(drawn @ direction, 1 - mass))
        if (bundle.golden.z @ direction).max() < quantile - _MARGIN:
            return direction, quantile
    raise ValueError(f"no region of mass {mass:g} without a golden latent was found")


def _two_labels(bundle: Bundle, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """A label of about this share, and another one."""
    manifest = bundle.manifest
    count = len(manifest.labels or ())
    if count < 2:
        raise ValueError("a mode cannot be dropped: there is one label")
    prior = np.asarray(manifest.label_prior) if manifest.label_prior else np.full(count, 1 / count)
    distance = np.abs(prior - share)
    label = int(rng.choice(np.flatnonzero(distance == distance.min())))
    return label, int((label + rng.integers(1, count)) % count)
