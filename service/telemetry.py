"""Traces of requests, for a collector of OpenTelemetry's: of a request a span, and within it one for the queue, the
engine and the encoder.

Whether a request is traced is decided before anything is written down for it: most are not, and cost nothing. Spans are
made when it is over, of times that were noted, and leave on a thread of their own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from latentserve import __version__
from latentserve.service.addresses import is_loopback
from latentserve.service.errors import LatentserveError
from latentserve.service.trace import Trace

_NANOSECONDS = 1e9
_SERVER_ERROR = 500
_FLAGS, _SAMPLED = slice(53, 55), 1  # of `traceparent`: where they are, and that of a traced request
_STOP_MILLISECONDS = 1000
_HEADER = "traceparent"


class TelemetryError(LatentserveError):
    """Traces cannot be exported: a package is not installed."""

    slug = "telemetry"
    title = "Traces cannot be exported"


class Telemetry:
    """Traces a `share` of all requests, and those that a traced one elsewhere has asked for."""

    def __init__(self, exporter: SpanExporter, share: float) -> None:
        about = Resource.create({"service.name": "latentserve", "service.version": __version__})
        self._provider = TracerProvider(resource=about)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("latentserve", __version__)
        self._share = share

    def begin(self, traceparent: bytes | None) -> Trace | None:
        """Of a request with this `traceparent`, a valid one; None: it is not traced."""
        if traceparent is None:
            return Trace() if random.random() < self._share else None  # noqa: S311
        return Trace() if int(traceparent[_FLAGS], 16) & _SAMPLED else None

    def end(
        self,
        trace: Trace,
        traceparent: bytes | None,
        name: str,
        began: float,
        status: int,
        about: Mapping[str, str | int],
    ) -> None:
        """Export what was noted of a request that began then, and is over."""
        parent = None
        if traceparent is not None:
            parent = TraceContextTextMapPropagator().extract({_HEADER: traceparent.decode()}, context=Context())
        attributes = {**about, "http.response.status_code": status}
        epoch = time.time_ns() - time.perf_counter_ns()  # as the clock goes now: it may have been set since the start

        def nanoseconds(counter: float) -> int:
            return epoch + int(counter * _NANOSECONDS)

        kind, start = SpanKind.SERVER, nanoseconds(began)
        span = self._tracer.start_span(name, parent or Context(), kind, attributes, start_time=start)
        if status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        within = set_span_in_context(span, Context())
        for part, since, until in trace.parts:
            inner = self._tracer.start_span(part, within, start_time=nanoseconds(since))
            inner.end(nanoseconds(until))
        span.end()

    def stop(self) -> None:
        """Export what is left, if that takes no longer than a second."""
        self._provider.force_flush(_STOP_MILLISECONDS)
        self._provider.shutdown()


def otlp_exporter(url: str) -> SpanExporter:
    """To a collector, by OTLP over HTTP. Raises TelemetryError."""
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise TelemetryError("LATENTSERVE_TELEMETRY needs latentserve[otel]") from None
    session = requests.Session()
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")  # no proxy between this machine and itself
    return OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", session=session)
