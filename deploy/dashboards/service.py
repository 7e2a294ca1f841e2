"""The dashboard *service*: slow or broken? Traffic, errors, latency by stage, batches, queue, replicas, GPUs."""

from __future__ import annotations

from deploy.dashboards.frame import Section, dashboard, labels_of
from deploy.dashboards.panels import BLUE, GREEN, RED, YELLOW, Panel, buckets, lines, number, rows, states
from deploy.dashboards.queries import FLEET, PROCESS, REPLICA, by_bucket, increase, mean, of, quantile, rate, total
from deploy.rules.requests import ERROR_BUDGET, ERRORS, LATENCY_BUDGET, LONGER, SLOW, SLOW_ONES
from latentserve.service.watching import metrics as m

_MODEL, _OF = "model, version", "{{model}} {{version}}"
_STAGES = {
    "request": m.REQUEST_SECONDS,
    "queue": m.QUEUE_SECONDS,
    "engine": m.INFERENCE_SECONDS,
    "encoding": m.ENCODE_SECONDS,
}
_GPU, _EVERY_GPU = "{{Hostname}} GPU {{gpu}}", 'gpu=~".*"'


def service(runbooks: str) -> str:
    """The dashboard as JSON; `runbooks` is the address of the folder that holds them."""
    return dashboard(
        "service",
        "latentserve: service",
        "Is it slow, or broken? Whether the samples themselves changed is on the dashboard of samples.",
        [
            labels_of(m.READY, "model", "Model"),
            labels_of(m.READY, "version", "Version", within=["model"]),
            labels_of(m.READY, "instance", "Replica", within=["model", "version"]),
        ],
        [
            Section("Now", _now()),
            Section("Traffic and errors", _traffic()),
            Section("Latency by stage", _latency()),
            Section("Batches and queue", _batches()),
            Section("Replicas and versions", _replicas()),
            Section("GPUs, where prometheus.yml finds their exporters", _gpus(), folded=True),
        ],
        runbooks=runbooks,
    )


def _now() -> list[Panel]:
    return [
        number(
            "Pages", "short", "Alerts that fire and are worth waking someone for.", (_firing("page"), "pages"),
            colours={1: RED},
        ),
        number(
            "Tickets", "short", "Alerts that fire and can wait for the morning.", (_firing("ticket"), "tickets"),
            colours={1: YELLOW},
        ),
        number(
            "Ready", "percentunit", "Share of the models on all replicas that are verified, warmed and whose golden "
            "probes pass. A replica that is not scraped is not counted: see *Scraped*.",
            (f"avg({of(m.READY, REPLICA)})", "ready"), runbooks=["LatentserveReplicaNotReady"],
            first=RED, colours={1: GREEN},
        ),
        number(
            "Requests", "reqps", "Requests answered per second, whatever the answer.",
            (total("", rate(m.REQUESTS, REPLICA)), "requests"), first=BLUE,
        ),
        number(
            "Errors", "percentunit", "Share of requests answered 5xx; 0.1 % is allowed over 30 days.",
            (_errors(""), "errors"), runbooks=["LatentserveErrorBudgetBurn"], colours={ERROR_BUDGET: RED},
        ),
        number(
            "99 % of requests within", "s", "From the request's arrival to its last byte; 0.5 s is allowed.",
            (quantile(0.99, m.REQUEST_SECONDS, "", REPLICA), "99 %"), runbooks=["LatentserveLatencyBudgetBurn"],
            colours={SLOW: RED},
        ),
    ]  # fmt: skip


