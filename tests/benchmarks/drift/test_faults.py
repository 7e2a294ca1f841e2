"""The fault injector: every faulty bundle loads and runs, and is faulty in the way it says, and in no other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import stats

from benchmarks.drift import faults
from benchmarks.drift.faults import CASES, Fault
from latentserve.service.bundle import Bundle, Inputs, Latent, read_bundle
from latentserve.service.http.body import parse_body
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.fields import rows_request
from latentserve.service.sampling.request import RowsRequest
from tests.conftest import make_bundle
from tests.generators import dense_generator

ROWS = 10_000
SIGMAS = 5  # of a binomial share, that one may be off

Inject = Callable[..., Bundle]


@pytest.fixture(scope="module")
def deep_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose generator has layers within, to be quantised."""
    folder = tmp_path_factory.mktemp("bundles") / "deep"
    return make_bundle(folder, "deep", generator=dense_generator(depth=2).SerializeToString())


@pytest.fixture
def inject(tmp_path: Path) -> Inject:
    """Make a faulty bundle, and read it as the server would."""

    def make(fault: Fault, source: Path, seed: int = 0) -> Bundle:
        out = tmp_path / f"faulty-{seed}"
        fault(source, out, np.random.default_rng(seed))
        return read_bundle(out)

    return make


def weights(bundle: Bundle) -> dict[str, NDArray[Any]]:
    graph = onnx.load_model_from_string(bundle.generator).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def samples(bundle: Bundle, n: int = ROWS) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Samples of fresh latents, and their labels."""
    inputs = RowsRequest(n=n, seed=77).inputs(bundle.manifest, 0, n)
    return Engine(bundle, "cpu").generate(inputs), inputs.label


def assert_share(found: float, share: float, n: int, slack: float = 0.0) -> None:
    assert abs(found - share) <= SIGMAS * np.sqrt(share * (1 - share) / n) + slack


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.fault is not None])
def test_all_but_the_generator_is_the_healthy_bundles(inject: Inject, deep_bundle: Path, name: str) -> None:
    fault = CASES[name].fault
    assert fault is not None
    # Seed 1: with seed 0 the flipped weight is one that no golden latent reaches.
    healthy, faulty = read_bundle(deep_bundle), inject(fault, deep_bundle, seed=1)
    assert faulty.generator != healthy.generator
    assert faulty.manifest.version != healthy.manifest.version
    assert faulty.critic == healthy.critic
    assert faulty.reference == healthy.reference
    assert faulty.manifest.monitor == healthy.manifest.monitor
    for field in ("name", "latent", "labels", "sample", "license"):
        assert getattr(faulty.manifest, field) == getattr(healthy.manifest, field)
    np.testing.assert_array_equal(faulty.golden.sample, healthy.golden.sample)
    engine = Engine(faulty, "cpu")
    engine.warm_up()
    passes = np.max(engine.probe()) <= faulty.golden.tolerance
    # A region without golden latents is not for the probes to find; whatever else is faulty they must.
    assert passes == (CASES[name].cause in ("none", "unknown") or name.startswith("NaN"))
    if name != "fp16 within tolerance":
        assert faulty.golden.to_bytes() == healthy.golden.to_bytes()


@pytest.mark.parametrize("bit", [0, 22, 30, 31, None])
def test_a_flip_changes_one_bit(inject: Inject, bundle: Path, bit: int | None) -> None:
    before, after = (
        weights(read) for read in (read_bundle(bundle), inject(partial(faults.flip_bit, bit=bit), bundle, seed=4))
    )
    assert before.keys() == after.keys()
    changes = []
    for name, values in before.items():
        as_words = np.uint32 if values.dtype == np.float32 else np.uint64
        changes += (values.view(as_words) ^ after[name].view(as_words)).ravel().tolist()
    (change,) = [word for word in changes if word]
    assert change.bit_count() == 1
    assert bit is None or change == 1 << bit


def test_a_zeroed_channel_is_one_hidden_unit_or_pixel(inject: Inject, bundle: Path) -> None:
    healthy = weights(read_bundle(bundle))
    seen = set()
    for seed in range(8):
        faulty = weights(inject(faults.zero_channel, bundle, seed))
        (name,) = [name for name in healthy if not np.array_equal(healthy[name], faulty[name])]
        zero = np.flatnonzero((faulty[name] == 0).all(axis=0))  # all of them are matrices, with columns for outputs
        assert len(zero) == 1
        kept = np.delete(faulty[name], zero, axis=1)
        np.testing.assert_array_equal(kept, np.delete(healthy[name], zero, axis=1))
        seen.add(name)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("operator", "attributes", "shape", "zeroed"),
    [
        ("MatMul", {}, (3, 5), 3),
        ("Gemm", {}, (3, 5), 3),
        ("Gemm", {"transB": 1}, (5, 3), 3),
        ("Conv", {}, (5, 3, 2, 2), 12),
        ("ConvTranspose", {}, (3, 5, 2, 2), 12),
    ],
    ids=str,
)
def test_which_axis_has_the_channels(
    operator: str, attributes: dict[str, int], shape: tuple[int, ...], zeroed: int
) -> None:
    """Three inputs, five outputs, in each operator's own order: a channel is what one output is made from."""
    node = onnx.helper.make_node(operator, ["z", "w"], ["sample"], **attributes)
    model = onnx.ModelProto(graph=onnx.GraphProto(node=[node]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), "w"))
    faults.weights.zero_channel_in(model, np.random.default_rng(0))
    assert (numpy_helper.to_array(model.graph.initializer[0]) == 0).sum() == zeroed


