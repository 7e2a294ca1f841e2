from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from latentserve.training.commands import train
from latentserve.training.distributed import require_hardware
from latentserve.training.errors import ConfigError
from latentserve.training.recipe import load_config

UNPENALISED = ("loss=hinge", "gamma.start=0", "gamma.end=0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("compile=true", r"`compile`: torch\.compile pays on a GPU alone"),
        ("precision=fp16", "`precision`: fp16 is for GPUs"),
    ],
)
def test_what_does_not_pay_on_a_cpu_is_refused(tiny_file: Path, told: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        require_hardware(load_config(str(tiny_file), (*UNPENALISED, told)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
@pytest.mark.parametrize("there", [False, True])
def test_bf16_needs_a_processor_that_has_it(tiny_file: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": there})
    config = load_config(str(tiny_file), ("precision=bf16",))
    if there:
        require_hardware(config)
    else:
        with pytest.raises(ConfigError, match="`precision`: this machine computes nothing in bfloat16"):
            require_hardware(config)


def test_nothing_is_asked_of_a_machine_by_default(tiny_file: Path) -> None:
    require_hardware(load_config(str(tiny_file)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_a_refused_run_leaves_no_folder(tiny_file: Path, tmp_path: Path) -> None:
    told = [word for override in (*UNPENALISED, "compile=true") for word in ("--set", override)]
    done = CliRunner().invoke(train, [str(tiny_file), *told, "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, ConfigError)
    assert not (tmp_path / "run").exists()