def _traffic() -> list[Panel]:
    return [
        lines(
            "Requests by route and status", "reqps", "Requests answered. 4xx are the clients' own, 429 a full queue.",
            (total("route, code", rate(m.REQUESTS, REPLICA)), "{{route}} {{code}}"), stacked=True,
        ),
        lines(
            "Errors", "percentunit", "Share of requests answered 5xx. The objective is 0.1 %.",
            (_errors(_MODEL), _OF), runbooks=["LatentserveErrorBudgetBurn"], alarm=ERROR_BUDGET,
        ),
        lines(
            "Refused", "reqps", "Sampling requests refused, by reason. `queue_full` means more replicas, or larger "
            "batches; `deadline` that the first rows came too late. And what the HTTP host did not hand on, by kind: "
            "what was no request, or was too large or too slow to become one. `unaudited` was answered, though the "
            "account had no room for it.",
            (total("reason", rate(m.REJECTED, PROCESS)), "{{reason}}"),
            (total("kind", rate(m.REFUSED, PROCESS)), "{{kind}}"),
            (total("", rate(m.UNAUDITED, PROCESS)), "unaudited"), runbooks=["LatentserveQueueSaturated"],
        ),
        lines(
            "Samples made", "short", "Samples per second by who chose the latent: the server, the client, or the "
            "server's own control samples, which flow without any traffic.",
            (total("arm", rate(m.SAMPLES, REPLICA)), "{{arm}}"), stacked=True,
        ),
        lines(
            "Rows searched", "short", "Rows looked at per second to choose from, by whether they were chosen.",
            (total("outcome", rate(m.SEARCHED, REPLICA)), "{{outcome}}"), stacked=True,
        ),
        lines(
            "Samples by address", "reqps", "What workers' caches were asked for (CACHE_BYTES), by whether they had it. "
            "What they had was not made again, and is not among the samples made.",
            (total("outcome", rate(m.CACHE_REQUESTS, PROCESS)), "{{outcome}}"), stacked=True,
        ),
        lines(
            "Answers kept", "bytes", "What these caches hold, by replica.",
            (total("instance", of(m.CACHE_BYTES, PROCESS)), "{{instance}}"),
        ),
        lines(
            "In flight", "short", "Sampling requests being answered, by replica.",
            (total("instance", of(m.INFLIGHT, PROCESS)), "{{instance}}"),
        ),
        lines(
            "Budgets burned", "short", "At 1, what the objectives allow over 30 days is used up in 30 days; at "
            "14.4, two per cent of it in an hour.",
            *(
                (f"{of(f'{share}:ratio{window}', FLEET)} / {budget}", f"{of_what} in {window} {_OF}")
                for of_what, share, budget in (("errors", ERRORS, ERROR_BUDGET), ("slow", SLOW_ONES, LATENCY_BUDGET))
                for window in LONGER
            ),
            runbooks=["LatentserveErrorBudgetBurn", "LatentserveLatencyBudgetBurn"], alarm=1,
        ),
    ]  # fmt: skip


def _latency() -> list[Panel]:
    return [
        lines(
            "Requests", "s", "From a request's arrival to its last byte. The objective is 99 % within 0.5 s.",
            *((quantile(q, m.REQUEST_SECONDS, _MODEL, REPLICA), f"{q * 100:g} % {_OF}") for q in (0.5, 0.9, 0.99)),
            runbooks=["LatentserveLatencyBudgetBurn"], alarm=SLOW,
        ),
        lines(
            "99 % by stage", "s", "Where a slow request was slow: in the queue, in the engine, in encoding. Quantiles "
            "of stages do not add up.",
            *((quantile(0.99, metric, "", REPLICA), stage) for stage, metric in _STAGES.items()),
            runbooks=["LatentserveLatencyBudgetBurn"],
        ),
        lines(
            "Mean by stage", "s", "Means do add up, but for what the network and large answers take.",
            *((mean(metric, "", REPLICA), stage) for stage, metric in _STAGES.items()),
            runbooks=["LatentserveLatencyBudgetBurn"],
        ),
        *(
            buckets(f"{stage.capitalize()} times", "s", f"How many took how long: {stage}.", by_bucket(metric, REPLICA))
            for stage, metric in _STAGES.items()
        ),
    ]  # fmt: skip


def _batches() -> list[Panel]:
    computing = total("instance", rate(m.INFERENCE_SECONDS, REPLICA, suffix="_sum"))
    waiting, limit = (total(f"{_MODEL}, instance", of(metric, REPLICA)) for metric in (m.QUEUE_ROWS, m.QUEUE_LIMIT))
    return [
        buckets(
            "Rows of an engine call", "short", "How full batches are. Many small ones under load mean that requests "
            "do not meet; all at the limit (MAX_BATCH), that the engine is the bottleneck.",
            by_bucket(m.BATCH_ROWS, REPLICA), width=8,
        ),
        lines(
            "Mean rows of an engine call", "short", "Batch fill by model.",
            (mean(m.BATCH_ROWS, _MODEL, REPLICA), _OF),
        ),
        lines(
            "Engine busy", "percentunit", "Share of the time that a worker's engine computes. Near 1 there is nothing "
            "left: add replicas.", (f"{computing} / {total('instance', of(m.WORKERS, PROCESS))}", "{{instance}}"),
        ),
        lines(
            "Queue", "short", "Rows that wait for the engine, and how many may.",
            (total(_MODEL, of(m.QUEUE_ROWS, REPLICA)), f"waiting {_OF}"),
            (total(_MODEL, of(m.QUEUE_LIMIT, REPLICA)), f"limit {_OF}"),
            width=12, runbooks=["LatentserveQueueSaturated"],
        ),
        lines(
            "Queue, share of its limit", "percentunit", "By replica; at 1, requests are answered 429.",
            (f"{waiting} / {limit}", f"{_OF} {{{{instance}}}}"), width=12, most=1,
            runbooks=["LatentserveQueueSaturated"],
        ),
    ]  # fmt: skip


