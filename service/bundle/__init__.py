"""The bundle: what training hands to serving. The ground floor, which imports nothing above it."""

from latentserve.service.bundle.files import Bundle, content_version, read_bundle, read_bundles, write_bundle
from latentserve.service.bundle.golden import Golden
from latentserve.service.bundle.manifest import (
    Column,
    Graph,
    Latent,
    Lineage,
    Manifest,
    Monitor,
    OnnxSpec,
    SampleSpec,
    Tensor,
)

__all__ = [
    "Bundle",
    "Column",
    "Golden",
    "Graph",
    "Latent",
    "Lineage",
    "Manifest",
    "Monitor",
    "OnnxSpec",
    "SampleSpec",
    "Tensor",
    "content_version",
    "read_bundle",
    "read_bundles",
    "write_bundle",
]