def test_noise_has_the_size_asked_for() -> None:
    model = dense_generator(hidden=64)
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    faults.weights.add_noise_in(model, np.random.default_rng(0), 1e-3)
    for tensor in model.graph.initializer:
        if tensor.dims != before[tensor.name].shape or len(tensor.dims) < 2:
            continue
        noise = (numpy_helper.to_array(tensor) - before[tensor.name]).std()
        assert noise == pytest.approx(1e-3 * np.sqrt(np.mean(before[tensor.name] ** 2)), rel=0.2)


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05])
@pytest.mark.parametrize("prior", ["bundle", "plain_bundle"])
def test_nan_at_the_rate_asked_for(inject: Inject, request: pytest.FixtureRequest, prior: str, rate: float) -> None:
    source = request.getfixturevalue(prior)
    healthy, _ = samples(read_bundle(source))
    found, _ = samples(inject(partial(faults.nan_at_rate, rate=rate), source))
    bad = np.isnan(found.reshape(ROWS, -1))
    assert np.array_equal(bad.any(axis=1), bad.all(axis=1))
    # A uniform prior's quantile comes from 100,000 latents: the share is off by that much more.
    assert_share(bad.all(axis=1).mean(), rate, ROWS, slack=SIGMAS * np.sqrt(rate / 1e5))
    good = ~bad.all(axis=1)
    np.testing.assert_allclose(found[good], healthy[good], atol=1e-5)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "half"])
@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_a_dropped_region(inject: Inject, tmp_path: Path, prior: str, whole: bool) -> None:
    """The share of rows that change is the region's, and they look like the rows that do not."""
    given = {"generator": dense_generator(labels=None).SerializeToString(), "critic": None, "labels": None}
    source = make_bundle(tmp_path / "source", latent=Latent(dim=8, prior=prior), **given)  # type: ignore[arg-type]
    faulty = inject(partial(faults.drop_mode, share=0.1, whole=whole), source)
    assert np.max(Engine(faulty, "cpu").probe()) <= faulty.golden.tolerance
    healthy, _ = samples(read_bundle(source))
    found, _ = samples(faulty)
    changed = np.abs(found - healthy).reshape(ROWS, -1).max(axis=1) > faulty.golden.tolerance
    share = 0.1 if whole else 0.05
    assert_share(changed.mean(), share, ROWS, slack=0.02 * share)
    z, *_ = RowsRequest(n=ROWS, seed=77).inputs(faulty.manifest, 0, ROWS)
    np.testing.assert_allclose(found[changed], Engine(faulty, "cpu").generate(Inputs(-z[changed])), atol=1e-5)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "half"])
