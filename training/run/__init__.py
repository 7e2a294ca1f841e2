"""A run's folder: its configuration, its checkpoint, and what it reports.

config.yaml  checkpoint.safetensors  stats.jsonl  journal.jsonl  curves.png  reals.png  samples-<images seen>.png
snapshots/<images seen>.safetensors, where some are kept
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latentserve.training.errors import RunError
from latentserve.training.files import PARTIAL, named_if_not_written
from latentserve.training.recipe import growing, read_config, write_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import checkpoint

CONFIG = "config.yaml"
CHECKPOINT = "checkpoint.safetensors"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within the block no other process of this machine trains into a folder, which is made where it is not there.
    Raises RunError where one does."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: not a run, and not an empty folder")
    with named_if_not_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some folders of networks know no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{folder}: another process trains into it: stop that one, or name another folder"
                ) from None
        yield
    finally:
        os.close(handle)


def prepare(folder: Path, config: Config) -> Config:
    """Make a folder a run of `config`, or see that it already is one, and say by which configuration it is trained: a
    run that is made longer remembers in `grown` how long it was to be. Raises RunError naming what is in the way."""
    if (folder / CONFIG).exists():
        old = read_config(folder / CONFIG)
        going_on, difference = growing.continued(old, config, images_seen(folder))
        if going_on is None:
            raise RunError(f"{folder}: cannot resume with another configuration: {difference}")
        if going_on.images != old.images:
            write_config(going_on, folder / CONFIG)
        return going_on
    if folder.exists() and (not folder.is_dir() or any(file.suffix != PARTIAL for file in folder.iterdir())):
        raise RunError(f"{folder}: not a run, and not an empty folder")
    with named_if_not_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_config(config, folder / CONFIG)
    return config


def going_on(folder: Path, config: Config) -> Config:
    """The configuration by which a prepared run is trained, on any rank."""
    return config.model_copy(update={"grown": read_config(folder / CONFIG).grown})


def open_run(folder: Path) -> Config:
    """The configuration of a run that has a checkpoint. Raises RunError naming what is missing."""
    for file in (CONFIG, CHECKPOINT):
        if not (folder / file).is_file():
            raise RunError(f"{folder}: not a run with a checkpoint (no {file})")
    return read_config(folder / CONFIG)


def images_seen(folder: Path) -> int:
    """How far a prepared run has come. Raises RunError naming an unreadable checkpoint."""
    path = folder / CHECKPOINT
    return checkpoint.read_header(path)["images_seen"] if path.exists() else 0


def is_over(folder: Path, config: Config) -> bool:
    """Whether a prepared run has spent its budget, or its supervisor has ended it."""
    path = folder / CHECKPOINT
    if not path.exists():
        return False
    header = checkpoint.read_header(path)
    return bool(header["images_seen"] >= config.images or header.get("changes", {}).get("stopped"))
