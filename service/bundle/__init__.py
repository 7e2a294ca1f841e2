"""The bundle: what training hands to serving. The ground floor, which imports nothing above it."""

from latentserve.service.bundle.files import Bundle, check_place, read_bundle, read_bundles, write_bundle
from latentserve.service.bundle.forms import Form
from latentserve.service.bundle.golden import Golden
from latentserve.service.bundle.inputs import Inputs
from latentserve.service.bundle.manifest import (
    Column,
    Condition,
    Graph,
    Latent,
    LatentPart,
    Lineage,
    Manifest,
    Monitor,
    OnnxSpec,
    SampleSpec,
    Tensor,
)
from latentserve.service.bundle.signature import Signature
from latentserve.service.bundle.values import category_places, measured, numbers_of, plain, shortest, typed
from latentserve.service.bundle.version import content_version

__all__ = [
    "Bundle",
    "Column",
    "Condition",
    "Form",
    "Golden",
    "Graph",
    "Inputs",
    "Latent",
    "LatentPart",
    "Lineage",
    "Manifest",
    "Monitor",
    "OnnxSpec",
    "SampleSpec",
    "Signature",
    "Tensor",
    "category_places",
    "check_place",
    "content_version",
    "measured",
    "numbers_of",
    "plain",
    "read_bundle",
    "read_bundles",
    "shortest",
    "typed",
    "write_bundle",
]
