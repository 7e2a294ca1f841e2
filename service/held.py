"""The files of bundles as they were when a server started, held open by the process that starts its workers.

What is put in a bundle's place afterwards, as another target of a link or under the same names, is for the server's
next start: a worker that comes in another's place serves what its siblings serve. What is taken away can be read for as
long as somebody has it open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "model.sig"
MANIFEST_BYTES: Final = 4 << 20  # 65,536 label names fit
FOLDER: Final = "."  # the folder itself is held, too: what else lies in it matters where a bundle is signed

Held = Mapping[str, int]  # descriptors by the names of files; all workers have the same ones, and share their offsets

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # what lies there by a file's name may be a pipe
_NAMED = "_LATENTSERVE_HELD"  # to the processes that a server starts: the descriptors, by folder


class HeldFiles:
    """The files of a server's bundles.

    Attributes:
        descriptors: of all of them, for workers to inherit.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Hold what is there. Of a folder of which a part cannot be held nothing is: its reader says what is wrong."""
        self._held = {str(folder): found for folder in folders if (found := _hold(folder))}
        self.descriptors = [one for found in self._held.values() for one in found.values()]

    @property
    def environment(self) -> dict[str, str]:
        """What workers are to find in their environment."""
        return {_NAMED: json.dumps(self._held)}


def held(folder: Path) -> Held | None:
    """What the server that started this process holds of a folder; None: nothing, and it is read as it lies there."""
    return _inherited().get(str(folder))


@cache
def _inherited() -> dict[str, Held]:
    found: dict[str, Held] = json.loads(os.environ.get(_NAMED, "{}"))
    return found


def _hold(folder: Path) -> dict[str, int]:
    """What the manifest lists, and a copy of the manifest: files may be written over, which their hashes tell then."""
    found: dict[str, int] = {}
    with ExitStack() as stack:

        def hold(name: str, descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            found[name] = descriptor
            return descriptor

        try:
            place = hold(FOLDER, os.open(folder, _READ | os.O_DIRECTORY))
            there = set(os.listdir(place))  # noqa: PTH208 - of a descriptor
            with os.fdopen(os.open(MANIFEST, _READ, dir_fd=place), "rb") as stream:
                content = stream.read(MANIFEST_BYTES + 1)
            os.write(hold(MANIFEST, os.memfd_create(MANIFEST)), content)
            for name in there & json.loads(content)["sha256"].keys():
                hold(name, os.open(name, _READ, dir_fd=place))
            if SIGNATURE in there:
                hold(SIGNATURE, os.open(SIGNATURE, _READ | os.O_NOFOLLOW, dir_fd=place))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return {}
        stack.pop_all()
    return found
