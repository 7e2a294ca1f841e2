"""One way to run a benchmark and to write down what it found."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import runner
from benchmarks.machine import describe_machine, named


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Counts how often it was run."""
    module = ModuleType("counting", "Count.")
    module.TITLE, module.RESUMES = "Counting", True  # type: ignore[attr-defined]

    def measure(given: object, results: runner.Results) -> None:
        results["runs"] = [*results.get("runs", []), {"number": len(results.get("runs", []))}]

    module.measure = measure  # type: ignore[attr-defined]
    module.report = lambda results: [f"{len(results['runs'])} runs."]  # type: ignore[attr-defined]
    monkeypatch.setattr(runner.importlib, "import_module", lambda name: module)
    monkeypatch.setitem(runner.BENCHMARKS, "counting", "counting")
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    return module


def test_results_say_on_what_and_how_they_were_measured(benchmark: ModuleType, tmp_path: Path) -> None:
    runner.main(["counting"])
    results = json.loads((tmp_path / "counting.json").read_text())
    page = (tmp_path / "counting.md").read_text()
    assert results["command"] == "python -m benchmarks counting"
    assert results["machine"]["cores"] >= 1
    assert {"latentserve", "onnxruntime"} <= results["versions"].keys()
    assert page.startswith("# Counting\n\n")
    for said in (
        results["machine"]["processor"],
        *results["machine"]["instructions"],
        "1 runs.",
        "`python -m benchmarks",
    ):
        assert said in page
    assert f"onnxruntime {results['versions']['onnxruntime']}" in page


def test_paths_are_shown_by_their_last_part(benchmark: ModuleType, tmp_path: Path) -> None:
    runner.main(["counting", "--out", str(tmp_path / "elsewhere")])
    assert "counting --out elsewhere`" in (tmp_path / "elsewhere.md").read_text()


def test_what_resumes_goes_on_but_not_on_another_machine(benchmark: ModuleType, tmp_path: Path) -> None:
    runner.main(["counting"])
    runner.main(["counting"])
    file = tmp_path / "counting.json"
    results = json.loads(file.read_text())
    assert [run["number"] for run in results["runs"]] == [0, 1]
    results["machine"]["instructions"] = ["none"]
    file.write_text(json.dumps(results))
    with pytest.raises(SystemExit):
        runner.main(["counting"])
    assert json.loads(file.read_text()) == results
    benchmark.RESUMES = False  # type: ignore[attr-defined]
    runner.main(["counting"])
    assert len(json.loads(file.read_text())["runs"]) == 1


def test_the_page_is_made_again_of_the_results_alone(benchmark: ModuleType, tmp_path: Path) -> None:
    runner.main(["counting"])
    page = (tmp_path / "counting.md").read_text()
    (tmp_path / "counting.md").unlink()
    runner.main(["counting", "--report"])
    assert (tmp_path / "counting.md").read_text() == page
    assert len(json.loads((tmp_path / "counting.json").read_text())["runs"]) == 1


def test_without_a_name_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.main([])
    assert all(f"\n  {name}\n" in capsys.readouterr().out for name in list(runner.BENCHMARKS)[:1])


@pytest.mark.parametrize("name", runner.BENCHMARKS)
def test_each_has_what_a_benchmark_has_and_its_last_results_make_its_page(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs latentserve[training]")
    module = __import__(f"benchmarks.{runner.BENCHMARKS[name]}", fromlist=["TITLE"])
    assert f"python -m benchmarks {name}" in (module.__doc__ or "")
    assert module.TITLE
    assert callable(module.measure)
    assert callable(module.report)
    file = runner.RESULTS / f"{name}.json"
    if file.exists():
        results = runner.Results(module, tmp_path / name, json.loads(file.read_text()))
        results.save()
        assert (tmp_path / f"{name}.md").read_text() == file.with_suffix(".md").read_text()
        assert (tmp_path / f"{name}.json").read_text() == file.read_text()


def test_a_record_has_a_line_and_json_says_the_same() -> None:
    value = {
        "a": 1,
        "records": [{"x": index, "words": ["y"] * 9} for index in range(9)],
        "none": [],
        "deep": [[1], [2]],
    }
    text = runner.lines_of_json(value)
    assert json.loads(text) == value
    assert text.count("\n") == 15


def test_the_instruction_set_is_the_kernels() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    found = describe_machine()["instructions"]
    assert ("AVX2" in found) == ("avx2" in flags)
    assert ("BF16" in found) == ("avx512_bf16" in flags)
    assert "instruction set not written down" in named(
        describe_machine() | {"instructions": ["instruction set not written down"]}
    )
