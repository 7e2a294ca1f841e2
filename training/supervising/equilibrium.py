"""The critic's loss where fakes cannot be told from reals; the Wasserstein ones are in the critic's own unit."""

from __future__ import annotations

import math

EQUILIBRIUM = {
    "minimax": 2 * math.log(2),
    "non-saturating": 2 * math.log(2),
    "relativistic": math.log(2),
    "hinge": 2.0,
    "least-squares": 0.25,
}
