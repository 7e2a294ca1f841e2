import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from latentserve.service.bundle import read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.watching.reference import Reference
from latentserve.training import networks
from latentserve.training.data import Dataset, load
from latentserve.training.errors import DataError, ExportError, RunError
from latentserve.training.export import export_bundle, export_run, last_look
from latentserve.training.recipe import write_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import checkpoint, loop

SAMPLES = 600  # of a reference

RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
}


# In the short form others export dense ones.
@pytest.fixture(scope="module", params=[pytest.param("dense", marks=pytest.mark.full), "convolutional"])
def run(
    request: pytest.FixtureRequest, tiny: Config, digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    config = tiny.model_copy(update={"network": request.param, "images": 320})
    folder = tmp_path_factory.mktemp(request.param)
    write_config(config, folder / "config.yaml")
    loop.train(config, digits, folder)
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    export_run(run, run / "bundle", reference_samples=SAMPLES)
    return run / "bundle"


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_a_run_becomes_a_bundle_with_its_lineage(run: Path, bundle: Path, digits: Dataset) -> None:
    manifest = read_bundle(bundle).manifest
    assert manifest.name == "tiny"
    assert manifest.labels == digits.label_names
    assert manifest.sample.shape == [1, 8, 8]
    assert manifest.lineage.dataset_sha256 == digits.description.sha256
    assert (manifest.lineage.images_seen, manifest.lineage.seed, manifest.lineage.recipe) == (320, 0, "tiny")
    assert manifest.lineage.code_revision
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    evaluation = manifest.lineage.evaluation
    assert evaluation is not None
    assert (evaluation["images"], evaluation["frechet"]) == (320, last["frechet"])
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "| frechet_floor | " in card
    privacy = evaluation["privacy"]
    for name in ("dcr", "membership"):
        low, high = privacy[name]["interval"]
        assert low <= privacy[name]["value"] <= high
        assert privacy[name]["n"] == 10_000
    told = card.partition("## Privacy")[2]
    assert f"| {privacy['dcr']['value']:.1%} | " in told
    assert "These numbers\npromise nothing" in told
    assert "privacy" not in card.partition("## Evaluation")[2].partition("## Privacy")[0]


def test_a_bundle_is_judged_by_nothing_that_came_after_it_was_saved(tmp_path: Path) -> None:
    lines = [{"images": 100, "diversity": 1.0}, {"images": 200, "frechet": 0.5}, {"images": 300, "frechet": 0.1}]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert last_look(tmp_path, 250) == {"images": 200, "frechet": 0.5}
    assert last_look(tmp_path, 150) is None


def test_onnx_gives_what_torch_gives_at_every_batch(run: Path, bundle: Path, tiny: Config, digits: Dataset) -> None:
    from latentserve.training.run import open_run

    config = open_run(run)
    generator, critic = networks.build(config, digits.description)
    checkpoint.load_networks(run / "checkpoint.safetensors", average=generator, critic=critic)
    generator.eval()
    critic.eval()
    generate, judge = session(bundle / "generator.onnx"), session(bundle / "critic.onnx")
    for batch in (1, 2, 3, 7, 64):
        z = np.random.default_rng(batch).standard_normal((batch, config.latent), np.float32)
        label = np.arange(batch) % 10
        with torch.no_grad():
            expected = generator(torch.from_numpy(z), torch.from_numpy(label))
            score, features = critic(expected, torch.from_numpy(label))
        (sample,) = generate.run(["sample"], {"z": z, "label": label})
        assert np.abs(sample - expected.numpy()).max() <= 1e-5
        got = judge.run(["score", "features"], {"sample": expected.numpy(), "label": label})
        np.testing.assert_allclose(got[0], score.numpy(), atol=1e-5)
        np.testing.assert_allclose(got[1], features.numpy(), atol=1e-5)


def test_the_golden_samples_are_torchs_own(bundle: Path) -> None:
    golden = read_bundle(bundle).golden
    assert golden.measured <= 1e-5
    assert golden.score is not None


def test_the_graph_holds_no_chance_and_no_trace_of_this_machine(bundle: Path) -> None:
    for name in ("generator.onnx", "critic.onnx"):
        model = onnx.load(bundle / name)
        assert not set(RANDOM) & {node.op_type for node in model.graph.node}
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [20]
        content = (bundle / name).read_bytes()
        for trace in (b".py", b"site-packages", torch.__version__.encode(), str(Path.cwd()).encode()):
            assert trace not in content


@pytest.mark.full  # what `make demo` exports is compared in tests/test_readme.py
@pytest.mark.parametrize("run", ["convolutional"], indirect=True)
def test_another_process_exports_the_same_bytes(run: Path, bundle: Path, tmp_path: Path) -> None:
    words = ["export", str(run), "--out", "b", "--name", "renamed", "--reference-samples", str(SAMPLES)]
    command = [sys.executable, "-c", "from latentserve.service.cli import main; main()", *words]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "b: exported; next: latentserve serve b\n"
    for name in ("generator.onnx", "critic.onnx"):
        digests = {hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (bundle, tmp_path / "b")}
        assert len(digests) == 1, name
    versions = {json.loads((folder / "manifest.json").read_text())["version"] for folder in (bundle, tmp_path / "b")}
    assert len(versions) == 1


def test_what_it_was_trained_on_is_the_real_side(run: Path, bundle: Path, digits: Dataset) -> None:
    read = read_bundle(bundle)
    assert read.reference is not None
    reference = Reference.from_bytes(read.reference, [])
    assert reference.features is not None
    assert reference.features.space.source == "critic"
    assert reference.real is not None
    assert reference.real.samples == len(digits.samples)
    # A generator of 320 images is far from them, and the critic's features tell.
    assert reference.real.distance.low > 0
    assert read.manifest.monitor is not None
    assert read.manifest.monitor.real_distance == reference.real.distance


def test_other_data_than_it_was_trained_on_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentserve.training import export

    monkeypatch.setattr(export, "load", lambda name, folder, **_: load(name, folder, "test"))
    with pytest.raises(DataError, match=r"digits: not the data that .* was trained on"):
        export_run(run, tmp_path / "bundle")


def test_too_few_real_samples_are_told_by_their_file(tiny: Config, tmp_path: Path) -> None:
    """Before the generator is exported; without them it is."""
    file = tmp_path / "points.npy"
    np.save(file, np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32))
    config = tiny.model_copy(update={"data": "files", "network": "dense", "batch": 8, "images": 64})
    (tmp_path / "run").mkdir()
    write_config(config, tmp_path / "run" / "config.yaml")
    loop.train(config, load("files", file), tmp_path / "run")
    with pytest.raises(BundleError, match=r"points.npy: holds 20 real samples; 32 are the least"):
        export_run(tmp_path / "run", tmp_path / "bundle", data=file)


