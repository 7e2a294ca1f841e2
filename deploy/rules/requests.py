"""Service levels: requests that failed and requests that were slow, as shares of those answered."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.names import JOB, REQUEST_SECONDS, REQUESTS
from deploy.rules.counts import MODEL, by
from deploy.rules.rule import Record
from deploy.windows import WINDOWS, Times

ERROR_BUDGET, LATENCY_BUDGET = 0.001, 0.01  # shares of requests that may fail, and that may take longer than SLOW
SLOW = 0.5  # seconds; a bucket of the histogram
LONGER = {"30m": 1_800.0, "1h": 3_600.0, "6h": 21_600.0}

REQUEST_RATES, REQUEST_RATE = "model_code:latentserve_requests:rate5m", "model:latentserve_requests:rate5m"
ERRORS, SLOW_ONES = "model:latentserve_request_errors", "model:latentserve_slow_requests"

_LEAST = 1e-9  # requests a second, instead of none


def request_rules(times: Times) -> Iterator[Record]:
    """Rates over five minutes, and shares of all requests over these and LONGER."""
    window = times.window("5m")
    yield Record(REQUEST_RATES, f"sum {by(*MODEL, 'code')} ({_growth(times)})")
    yield Record(REQUEST_RATE, f"sum {by(*MODEL)} ({REQUEST_RATES})")
    yield Record(f"{ERRORS}:rate5m", f'sum {by(*MODEL)} ({REQUEST_RATES}{{code=~"5.."}}) or {REQUEST_RATE} * 0')
    answered = f'sum {by(*MODEL)} (rate({REQUEST_SECONDS}_count{{job="{JOB}"}}[{window}]))'
    in_time = f'sum {by(*MODEL)} (rate({REQUEST_SECONDS}_bucket{{job="{JOB}", le="{SLOW:g}"}}[{window}]))'
    yield Record(f"{SLOW_ONES}:rate5m", f"clamp_min({answered} - {in_time}, 0)")
    for name in (ERRORS, SLOW_ONES):
        yield Record(f"{name}:ratio5m", f"{name}:rate5m / clamp_min({REQUEST_RATE}, {_LEAST:g})")
        for longer, seconds in LONGER.items():
            part, whole = (f"avg_over_time({rate}[{times.text(seconds)}])" for rate in (f"{name}:rate5m", REQUEST_RATE))
            yield Record(f"{name}:ratio{longer}", f"{part} / clamp_min({whole}, {_LEAST:g})")


def _growth(times: Times) -> str:
    """Requests a second of each series of a model; what belongs to no model is no part of its service level.

    A rate takes two samples of a series. Of one that was not there five minutes ago, on a replica that was, all of its
    first sample is growth: the first burst of a code is often the one that somebody must hear of.
    """
    window = times.window("5m")
    of = f'{REQUESTS}{{job="{JOB}", model!=""}}'
    first = f"(min_over_time({of}[{window}]) unless {of} offset {window} and on (instance) {of} offset {window})"
    born = f"{first} / {times.seconds(WINDOWS['5m']):g}"
    return f'\n  rate({of}[{window}])\n  or label_replace({born}, "since", "born", "", "")\n'