def test_a_dropped_label(inject: Inject, bundle: Path, whole: bool) -> None:
    faulty = inject(partial(faults.drop_mode, whole=whole), bundle)
    assert np.max(Engine(faulty, "cpu").probe()) <= faulty.golden.tolerance
    healthy, label = samples(read_bundle(bundle))
    found, _ = samples(faulty)
    assert label is not None
    changed = np.abs(found - healthy).reshape(ROWS, -1).max(axis=1) > faulty.golden.tolerance
    (dropped,) = np.unique(label[changed])
    of_it = label == dropped
    assert_share(changed[of_it].mean(), 0.995 if whole else 0.5, int(of_it.sum()), slack=0.005)
    # They are one other label's.
    z, *_ = RowsRequest(n=ROWS, seed=77).inputs(faulty.manifest, 0, ROWS)
    engine = Engine(read_bundle(bundle), "cpu")
    same = [
        np.allclose(found[changed], engine.generate(Inputs(z[changed], np.full(changed.sum(), other))), atol=1e-5)
        for other in range(10)
    ]
    assert same.count(True) == 1
    assert not same[dropped]


def test_what_cannot_be_is_refused(bundle: Path, plain_bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no region"):
        faults.nan_at_rate(bundle, tmp_path / "out", rng, rate=0.99)
    with pytest.raises(ValueError, match="fewer than two"):
        next(faults.label_mix(read_bundle(plain_bundle).manifest, 1, 0))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", CASES)
def test_traffic_is_what_the_server_takes(bundle: Path, plain_bundle: Path, name: str) -> None:
    for manifest in (read_bundle(bundle).manifest, read_bundle(plain_bundle).manifest):
        if CASES[name].conditional and manifest.labels is None:
            continue
        bodies = list(itertools.islice(CASES[name].traffic(manifest, 7, 3), 3))
        for body in bodies:
            fields = json.dumps(body).encode()
            assert rows_request(parse_body(fields), manifest, max_n=7).n == 7
        again = itertools.islice(CASES[name].traffic(manifest, 7, 3), 3)
        assert bodies == list(again)


def test_latents_are_wide_truncated_or_repeated(bundle: Path, plain_bundle: Path) -> None:
    normal, uniform = (read_bundle(path).manifest for path in (bundle, plain_bundle))

    def latents(traffic: faults.Traffic, manifest: Any = normal) -> NDArray[np.float64]:
        return np.array([body["latents"] for body in itertools.islice(traffic(manifest, 100, 0), 20)])

    assert stats.kstest(latents(faults.wide_latents).ravel(), stats.norm(0, 1.1).cdf).pvalue > 1e-3
    wide = latents(faults.wide_latents, uniform).ravel()
    assert stats.kstest(wide, stats.uniform(-1.1, 2.2).cdf).pvalue > 1e-3
    truncated = latents(faults.truncated_latents).ravel()
    assert np.abs(truncated).max() < 1.0365  # the central 70 % of N(0, 1)
    assert len(np.unique(truncated)) > 15_000
    repeated = latents(faults.repeated_latent).reshape(-1, 8)
    assert len(np.unique(repeated, axis=0)) == 1


def test_labels_are_mixed_as_asked(bundle: Path) -> None:
    manifest = read_bundle(bundle).manifest
    for shares, expected in ((None, [0.5, *[0.5 / 9] * 9]), ([3, 1, *[0] * 8], [0.75, 0.25, *[0] * 8])):
        bodies = itertools.islice(faults.label_mix(manifest, 100, 0, shares), 50)
        labels = np.concatenate([body["labels"] for body in bodies])
        for label, share in enumerate(expected):
            assert_share(np.mean(labels == label), share, len(labels))
