"""An overfitting critic: it knows the reals it was shown by heart, and takes unseen ones for fakes.

In the end many a small data set is known by heart. It is a failure where samples suffer, far from the reals; where they
are nearly as close to unseen reals as other reals are, there is nothing to mend.
"""

from __future__ import annotations

import math

from latentserve.training.supervising.quality import FAR
from latentserve.training.supervising.reading import Line, Reading, above

GAP = 0.5  # unseen reals score nearer to fakes than to seen reals: r_v of Karras et al. 2020, section 3
CLEAR = 0.35


class Overfitting:
    fault = "overfitting critic"
    patience = 4

    def read(self, line: Line) -> Reading | None:
        if "held_out_gap" not in line or line.get("real_accuracy", 0.0) < 0.5:
            return None  # a critic that sees nothing has a gap between two accidents
        reading = above("held_out_gap", line["held_out_gap"], GAP, CLEAR)
        far = line.get("frechet", math.inf) > FAR * line.get("frechet_floor", 0.0)
        return reading._replace(bad=reading.bad and far)
