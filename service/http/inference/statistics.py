"""What was counted of models, as Triton's clients read it: from the metrics, of all workers together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import orjson

from latentserve.service.models import Model

_SERIES = re.compile(
    r"^latentserve_(samples_total|batch_rows_count|requests_total"
    r"|(?:request|queue|inference|encode)_duration_seconds_(?:count|sum))\{(.*)\} (\S+)$",
    re.MULTILINE,
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SAMPLING = re.compile(r"/(infer|samples|sample)$")  # of templates: the routes that are asked for samples
_ERROR = 400
_NANOSECONDS = 1e9

_Counted = list[tuple[str, Mapping[str, str], float]]


def describe_statistics(models: Iterable[Model], exposition: str) -> bytes:
    """`GET /v2/models[/{model}]/stats`, of what `/metrics` says. There is no time in what is served: the last inference
    is at 0."""
    counted = _read(exposition)
    return orjson.dumps({"model_stats": [_statistics(model, counted[model.name, model.version]) for model in models]})


def _read(exposition: str) -> Mapping[tuple[str | None, str | None], _Counted]:
    """Names of series, their labels and values, by model and version."""
    read: defaultdict[tuple[str | None, str | None], _Counted] = defaultdict(list)
    for name, labels, value in _SERIES.findall(exposition):
        told = dict(_LABEL.findall(labels))
        read[told.get("model"), told.get("version")].append((name, told, float(value)))
    return read


def _statistics(model: Model, counted: _Counted) -> Mapping[str, object]:
    def total(name: str, of: Callable[[Mapping[str, str]], bool] = lambda _labels: True) -> float:
        return sum(value for has, labels, value in counted if has == name and of(labels))

    def duration(name: str) -> Mapping[str, int]:
        series = f"{name}_duration_seconds"
        return _stat(total(f"{series}_count"), total(f"{series}_sum"))

    def asked(labels: Mapping[str, str]) -> bool:
        return _SAMPLING.search(labels["route"]) is not None

    failed = total("requests_total", lambda labels: asked(labels) and int(labels["code"]) >= _ERROR)
    answered = total("requests_total", asked) - failed
    seconds = total("request_duration_seconds_sum", asked)  # the few that failed took hardly any
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": 0,
        "inference_count": round(total("samples_total", lambda labels: labels["arm"] != "control")),
        "execution_count": round(total("batch_rows_count")),
        "inference_stats": {
            "success": _stat(answered, seconds),
            "fail": _stat(failed, 0),
            "queue": duration("queue"),
            "compute_input": _stat(0, 0),
            "compute_infer": duration("inference"),
            "compute_output": duration("encode"),
            "cache_hit": _stat(0, 0),
            "cache_miss": _stat(0, 0),
        },
        "batch_stats": [],
    }


def _stat(count: float, seconds: float) -> Mapping[str, int]:
    return {"count": round(count), "ns": round(seconds * _NANOSECONDS)}
