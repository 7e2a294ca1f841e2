"""What is needed to ask for something: the table of it is of the routes."""

from __future__ import annotations

from typing import Literal

from latentserve.service.access.keys import Scope

# `nothing`: anybody may ask, keys or not. `metadata`: some key, unless metadata is open. `metrics`: a key of that
# scope, unless metadata is open. `sample`, `score`: a key of that scope.
Needs = Literal["nothing", "metadata", "metrics", "sample", "score"]

SCOPE_OF: dict[Needs, Scope] = {"metrics": "metrics", "sample": "sample", "score": "score"}


def is_open(needs: Needs, *, open_metadata: bool) -> bool:
    """Whether no key is needed, where keys are on."""
    return needs == "nothing" or (open_metadata and needs in ("metadata", "metrics"))
