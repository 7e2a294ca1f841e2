import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file

from latentserve.training.data import Dataset
from latentserve.training.errors import MetricsPortError
from latentserve.training.recipe.config import Config
from latentserve.training.reporting import metrics
from latentserve.training.reporting.stats import Stats
from latentserve.training.run.loop import train

OF = {"recipe": "tiny", "run": "run"}
LINE = {"images": 200, "seconds": 1.5, "timestamp": 4_000_000_000, "images_per_second": 150.0, "critic_loss": 0.7}


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(f"latentserve_training_{name}", OF | labels)


def scrape(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = list(text_string_to_metric_families(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


@pytest.fixture
def shown() -> metrics.RunMetrics:
    return metrics.RunMetrics("tiny", "run", images=1000)


def test_counters_are_there_at_0_and_gauges_come_with_the_first_line(shown: metrics.RunMetrics) -> None:
    assert [value(name) for name in ("images_total", "seconds_total", "nonfinite_steps_total")] == [0, 0, 0]
    assert value("info") == 1
    assert value("images_planned") == 1000
    assert value("last_step_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert value("diversity") is None
    shown.show(LINE)
    assert value("loss", player="critic") == 0.7
    assert value("loss", player="generator") is None


def test_the_folder_that_another_program_shares_its_metrics_in_is_none_of_a_runs(tmp_path: Path) -> None:
    code = "from latentserve.training.reporting.metrics import RunMetrics; RunMetrics('tiny', 'run', images=1)"
    for folder in (tmp_path, tmp_path / "nowhere"):
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_lines_add_up_to_the_run(shown: metrics.RunMetrics) -> None:
    shown.show(LINE | {"nonfinite_steps": 2})
    shown.show({"images": 500, "seconds": 4.0, "timestamp": 4_000_000_009, "nonfinite_steps": 1})
    assert [value(name) for name in ("images_total", "seconds_total", "nonfinite_steps_total")] == [500, 4.0, 3]
    assert value("last_step_timestamp_seconds") == 4_000_000_009
    assert math.isnan(value("loss", player="critic") or 0)  # a number that is gone is not shown for ever


def test_a_resumed_run_shows_what_it_had_reported_and_has_not_stalled(
    shown: metrics.RunMetrics, tmp_path: Path
) -> None:
    lines = [LINE | {"timestamp": 1}, LINE | {"images": 400, "seconds": 3.0, "timestamp": 2}, LINE | {"images": 600}]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Stats(tmp_path / "stats.jsonl", images_seen=400, sinks=[shown.show])
    assert value("images_total") == 400
    assert value("seconds_total") == 3.0
    assert value("last_step_timestamp_seconds") == pytest.approx(time.time(), abs=60)


def test_another_run_in_the_process_leaves_nothing_of_the_first(shown: metrics.RunMetrics) -> None:
    shown.show(LINE)
    metrics.RunMetrics("other", "run", images=5)
    assert value("images_total") is None
    assert value("loss", player="critic") is None


def test_the_weights_are_the_same_and_prometheus_says_what_stats_say(
    tiny: Config, digits: Dataset, finished: Path, tmp_path: Path
) -> None:
    """Scraped all the time while it trains, and once after the last line."""
    watched = tmp_path / "run"
    watched.mkdir()

    stop = threading.Event()
    scrapes = []

    def keep_scraping(port: int) -> None:
        while not stop.is_set():
            scrapes.append(scrape(port))

    with metrics.served(0) as port:
        scraper = threading.Thread(target=keep_scraping, args=(port,))
        scraper.start()
        try:
            train(tiny, digits, watched, sinks=[metrics.RunMetrics("tiny", "run", tiny.images).show])
        finally:
            stop.set()
            scraper.join()
        seen = scrape(port)

    assert len(scrapes) > 1
    one, other = (load_file(folder / "checkpoint.safetensors") for folder in (finished, watched))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name

    last = json.loads((watched / "stats.jsonl").read_text().splitlines()[-1])
    # In other recipes, and data that have a held-out part.
    elsewhere = {"gradient_penalty", "augmentation", "shown_lead"}
    elsewhere |= {field for field in metrics.GAUGES if field.startswith("held_out")}
    assert metrics.GAUGES.keys() - last.keys() == elsewhere
    for field in metrics.GAUGES.keys() & last.keys():
        gauge, label = metrics.GAUGES[field]
        (family,) = gauge.describe()
        assert seen[family.name, frozenset((OF | label).items())] == last[field], field
    total = {name: seen[f"latentserve_training_{name}", frozenset(OF.items())] for name in ("images_total", "info")}
    assert total == {"images_total": last["images"], "info": 1}
    assert seen["latentserve_training_last_step_timestamp_seconds", frozenset(OF.items())] >= last["timestamp"]


def test_a_taken_port_is_named_and_a_served_one_is_free_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MetricsPortError, match=rf"--metrics-port {port}: .*in use"), metrics.served(port):
            pass
    with metrics.served(0) as port:
        scrape(port)
    with metrics.served(port) as again:
        assert again == port
