"""A bundle's files on disk, while it is served: are they still those that were loaded?"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable

from latentserve.service.bundle import Bundle
from latentserve.service.bundle.files import CRITIC, DATA, GENERATOR, GOLDEN, MANIFEST, REFERENCE, read_manifest
from latentserve.service.bundle.signature import SIGNATURE, read_signature
from latentserve.service.errors import BundleError
from latentserve.service.trust import Trust

log = logging.getLogger(__name__)

FILE_SECONDS = 60.0
HASH_SECONDS = 3600.0

_SERVED = (GENERATOR, DATA, CRITIC, GOLDEN, REFERENCE)

State = tuple[tuple[int, ...], ...]


class FilesOnDisk:
    """What runs is in memory; what lies on disk is what a restart would serve.

    Each look compares sizes, times and inodes; where these have changed and then stood still (a copy takes its time),
    or an hour has gone by, each file's hash, read in blocks and never parsed.
    """

    def __init__(
        self, bundle: Bundle, report: Callable[[str | None, str | None], None], trust: Trust | None = None
    ) -> None:
        """`report` is told what is wrong with the files, and which other bundle lies there, in words or None. `trust`:
        see `read_bundle`; a bundle that it would refuse is wrong."""
        self._bundle, self._trust = bundle, Trust() if trust is None else trust
        self._report = report
        self._seen = self._state()
        self._due = 0.0
        self._found: tuple[str | None, str | None] = None, None

    def look(self) -> None:
        """Compare, as far as there is reason to, and report."""
        seen = self._state()
        if seen != self._seen:
            self._seen, self._due = seen, 0.0
            return
        if time.monotonic() < self._due:
            return
        found = self._compare()
        if found != self._found and (fault := found[0] or found[1]):
            manifest = self._bundle.manifest
            log.error("model %s %s: its files changed on disk: %s", manifest.name, manifest.version, fault)
        self._found, self._due = found, time.monotonic() + HASH_SECONDS
        self._report(*found)

    def _compare(self) -> tuple[str | None, str | None]:
        """What is wrong with the files, and which other bundle lies there."""
        runs = self._bundle.manifest
        try:
            there, digests = read_manifest(self._bundle.path)
            for name, digest in there.sha256.items():
                with (self._bundle.path / name).open("rb") as stream:
                    if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                        return f"{name} is not what the manifest says", None
            read_signature(self._bundle.path, digests, self._trust)
        except (BundleError, OSError) as error:
            return str(error), None
        if (there.name, there.version) != (runs.name, runs.version):
            return None, f"{runs.name} {runs.version} runs, {there.name} {there.version} lies there"
        changed = [name for name in _SERVED if there.sha256.get(name) != runs.sha256.get(name)]
        return None, f"{there.version} with another {' and '.join(changed)} lies there" if changed else None

    def _state(self) -> State:
        return tuple(self._stat(name) for name in (MANIFEST, SIGNATURE, *self._bundle.manifest.sha256))

    def _stat(self, name: str) -> tuple[int, ...]:
        try:
            stat = (self._bundle.path / name).stat()
        except OSError:
            return ()
        return stat.st_size, stat.st_mtime_ns, stat.st_ino
