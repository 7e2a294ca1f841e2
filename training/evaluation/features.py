"""The spaces in which samples are compared: of an own classifier, of a random network, the view itself, or a file's."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from latentserve.service.bundle import Latent
from latentserve.service.errors import one_line
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.data import Dataset
from latentserve.training.errors import FeaturesError
from latentserve.training.evaluation.classifier import Classifier
from latentserve.training.evaluation.resampling import Floats
from latentserve.training.evaluation.views import Samples, View

WIDEST_VIEW = 256  # numbers that are compared as they are; more go through the random network
CHANNELS, DENSE = (16, 32, 16), 64  # of the random network
_POOLED = 2  # places along each side at its end
_AT_ONCE = 64  # rows of a network

CONDITION = "condition"  # input of a network that judges samples by what they were made for, too

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureSpace:
    """What makes numbers of samples.

    Attributes:
        name: `classifier`, `random`, a view's, or a file's stem.
        sentence: what it is, for a reader.
        identity: what fixes it further, for report.json: hashes, accuracy, width.
        of: samples [n, *shape] float32, and their labels [n] and conditions [n, k] or None, to features [n, d] float64.
    """

    name: str
    sentence: str
    identity: dict[str, Any]
    of: Callable[[Samples, Labels | None, Samples | None], Floats]


def feature_spaces(
    view: View,
    unlabelled: View,
    train: Dataset,
    classifier: Classifier | None,
    accuracy: float | None,
    files: Sequence[Path],
) -> list[FeatureSpace]:
    """The spaces for data like these, the one to believe first coming first; `unlabelled` is what the classifier sees.

    Raises FeaturesError naming a file.
    """
    spaces = []
    if classifier is not None:
        spaces.append(
            FeatureSpace(
                "classifier",
                f"the last hidden layer of a small classifier, trained on the real training data here; it is right on "
                f"{accuracy:.1%} of the held-out real samples",
                {"width": 64, "sha256": classifier.sha256, "accuracy": accuracy, "input": view.name, "seed": 0},
                lambda samples, labels, conditions: classifier.features(unlabelled.of(samples)),
            )
        )
    spaces.append(plain_space(view, train))
    return spaces + [file_features(path, train) for path in files]


def plain_space(view: View, train: Dataset) -> FeatureSpace:
    """The space of data like these that nothing was trained for: the view itself, or a random network's features of
    pictures and of what is wide."""
    seen = view.of(train.take(slice(0, 1)))
    if train.kind != "image" and seen.size <= WIDEST_VIEW:
        return FeatureSpace(
            view.name,
            view.sentence,
            {"width": seen.size},
            lambda samples, labels, conditions: view.of(samples).reshape(len(samples), -1).astype(np.float64),
        )
    network = RandomNetwork(seen.shape[1:])
    return FeatureSpace(
        "random",
        f"a network with fixed random weights, never trained, on {view.name}",
        {"width": network.features(seen).shape[1], "input": view.name, "seed": 0},
        lambda samples, labels, conditions: network.features(view.of(samples)),
    )


def file_features(path: Path, train: Dataset) -> FeatureSpace:
    """A pre-trained network's: an ONNX file that takes samples [n, *shape] as data have them, images in [-1, 1], and
    maybe labels [n] int64 and `condition` [n, k], and gives `features` [n, d], or has one output that is like that.

    Raises FeaturesError naming the file.
    """
    try:
        content = path.read_bytes()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise FeaturesError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # the runtime's own kinds of errors
        raise FeaturesError(f"{path}: no ONNX file that runs: {one_line(error)}") from None
    labelled = [given.name for given in session.get_inputs() if given.type == "tensor(int64)"]
    floats = [given.name for given in session.get_inputs() if given.type == "tensor(float)"]
    sampled = [name for name in floats if name != CONDITION]
    conditioned = len(floats) > len(sampled)
    outputs = [given.name for given in session.get_outputs() if len(given.shape or []) == 2]
    output = "features" if "features" in outputs else (outputs or [""])[0]
    if len(sampled) != 1 or len(labelled) > 1 or not output:
        raise FeaturesError(f"{path}: needs one input of samples, at most one of labels, and an output [batch, d]")
    if labelled and not train.label_names:
        raise FeaturesError(f"{path}: needs labels, which the data have not")
    if conditioned and train.conditions is None:
        raise FeaturesError(f"{path}: needs conditions, which the data have not")

    def features(samples: Samples, labels: Labels | None, conditions: Samples | None) -> Floats:
        parts = []
        for start in range(0, len(samples), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            feed: dict[str, Any] = {sampled[0]: samples[rows]}
            if labelled:
                feed[labelled[0]] = np.zeros(len(samples[rows]), np.int64) if labels is None else labels[rows]
            if conditioned and conditions is not None:
                feed[CONDITION] = conditions[rows]
            parts.append(session.run([output], feed)[0])
        return np.concatenate(parts).astype(np.float64)

    try:
        two = slice(0, 2)
        width = features(train.take(two), train.labels[two], train.conditions_of(two)).shape[1]
    except Exception as error:
        raise FeaturesError(f"{path}: does not take these samples: {one_line(error)}") from None
    sha256 = hashlib.sha256(content).hexdigest()
    identity = {"width": width, "sha256": sha256, "file": path.name, "output": output}
    return FeatureSpace(
        path.stem, f"the output `{output}` of {path.name} (SHA-256 {sha256[:8]}...)", identity, features
    )


class RandomNetwork:
    """Features of a network that nobody has trained. They see edges and textures well enough to tell distributions
    apart (Naeem et al. 2020, section 4.2), need no labels, and are the same for everybody: the weights are drawn as
    latents are, by `docs/latents.md`.

    Images [C, H, W] through 3x3 convolutions of stride 2 with ReLU, then means over quarters: 64 features. Anything
    else through one layer of 64 such units. Weights are normal with variance 2 / inputs (He et al. 2015)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._weights: list[Tensor] = []
        if len(shape) == 3:
            inputs = shape[0]
            for layer, outputs in enumerate(CHANNELS):
                drawn = _drawn(inputs * 9, outputs, layer)
                self._weights.append(drawn.reshape(outputs, inputs, 3, 3))
                inputs = outputs
        else:
            self._weights.append(_drawn(math.prod(shape), DENSE, 0))

    @torch.no_grad()
    def features(self, seen: Samples) -> NDArray[np.float64]:
        """Float64 [n, 64], of samples [n, ...] as a view shows them."""
        return torch.cat([self._of(part) for part in torch.split(torch.from_numpy(seen), _AT_ONCE)]).double().numpy()

    def _of(self, seen: Tensor) -> Tensor:
        if seen.ndim != 4:
            return F.relu(seen.flatten(1) @ self._weights[0].T)
        for weight in self._weights:
            seen = F.relu(F.conv2d(seen, weight, stride=2, padding=1))
        return F.adaptive_avg_pool2d(seen, _POOLED).flatten(1)


def _drawn(inputs: int, outputs: int, seed: int) -> Tensor:
    return torch.from_numpy(draw_latents(Latent(dim=inputs), seed, 0, outputs)) * math.sqrt(2 / inputs)
