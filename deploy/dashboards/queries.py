"""PromQL that the dashboards share. Series of a model carry `model` and `version`, those of a process no more than its
`instance`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client import Metric as Family

from deploy.names import JOB, series


def one_of(*labels: str) -> str:
    """Matchers of labels by the variables of their names, for between `{` and `}`.

    In backticks and as a regular expression, because Grafana's own escaping for Prometheus breaks at a double quote.
    """
    return ", ".join(f"{label}=~`${{{label}:regex}}`" for label in labels)


FLEET = one_of("model", "version")  # of records, which are summed over replicas, and of alerts
PROCESS = f'job="{JOB}", {one_of("instance")}'
REPLICA = f'job="{JOB}", {one_of("model", "version", "instance")}'

# A string names what is not the server's own: a record, another exporter's.
Metric = Counter | Gauge | Histogram | Family | str

_INTERVAL = "$__rate_interval"


def of(metric: Metric, matchers: str, *more: str, suffix: str = "") -> str:
    """The series of a metric that match, by matchers and `more` of them; of a histogram those with this suffix."""
    name = metric if isinstance(metric, str) else series(metric)
    return f"{name}{suffix}{{{', '.join((matchers, *more))}}}"


def rate(metric: Metric, matchers: str, *more: str, suffix: str = "") -> str:
    """How fast counters grow, per second."""
    return f"rate({of(metric, matchers, *more, suffix=suffix)}[{_INTERVAL}])"


def increase(metric: Metric, matchers: str, *more: str, suffix: str = "") -> str:
    """By how much counters grew."""
    return f"increase({of(metric, matchers, *more, suffix=suffix)}[{_INTERVAL}])"


def total(by: str, expression: str) -> str:
    """A sum by labels."""
    return f"sum by ({by}) ({expression})"


def quantile(share: float, histogram: Histogram, by: str, matchers: str) -> str:
    """A quantile of what a histogram saw, by labels."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, {total(labels, rate(histogram, matchers, suffix='_bucket'))})"


def mean(histogram: Histogram, by: str, matchers: str) -> str:
    """The mean of what a histogram saw, by labels; nothing where it saw nothing."""
    sums, counts = (total(by, rate(histogram, matchers, suffix=suffix)) for suffix in ("_sum", "_count"))
    return f"{sums} / ({counts} > 0)"


def by_bucket(histogram: Histogram, matchers: str) -> str:
    """How many values a histogram saw, by `le`."""
    return total("le", increase(histogram, matchers, suffix="_bucket"))


def at_least(lower_bound: str) -> str:
    """An effect's lower bound, which says nothing below 0, and falls far below it when there are few rows."""
    return f"clamp_min({lower_bound}, 0)"
