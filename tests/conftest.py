"""Fixtures for all tests: bundles made on the spot, servers as processes, and data where it is there."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from latentserve.service.bundle import Condition, Latent, LatentPart, SampleSpec
from latentserve.service.packing.assemble import assemble_bundle
from tests.generators import dense_critic, dense_generator
from tests.server import Server

# A shell tells what it runs in the background to pass ^C by, and that is inherited: servers under test are sent it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines are of all speeds, so no example of a property test has a deadline.
SHORT = 16
settings.register_profile("short", deadline=None, max_examples=SHORT)
settings.register_profile("full", deadline=None, max_examples=60)


def examples(whole: int) -> int:
    """How many examples of a property that has so many in the long form."""
    return min(whole, SHORT) if settings.default.max_examples == SHORT else whole


LABELS = [f"digit {index}" for index in range(10)]

# Next to nothing of what is imported is garbage, and looking for it takes a third of the time of collecting tests.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("short" if "not full" in config.option.markexpr else "full")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    if config.option.dist != "loadfile":
        return None
    from tests.scheduling import LoadRoomScheduling

    return LoadRoomScheduling(config, log)  # type: ignore[arg-type]


def pytest_collection_finish() -> None:
    """What all tests have imported stays: no search for garbage need look at it again."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)  # an export makes some million objects, which are looked at over and over else


@pytest.fixture(scope="session", autouse=True)
def _priority() -> Iterator[None]:
    """Commands that run in this process leave it the priority that it has: it could not take it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.nice", lambda _by: 0)
        yield


def make_bundle(out: Path, name: str = "toy", **options: object) -> Path:
    """A conditional image bundle with a critic, made in a second."""
    given: dict[str, object] = {
        "generator": dense_generator().SerializeToString(),
        "critic": dense_critic().SerializeToString(),
        "latent": Latent(dim=8),
        "labels": LABELS,
        "sample": SampleSpec(kind="image", shape=[1, 8, 8], value_range=(-1, 1), channels="L"),
        "reference_samples": 2000,
    }
    assemble_bundle(out, name=name, **{**given, **options})  # type: ignore[arg-type]
    return out


def make_shower(out: Path, name: str = "shower", **options: object) -> Path:
    """A bundle of everything that a row can be made from: two latents, one of them uniform on (0, 1), noise, labels and
    conditions."""
    sample = options.pop("sample", SampleSpec(kind="image", shape=[1, 8, 8], value_range=(-1, 1), channels="L"))
    assert isinstance(sample, SampleSpec)
    generator = dense_generator(dim=12, shape=tuple(sample.shape), labels=3, conditions=2).SerializeToString()
    given = {
        "generator": generator,
        "critic": None,
        "latent": SHOWER_LATENT,
        "labels": ["electron", "photon", "pion"],
        "label_prior": [0.5, 0.3, 0.2],
        "conditions": SHOWER_CONDITIONS,
        "sample": sample,
        "reference_samples": 64,
    }
    return make_bundle(out, name, **{**given, **options})


SHOWER_LATENT = Latent(
    dim=12,
    parts=[
        LatentPart(name="z", shape=[4]),
        LatentPart(name="phase", shape=[3], prior="uniform", shift=0.5, scale=0.5),
        LatentPart(name="noise", shape=[1, 5], noise=True),
    ],
)
SHOWER_CONDITIONS = [
    Condition(name="energy", unit="GeV", range=(0.1, 100), prior="log-uniform"),
    Condition(name="angle", range=(-0.7, 0.7)),
]


Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """What is never to be changed, by a name: the process of the run that asks first makes it, at a path of that name,
    and all have it."""
    base = tmp_path_factory.getbasetemp()
    top = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    top.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path, done = top / name, top / f"{name}.done"
        with (top / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)  # half of it, where making it failed
                make(path)
                done.touch()
        return path

    return made


@pytest.fixture(scope="session")
def bundle(shared: Shared) -> Path:
    """A good bundle, never to be changed."""
    return shared("toy", make_bundle)


@pytest.fixture(scope="session")
def plain_bundle(shared: Shared) -> Path:
    """An unconditional array bundle without a critic."""
    options = {
        "name": "plain",
        "generator": dense_generator(dim=5, shape=(6,), labels=None).SerializeToString(),
        "critic": None,
        "latent": Latent(dim=5, prior="uniform"),
        "labels": None,
        "sample": SampleSpec(kind="array", shape=[6]),
    }
    return shared("plain", lambda path: make_bundle(path, **options))


@pytest.fixture(scope="session")
def shower_bundle(shared: Shared) -> Path:
    """What `make_shower` makes, of images."""
    return shared("shower", make_shower)


@pytest.fixture(scope="session")
def server(bundle: Path, plain_bundle: Path) -> Iterator[Server]:
    """A server of both bundles that tests share; they must leave it as they found it."""
    with Server(bundle, plain_bundle) as running:
        yield running


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Start servers of a test's own, stopped at its end."""
    with ExitStack() as stack:
        yield lambda *bundles, **settings: stack.enter_context(Server(*bundles, **settings))


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """MNIST's IDX files; TEST_DATA_FOLDER names the folder above them."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TEST_DATA_FOLDER", beside)) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no MNIST in {folder}; set TEST_DATA_FOLDER")
    return folder
