"""The cases: what is done to a bundle or to its traffic, and the cause a verdict must name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from benchmarks.drift.faults.bundles import (
    Fault,
    drop_band,
    drop_mode,
    flip_bit,
    nan_at_rate,
    precision,
    swap,
    zero_channel,
)
from benchmarks.drift.faults.traffic import (
    Traffic,
    by_seed,
    conditions_as_drawn,
    conditions_elsewhere,
    conditions_moving,
    conditions_of_some,
    label_mix,
    repeated_latent,
    requested_truncation,
    truncated_latents,
    wide_latents,
    without_seed,
)
from latentserve.service.watching.verdict import Cause

_TOP_OF_EXPONENT = 30  # a weight below 2 becomes one of about 1e36: never without effect, unless nothing reaches it


@dataclass(frozen=True)
class Case:
    """`cause` is what must be named.

    Attributes:
        fault: makes the served bundle of the healthy one; None: the healthy one is served.
        traffic: what clients send.
        conditional: needs a generator with labels.
    """

    cause: Cause
    fault: Fault | None = None
    traffic: Traffic = without_seed
    conditional: bool = False


CASES: dict[str, Case] = {
    "clean, by seed": Case("none", traffic=by_seed),
    "clean, without seed": Case("none"),
    "truncation 0.7 requested": Case("none", traffic=requested_truncation),
    "fp16 within tolerance": Case("none", partial(precision, kind="fp16")),
    "int8 beyond tolerance": Case("weights_or_hardware", partial(precision, kind="int8")),
    "bit flip": Case("weights_or_hardware", partial(flip_bit, bit=_TOP_OF_EXPONENT)),
    "zeroed channel": Case("weights_or_hardware", zero_channel),
    "swapped file": Case("weights_or_hardware", swap),
    "NaN at rate 0.01": Case("weights_or_hardware", nan_at_rate),
    "latents N(0, 1.1^2)": Case("client_latents", traffic=wide_latents),
    "one latent repeated": Case("client_latents", traffic=repeated_latent),
    "latents truncated at 0.7": Case("client_latents", traffic=truncated_latents),
    "another label mix": Case("label_mix", traffic=label_mix, conditional=True),
    "mode dropped, whole": Case("unknown", drop_mode),
    "mode dropped, half": Case("unknown", partial(drop_mode, whole=False)),
}

# Of generators with conditions.
CONDITION_CASES: dict[str, Case] = {
    "conditions as their priors draw them": Case("none", traffic=conditions_as_drawn),
    "another mix": Case("condition_mix", traffic=conditions_elsewhere),
    "another mix, of some rows and some conditions": Case("condition_mix", traffic=conditions_of_some),
    "a mix that moves at half time": Case("condition_mix", traffic=conditions_moving),
    "mode dropped, whole, another mix": Case("unknown", drop_mode, conditions_elsewhere),
    "mode dropped, half, another mix": Case("unknown", partial(drop_mode, whole=False), conditions_elsewhere),
    "band of a condition dropped, another mix": Case("unknown", drop_band, conditions_elsewhere),
}