def _replicas() -> list[Panel]:
    return [
        states(
            "Scraped", "Whether Prometheus reaches the replica.",
            (f"max by (instance) ({of('up', PROCESS)})", "{{instance}}"),
            names={0: ("down", RED), 1: ("up", GREEN)}, width=8, runbooks=["LatentserveReplicaNotReady"],
        ),
        states(
            "Ready", "Verified, warmed, and its golden probes pass, in every worker.",
            (f"min by (model, version, instance) ({of(m.READY, REPLICA)})", f"{_OF} {{{{instance}}}}"),
            names={0: ("not ready", RED), 1: ("ready", GREEN)}, width=8,
            runbooks=["LatentserveReplicaNotReady", "LatentserveGoldenProbeMismatch"],
        ),
        states(
            "Signed", "Somebody who is trusted has signed the bundle that is served. Unsigned is no fault where "
            "signatures are not required.",
            (f"min by (model, version, instance) ({of(m.SIGNED, REPLICA)})", f"{_OF} {{{{instance}}}}"),
            names={0: ("unsigned", BLUE), 1: ("signed", GREEN)}, width=8,
        ),
        lines(
            "Requests by replica", "reqps", "A replica that gets less than the others is slow, or not ready.",
            (total("instance", rate(m.REQUESTS, REPLICA)), "{{instance}}"),
        ),
        lines(
            "Workers", "short", "Processes that serve, by replica.",
            (total("instance", of(m.WORKERS, PROCESS)), "{{instance}}"), runbooks=["LatentserveWorkerRestarting"],
        ),
        lines(
            "Worker restarts", "short", "Workers that started in the place of one that had ended.",
            (total("instance", increase(m.WORKER_RESTARTS, PROCESS)), "{{instance}}"),
            runbooks=["LatentserveWorkerRestarting"],
        ),
        lines(
            "Connections", "short", "Of clients, by replica and worker: idle ones move where there are fewer.",
            (total("instance, worker", of(m.CONNECTIONS, PROCESS)), "{{instance}} worker {{worker}}"),
        ),
        lines(
            "Room for what is counted", "bytes", "Free on the disk that holds a server's counts and evidence. Without "
            "any, samples are served all the same, and workers that start then are not seen.",
            (f"min by (instance) ({of(m.FREE_BYTES, PROCESS)})", "{{instance}}"),
        ),
        rows(
            "Builds", "short", "Version of the server and its Python, by replica.",
            f"max by (instance, version, python) ({of(m.BUILD, PROCESS)})", value=None, width=8,
        ),
        rows(
            "What runs", "short", "Version, provider, precision and device of every model on every replica.",
            f"max by ({_MODEL}, instance, provider, precision, device, runtime_version) ({of(m.RUNTIME, REPLICA)})",
            value=None, width=8, runbooks=["LatentserveReplicaNotReady"],
        ),
    ]  # fmt: skip


def _gpus() -> list[Panel]:
    used, free = of("DCGM_FI_DEV_FB_USED", _EVERY_GPU), of("DCGM_FI_DEV_FB_FREE", _EVERY_GPU)
    return [
        lines(
            "Utilisation", "percent", "Share of the time that a kernel ran.",
            (of("DCGM_FI_DEV_GPU_UTIL", _EVERY_GPU), _GPU), most=100,
        ),
        lines(
            "Memory", "percentunit", "Frame buffer in use.", (f"{used} / ({used} + {free})", _GPU), most=1,
        ),
        lines("Temperature", "celsius", "Of the chip.", (of("DCGM_FI_DEV_GPU_TEMP", _EVERY_GPU), _GPU)),
        lines("Power", "watt", "Draw of the board.", (of("DCGM_FI_DEV_POWER_USAGE", _EVERY_GPU), _GPU)),
        lines(
            "Clock", "hertz", "Of the multiprocessors: it falls when the chip is too hot or draws too much.",
            (f"{of('DCGM_FI_DEV_SM_CLOCK', _EVERY_GPU)} * 1e6", _GPU),
        ),
        lines(
            "Faults", "short", "The last XID error (0: none), rows of memory remapped after errors that could not be "
            "corrected, and whether a remapping failed. Weights that went bad in such memory fail the golden probes.",
            (of("DCGM_FI_DEV_XID_ERRORS", _EVERY_GPU), f"XID {_GPU}"),
            (of("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", _EVERY_GPU), f"remapped rows {_GPU}"),
            (of("DCGM_FI_DEV_ROW_REMAP_FAILURE", _EVERY_GPU), f"remapping failed {_GPU}"),
            runbooks=["LatentserveGoldenProbeMismatch"],
        ),
    ]  # fmt: skip


def _firing(severity: str) -> str:
    alerts = of("ALERTS", FLEET, 'alertname=~"Latentserve.+"', 'alertstate="firing"', f'severity="{severity}"')
    return f"count({alerts}) or vector(0)"


def _errors(by: str) -> str:
    answered, broken = total(by, rate(m.REQUESTS, REPLICA)), total(by, rate(m.REQUESTS, REPLICA, 'code=~"5.."'))
    return f"({broken} or {answered} * 0) / {answered}"
