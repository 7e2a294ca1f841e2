"""What is the supervisor worth? Runs that are given a fault, with it and without it, and healthy ones.

    python -m benchmarks supervision --adult adult.csv.gz --mnist MNIST_FOLDER --processes 2

Faults and the names they may be called by are in `benchmarks/training/faults.py`, healthy runs in
`benchmarks/training/healthy.py`. A run with a fault sees the first of every two
of the test half's digits as its held-out part, and is judged by the others: Frechet distance and agreement with a
classifier, of 2,000 samples of the averaged generator that is left at the end. Each run has a thread of its own, and
`--processes` says how many there are at a time. First come the faults, then the healthy runs seed by seed, and at last
those without a supervisor that their weights are held against. Each is written down as it ends; what is written down is
not done again, as long as the supervisor is the one it was.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import tempfile
import time
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.environments import AbsentError
from benchmarks.runner import Results
from benchmarks.training import healthy
from benchmarks.training.faults import FAULTS, HEALTHY, TINY, Clock, unlabelled
from benchmarks.training.supervision_report import report
from latentserve.training import networks, supervising
from latentserve.training.data import Dataset, load
from latentserve.training.errors import DivergedError
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, checkpoint, loop
from latentserve.training.supervising import read_journal
from latentserve.training.watching.space import Space

__all__ = ["RESUMES", "SHORT", "TITLE", "measure", "options", "report"]

TITLE = "What the supervisor is worth"
RESUMES = SHORT = True

Record = dict[str, Any]

SEEDS = range(300, 305)  # thresholds were tuned on seeds 0 to 4, and mended after 100 to 104 and 200 to 204
SAMPLES = 2_000
SAMPLE_SEED = 20_000  # added to a run's seed


class Job(NamedTuple):
    """A run: with a fault that has a name, or healthy of a kind that has one."""

    part: str  # of the results: `faulty`; `healthy`, and `plain` without a supervisor
    name: str
    seed: int
    supervise: str


class Judge:
    """Says how good samples of digits are, by reals that no run has seen."""

    def __init__(self) -> None:
        train, test = load("digits", None), load("digits", None, "test")
        self.held_out = test.subset(np.arange(0, len(test), 2))
        judged_by = test.subset(np.arange(1, len(test), 2))
        reals = judged_by.take(slice(None))
        self._space = Space(reals, judged_by.labels, 10, standardise=False)
        self._plain_space = Space(reals, judged_by.labels, 0, standardise=False)
        images = train.take(slice(None)).reshape(len(train), -1)
        self._classifier = LogisticRegression(max_iter=2000).fit(images, train.labels)

    def of(self, run: Path, config: Config, dataset: Dataset) -> Record:
        """Of the averaged generator that a run left, or of an untrained one where it left none.

        Where the run had no labels, there is none to agree with: instead, how many of the ten classes the samples are
        of, as the exponential of the entropy of their shares, over ten.
        """
        torch.manual_seed(config.seed)
        average = networks.build(config, dataset.description)[0].eval()
        if (run / CHECKPOINT).exists():
            checkpoint.load_networks(run / CHECKPOINT, average=average)
        labels = np.arange(SAMPLES) % 10
        z = np.random.default_rng(SAMPLE_SEED + config.seed).standard_normal((SAMPLES, config.latent), np.float32)
        with torch.no_grad():
            samples = average(torch.from_numpy(z), torch.from_numpy(labels)).numpy()
        if not np.isfinite(samples).all():
            return {"frechet": None, "agreement": 0.0}
        predicted = self._classifier.predict(samples.reshape(SAMPLES, -1))
        if not dataset.label_names:
            shares = np.bincount(predicted, minlength=10) / SAMPLES
            classes = float(np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()))
            return {"frechet": self._plain_space.distance(samples, labels), "agreement": classes / 10}
        return {"frechet": self._space.distance(samples, labels), "agreement": float((predicted == labels).mean())}


@cache
def judge_of_this_process() -> Judge:
    return Judge()


def faulty(judge: Judge, name: str, seed: int, supervise: str) -> Record:
    """One run with a fault, or its healthy sibling."""
    fault = (FAULTS | HEALTHY)[name]
    config = load_config("digits", (*TINY, *fault.overrides, f"seed={seed}", f"supervise='{supervise}'"))
    dataset = fault.data(load("digits", None), seed)
    inject = nullcontext() if fault.inject is None else fault.inject(config, dataset, Clock())
    with tempfile.TemporaryDirectory() as folder, inject:
        run = Path(folder)
        began = time.process_time()
        try:
            unseen = judge.held_out if dataset.label_names else unlabelled(judge.held_out, seed)
            images = loop.train(config, dataset, run, held_out=unseen)
        except DivergedError:
            images = -1
        journal = read_journal(run)
        first = next((action.images for action in journal if action.fault in fault.accepted), None)
        return {
            "fault": name,
            "seed": seed,
            "supervise": supervise,
            "images": images,
            **judge.of(run, config, dataset),
            "detected_after": None if first is None else first - fault.since * config.images,
            "journal": [
                [action.images, action.fault, action.action, action.before, action.after] for action in journal
            ],
            "cpu_seconds": round(time.process_time() - began, 1),
        }


def _supervisor() -> str:
    """The SHA-256 of all that decides what the supervisor does."""
    digest = hashlib.sha256()
    for file in sorted(Path(supervising.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faults", choices=tuple(FAULTS), nargs="*", default=list(FAULTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS), help="of runs with a fault")
    parser.add_argument("--no-healthy", action="store_true")
    parser.add_argument("--kinds", choices=tuple(healthy.KINDS), nargs="*", default=list(healthy.KINDS))
    parser.add_argument("--adult", type=Path, help="adult.csv.gz; without it, its runs are left out")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX files; without it, its runs are left out")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")


def measure(given: argparse.Namespace, results: Results) -> None:
    """All runs that are not written down. The short form is the first seventh of one healthy run of each kind, and one
    seed of the faults."""
    supervisor = _supervisor()
    if (results.get("faulty") or results.get("healthy")) and results.get("supervisor") != supervisor:
        raise AbsentError("what is written down is of another supervisor: another --out, or begin anew")
    results["supervisor"] = supervisor
    for part in ("faulty", "healthy", "plain"):
        results.setdefault(part, [])
    jobs = [job for job in _jobs(given) if not _is_done(job, results)]
    if not jobs:
        return
    folders = {name: path for name in ("adult", "mnist") if (path := getattr(given, name)) is not None}
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # what runs have; the classifier, too
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        done = pool.imap_unordered(partial(_do, folders=folders, short=given.short), jobs)
        for count, (job, record) in enumerate(done, 1):
            took = "its data are not here"
            if record is not None:
                results[job.part].append(record)
                _compare(results)
                results.save()
                took = f"{record['cpu_seconds']:.0f} s, {_changes(record)}"
            print(f"{count} of {len(jobs)}: {job.name}, seed {job.seed}, {job.supervise}: {took}", flush=True)


def _jobs(given: argparse.Namespace) -> list[Job]:
    """In their order."""
    seeds = given.seeds[:1] if given.short else given.seeds
    jobs = [
        Job("faulty", name, seed, supervise)
        for seed in seeds
        for name in (*HEALTHY, *given.faults)
        for supervise in (("off",) if name in HEALTHY else ("off", "act"))
    ]
    kinds = () if given.no_healthy else given.kinds
    plain = dict.fromkeys(healthy.weights_of(kind) for kind in kinds)
    of_healthy = healthy.SEEDS[:1] if given.short else healthy.SEEDS
    jobs += [Job("healthy", kind, seed, "act") for seed in of_healthy for kind in kinds]
    return jobs + [Job("plain", kind, seed, "off") for seed in of_healthy for kind in plain]


def _is_done(job: Job, results: Results) -> bool:
    if job.part == "faulty":
        return any((one["fault"], one["seed"], one["supervise"]) == job[1:] for one in results[job.part])
    return any((one["recipe"], one["seed"]) == (job.name, job.seed) for one in results[job.part])


def _do(job: Job, folders: dict[str, Path], short: bool) -> tuple[Job, Record | None]:
    """In a process of its own."""
    if job.part == "faulty":
        return job, faulty(judge_of_this_process(), *job[1:])
    return job, healthy.run(*job[1:], folders, short)


def _compare(results: Results) -> None:
    """Say of healthy runs whether their weights are those without a supervisor, as soon as these are known."""
    known = {(one["recipe"], one["seed"]): one["weights"] for one in results["plain"]}
    for one in results["healthy"]:
        plain = known.get((healthy.weights_of(one["recipe"]), one["seed"]))
        one["same_weights"] = None if plain is None else plain == one["weights"]


def _changes(record: Record) -> str:
    if "fault" in record:
        return f"Frechet {record['frechet']:.3f}" if record["frechet"] is not None else "not finite"
    told = [name for _, _, name in record["actions"]]
    return f"{sum(name != 'tell' for name in told)} changes, {told.count('tell')} wrong alarms"