def test_every_label_has_a_probe(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Labelled()
    names = [str(index) for index in range(150)]
    told = {"latent_dim": 4, "labels": names, "reference_samples": SAMPLES}
    # A vector is an array where nothing else is told.
    assert export_bundle(module, tmp_path / "b", name="b", **told).sample.kind == "array"
    golden = read_bundle(tmp_path / "b").golden
    assert golden.label is not None
    assert sorted(golden.label.tolist()) == list(range(150))
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(golden.z), torch.from_numpy(golden.label))
    np.testing.assert_allclose(golden.sample, expected.numpy(), atol=1e-6)


def test_real_samples_of_another_shape_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"real: real samples of shape \[50, 3\].*\[n, 2\] are needed"):
        export_bundle(nn.Linear(3, 2), tmp_path / "b", name="b", latent_dim=3, real=np.zeros((50, 3)))


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run with a checkpoint"):
        export_run(tmp_path, tmp_path / "bundle")


class Decoder(nn.Module):
    """Somebody's unconditional generator of RGB images."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 48), nn.BatchNorm1d(48), nn.Dropout(0.5), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).reshape(-1, 3, 4, 4)


class Judge(nn.Module):
    """Somebody's critic: a score alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 1)

    def forward(self, sample: Tensor) -> Tensor:
        return self.layer(sample.flatten(1)).squeeze(1)


@pytest.mark.parametrize("critic", [pytest.param(None, marks=pytest.mark.full), Judge()])
def test_any_module_becomes_a_bundle_and_keeps_its_mode(tmp_path: Path, critic: nn.Module | None) -> None:
    torch.manual_seed(0)
    module = Decoder()
    module.layers[1].eval()  # a mode of its own, which must be kept
    told = {"name": "decoder", "latent_dim": 6, "reference_samples": SAMPLES}
    export_bundle(module, tmp_path / "b", prior="uniform", critic=critic, **told)
    assert module.training
    assert module.layers[2].training
    assert not module.layers[1].training
    bundle = read_bundle(tmp_path / "b")
    assert bundle.manifest.labels is None
    assert bundle.manifest.sample.channels == "RGB"
    assert bundle.manifest.sample.value_range == (0, 1)
    assert (bundle.critic_file is None) == (critic is None)
    z = np.random.default_rng(0).uniform(-1, 1, (5, 6)).astype(np.float32)
    (sample,) = session(tmp_path / "b" / "generator.onnx").run(["sample"], {"z": z})
    with torch.no_grad():
        np.testing.assert_allclose(sample, module.eval()(torch.from_numpy(z)).numpy(), atol=1e-5)


def test_a_vector_may_be_a_table(tmp_path: Path) -> None:
    told = {"latent_dim": 3, "reference_samples": SAMPLES, "kind": "table", "columns": ["age", "income"]}
    table = export_bundle(nn.Linear(3, 2), tmp_path / "t", name="t", **told)
    assert [column.name for column in table.sample.columns or []] == ["age", "income"]
    assert table.monitor is not None
    assert table.monitor.signals == ["column:age", "column:income"]


class Labelled(nn.Module):
    """A generator of vectors for 150 labels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.embedding = nn.Linear(4, 6), nn.Embedding(150, 6)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(self.layer(z) + self.embedding(label))


class Noisy(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z + float(np.random.default_rng().normal())  # no chance of torch's


class Mixing(nn.Module):
    """Subtracts the batch's mean: what a row becomes depends on its neighbours."""

    def forward(self, z: Tensor) -> Tensor:
        return z - z.mean(0, keepdim=True)


class Whole(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.sum()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Noisy(), "generator: gives two answers for the same inputs"),
        (Mixing(), "generator: .* rows depend on what shares their batch"),
        (Whole(), r"generator: gives torch.float32 \[\] .* float32 \[batch, ...\] is needed"),
        (nn.Linear(5, 2), r"generator: forward of shapes \[2, 3\] fails: mat1 and mat2"),
    ],
)
def test_a_module_that_cannot_be_served_is_told_why(tmp_path: Path, module: nn.Module, words: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        export_bundle(module, tmp_path / "b", name="b", latent_dim=3)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()
