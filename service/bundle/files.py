"""A bundle on disk: written whole or not at all, read only as far as its hashes hold."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from pydantic import ValidationError

from latentserve.service import held
from latentserve.service.bundle import graph
from latentserve.service.bundle.golden import Golden
from latentserve.service.bundle.manifest import (
    READ_VERSIONS,
    SCORE,
    Graph,
    Manifest,
    Tensor,
    critic_inputs,
    first_fault,
    generator_graph,
)
from latentserve.service.bundle.signature import SIGNATURE, Signature, read_signature
from latentserve.service.bundle.version import content_version, content_version_1
from latentserve.service.bundle.weights import NO_FILES, Buffer, Files, map_file
from latentserve.service.errors import BundleError
from latentserve.service.held import MANIFEST_BYTES, Held
from latentserve.service.trust import Trust

MANIFEST, GENERATOR, CRITIC = held.MANIFEST, "generator.onnx", "critic.onnx"
DATA = "generator.onnx.data"  # weights that are too many for generator.onnx
GOLDEN, REFERENCE, PREVIEW, CARD = "golden.npz", "reference.npz", "preview.png", "MODEL_CARD.md"
_NEEDED = (GENERATOR, DATA, CRITIC, GOLDEN, REFERENCE)

_HASHED_BYTES = 1 << 20  # at a time
_READINGS = 100  # of a bundle that is replaced while it is read
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h


class OnDisk:
    """A file of a bundle, verified whenever it is read. It stays open, so that a bundle that is replaced on disk is
    still itself. Raises BundleError: it is missing.
    """

    def __init__(self, file: Path, digest: str, held: Held | None = None) -> None:
        """`held`: the descriptors that it is among, where its folder is held."""
        self._file, self._digest = file, digest
        try:
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC) if held is None else os.dup(held[file.name])
        except (FileNotFoundError, KeyError):
            raise BundleError(f"{file}: is missing, though the manifest lists it") from None
        except OSError as error:
            raise BundleError(f"{file}: cannot be read ({error.strerror})") from None
        weakref.finalize(self, os.close, self._descriptor)

    def read(self) -> bytes:
        """Its content. Raises BundleError: it is another than the manifest says."""
        try:
            content = b"".join(self._pieces(os.fstat(self._descriptor).st_size))
        except OSError as error:
            raise BundleError(f"{self._file}: cannot be read ({error.strerror})") from None
        self._verify(hashlib.sha256(content).hexdigest())
        return content

    def map(self) -> Buffer:
        """The same, not read but mapped: who writes into the file afterwards writes into this."""
        found = hashlib.sha256()
        try:
            for piece in self._pieces(_HASHED_BYTES):
                found.update(piece)
            self._verify(found.hexdigest())
            return map_file(self._descriptor)
        except OSError as error:
            raise BundleError(f"{self._file}: cannot be read ({error.strerror})") from None

    def _pieces(self, most: int) -> Iterator[bytes]:
        """Its content, from the beginning, whoever else reads at another offset."""
        at = 0
        while piece := os.pread(self._descriptor, most, at):
            yield piece
            at += len(piece)

    def _verify(self, found: str) -> None:
        if found != self._digest:
            raise BundleError(f"{self._file}: SHA-256 is {found[:12]}..., the manifest says {self._digest[:12]}...")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. Its graphs are as large as their weights: they are not held but read when asked for, unless
    they were given as bytes. `others` are files that no graph and no watch needs: the card, pictures. `digests`:
    SHA-256 of every file, the manifest among them. `signature`: who has signed them, and whether that is believed;
    None: nobody.
    """

    path: Path
    manifest: Manifest
    generator_file: OnDisk | bytes
    critic_file: OnDisk | bytes | None
    golden: Golden
    reference: bytes | None
    data_file: OnDisk | None = None
    others: Mapping[str, OnDisk] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    signature: Signature | None = None

    @property
    def generator(self) -> bytes:
        """The content of `generator.onnx`, which may refer to `beside`. Raises BundleError: it is another by now."""
        return self.generator_file if isinstance(self.generator_file, bytes) else self.generator_file.read()

    @property
    def beside(self) -> Files:
        """What `generator.onnx` refers to: `generator.onnx.data`, mapped, where there is one. Raises BundleError: the
        file is another by now."""
        return NO_FILES if self.data_file is None else {DATA: self.data_file.map()}

    @property
    def critic(self) -> bytes | None:
        """The content of `critic.onnx`, if there is one. Raises BundleError: the file is another by now."""
        return self.critic_file.read() if isinstance(self.critic_file, OnDisk) else self.critic_file


def check_place(out: Path) -> None:
    """Raises BundleError where `out` is there already and is not an empty folder or a bundle, so that none can be
    written there."""
    if out.exists() and not out.is_dir():
        raise BundleError(f"{out}: is there already and is not a folder")
    if out.is_dir() and any(out.iterdir()) and not _is_bundle(out):
        raise BundleError(f"{out}: is there already and is not a bundle")


def write_bundle(out: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Manifest:
    """Write a bundle folder: the files, then the manifest that holds their hashes. What is a path is moved there.

    It is made beside `out`, on the disk, and changes names with what is there, so that a reader (`read_bundle`) and a
    crash find the old one or the new one, never half or none. Where the system has no such exchange (NFS; any but
    Linux) the old one is renamed first: in the instant between two renames there is none, and what is interrupted just
    then leaves both beside `out`, as `.NAME-...`. Raises BundleError as `check_place` does.
    """
    out = out.resolve()
    check_place(out)
    try:
        hashes = {name: hash_of(content) for name, content in sorted(files.items())}
        manifest = Manifest.model_validate({**manifest.model_dump(), "sha256": hashes})
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            for name, content in {**files, MANIFEST: manifest.model_dump_json(indent=2).encode() + b"\n"}.items():
                if isinstance(content, Path):
                    shutil.move(content, staged / name)
                with (staged / name).open("ab") as stream:
                    stream.write(b"" if isinstance(content, Path) else content)
                    stream.flush()
                    os.fsync(stream.fileno())
                (staged / name).chmod(0o644)
            staged.chmod(0o755)
            _put_in_place(staged, out)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    except OSError as error:
        raise BundleError(f"{out}: cannot be written ({error.strerror or error})") from None
    return manifest


def replace_generator(path: Path, file: Path) -> Manifest:
    """Let an ONNX file take the place of a bundle's `generator.onnx`: one that computes the same by the same weights,
    and says more about it (`metadata_props`, doc strings). Raises BundleError: it is another generator."""
    bundle = read_bundle(path, Trust())
    manifest = bundle.manifest
    try:
        content = file.read_bytes()
        generator, weights = graph.skim(content, GENERATOR, bundle.beside)
        version = _version(manifest, generator, weights, content)
        if version != manifest.version:
            raise BundleError(f"computes another thing: its version is {version}, the bundle's {manifest.version}")
        _check_signature(generator, GENERATOR, manifest.onnx.generator)
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from None
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from None
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.resolve().name}-", dir=path.resolve().parent) as scratch:
            files: dict[str, bytes | Path] = {}
            for name, digest in manifest.sha256.items():
                if name == DATA:  # may be larger than the memory
                    files[name] = Path(shutil.copyfile(path / name, Path(scratch) / name))
                else:
                    files[name] = content if name == GENERATOR else OnDisk(path / name, digest).read()
            return write_bundle(path, manifest, files)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written again ({error.strerror or error})") from None


def hash_of(content: bytes | Path) -> str:
    """SHA-256, in hexadecimal digits, of bytes or of what a file holds. Raises OSError."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _put_in_place(staged: Path, out: Path) -> None:
    """Let the folder `staged` be `out`; an older one goes."""
    if not out.exists() or not any(out.iterdir()):
        staged.rename(out)
        return
    old = staged
    if not _exchange(staged, out):
        old = staged.with_name(f"{staged.name}.old")
        out.rename(old)
        try:
            staged.rename(out)
        except BaseException:
            old.rename(out)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step (renameat2(2)); False: this system, or its filesystem, cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # no Linux
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number))


def _is_bundle(folder: Path) -> bool:
    """Whether a folder may be replaced by a newer bundle. Other things have a `manifest.json` too: web pages do."""
    try:
        fields = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and {"schema_version", "sha256"} <= set(fields)


def read_bundle(path: Path, trust: Trust | None = None, held: Held | None = None) -> Bundle:
    """Read and verify a bundle: schema, every hash, and that each ONNX file has the signature the manifest states; and
    who has signed it. One that is replaced meanwhile is read again.

    `trust`: whose signatures are believed, and whether one is needed; None: as the environment says. `held`: its files,
    where they are not to be those that lie there by now.

    Raises BundleError with one line that names the file and the mismatch; RuntimeMissingError where signatures are to
    be verified, and what does that is not installed.
    """
    trust = Trust.of_environment() if trust is None else trust
    for _ in range(_READINGS):
        folder = _identity(path)
        try:
            return _read(path, trust, held)
        except BundleError:
            if held is not None or _identity(path) == folder:
                raise
    raise BundleError(f"{path}: is replaced faster than it can be read")


def _identity(path: Path) -> tuple[int, int, int]:
    """What is another when a bundle was replaced."""
    try:
        seen = path.stat()
    except OSError:
        return 0, 0, 0
    return seen.st_dev, seen.st_ino, seen.st_ctime_ns


def _read(path: Path, trust: Trust, held: Held | None) -> Bundle:
    if held is None and path.is_file():
        raise BundleError(f"{path}: is a file, and a bundle a folder; `latentserve pack` makes one of an ONNX file")
    if held is None and not path.is_dir():
        raise BundleError(f"{path}: no such bundle folder")
    manifest, digests = read_manifest(path, held)
    on_disk = {name: OnDisk(path / name, digest, held) for name, digest in manifest.sha256.items()}
    files = {name: file.read() for name, file in on_disk.items() if name != DATA}
    for required in (GENERATOR, GOLDEN):
        if required not in files:
            raise BundleError(f"{path / MANIFEST}: sha256 does not list {required}")
    try:
        data = on_disk.get(DATA)
        _check(manifest, files, NO_FILES if data is None else {DATA: data.map()})
        golden = Golden.from_bytes(files[GOLDEN])
        _check_golden(manifest, golden)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    others = {name: file for name, file in on_disk.items() if name not in _NEEDED}
    signature = read_signature(path, digests, trust, held)
    needed = on_disk[GENERATOR], on_disk.get(CRITIC), golden, files.get(REFERENCE), data
    return Bundle(path, manifest, *needed, others, digests, signature)


def read_bundles(paths: Sequence[Path], trust: Trust | None = None) -> list[Bundle]:
    """Read and verify several bundles that are to be served side by side, as the server holds them that started this
    process. Raises BundleError; also for equal names."""
    if not paths:
        raise BundleError("no bundle to serve: name a folder, or set LATENTSERVE_BUNDLES")
    bundles = [read_bundle(path, trust, held.held(path)) for path in paths]
    seen: set[str] = set()
    for bundle in bundles:
        if bundle.manifest.name in seen:
            raise BundleError(f"{bundle.path}: another bundle has the name {bundle.manifest.name} already")
        seen.add(bundle.manifest.name)
    return bundles


def read_manifest(path: Path, held: Held | None = None) -> tuple[Manifest, dict[str, str]]:
    """What a bundle says of itself, and the SHA-256 of each of its files: those that it lists, and its own. The files
    are not looked at. Raises BundleError."""
    file = path / MANIFEST
    try:
        if held is not None:
            content = os.pread(held[MANIFEST], MANIFEST_BYTES + 1, 0)
        else:
            with file.open("rb") as stream:
                content = stream.read(MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise BundleError(f"{file}: is missing; is {path} a bundle?") from None
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from None
    if len(content) > MANIFEST_BYTES:
        raise BundleError(f"{file}: is larger than {MANIFEST_BYTES} bytes")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: is not JSON ({error})") from None
    stated = fields.get("schema_version") if isinstance(fields, dict) else None
    if stated not in READ_VERSIONS or isinstance(stated, bool):
        newer = isinstance(stated, int) and stated > max(READ_VERSIONS)
        advice = "; a newer latentserve made it" if newer else ""
        raise BundleError(f"{file}: schema_version is {stated!r}; this release reads {_or(READ_VERSIONS)}{advice}")
    try:
        manifest = Manifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise BundleError(f"{file}: {first_fault(error)}") from None
    if SIGNATURE in manifest.sha256:
        raise BundleError(f"{file}: sha256 lists {SIGNATURE}, the one file that it must not")
    return manifest, {**manifest.sha256, MANIFEST: hashlib.sha256(content).hexdigest()}


def _or(numbers: Sequence[int]) -> str:
    return " or ".join(str(number) for number in numbers)


def _check(manifest: Manifest, files: Mapping[str, bytes], beside: Files) -> None:
    generator, weights = graph.skim(files[GENERATOR], GENERATOR, beside)
    version = _version(manifest, generator, weights, files[GENERATOR])
    if manifest.version != version:
        raise BundleError(f"{MANIFEST}: version is {manifest.version}, the content's is {version}")
    asked = manifest.labels is not None, len(manifest.conditions or ())
    if manifest.onnx.generator != generator_graph(manifest.latent, *asked, manifest.sample):
        raise BundleError(f"{MANIFEST}: onnx.generator does not agree with latent, labels, conditions and sample")
    _check_signature(generator, GENERATOR, manifest.onnx.generator)
    if (CRITIC in files) != (manifest.onnx.critic is not None):
        raise BundleError(f"{MANIFEST}: onnx.critic and {CRITIC} must be there both or not at all")
    if manifest.onnx.critic is not None:
        _check_signature(graph.parse(files[CRITIC], CRITIC), CRITIC, manifest.onnx.critic)
        inputs, outputs = manifest.onnx.critic.inputs, manifest.onnx.critic.outputs
        if not critic_inputs(*asked, manifest.sample, inputs) or SCORE not in outputs:
            raise BundleError(
                f"{CRITIC}: must take sample {manifest.sample.shape} (and label, and condition) and give score [batch]"
            )


def _version(manifest: Manifest, generator: onnx.ModelProto, weights: Files, content: bytes) -> str:
    """Of a generator, whose file has this content, with all else that the manifest says."""
    latent, labels, sample = manifest.latent, manifest.labels, manifest.sample
    if manifest.schema_version == 1:
        return content_version_1(content, latent, labels, sample)
    return content_version(generator, latent, labels, sample, manifest.conditions, manifest.label_prior, weights)


def _check_signature(model: onnx.ModelProto, file: str, stated: Graph) -> None:
    found = graph.signature(model, file)
    for kind, has, says in (("input", found.inputs, stated.inputs), ("output", found.outputs, stated.outputs)):
        if has != says:
            raise BundleError(f"{file}: its {kind}s are {_shown(has)}; the manifest says {_shown(says)}")


def _shown(tensors: list[Tensor]) -> str:
    return ", ".join(f"{tensor.name} {tensor.dtype} {tensor.shape}" for tensor in tensors) or "none"


def _check_golden(manifest: Manifest, golden: Golden) -> None:
    probes = len(golden.z)
    if probes == 0 or golden.z.shape[1] != manifest.latent.dim:
        raise BundleError(f"{GOLDEN}: z has shape {golden.z.shape}; [P, {manifest.latent.dim}] is needed")
    if golden.sample.shape != (probes, *manifest.sample.shape):
        raise BundleError(
            f"{GOLDEN}: sample has shape {golden.sample.shape[1:]}; the manifest says {manifest.sample.shape}"
        )
    if (golden.label is None) != (manifest.labels is None):
        raise BundleError(f"{GOLDEN}: label is there for a conditional generator and only for one")
    if golden.label is not None and manifest.labels is not None:
        inside = (golden.label >= 0) & (golden.label < len(manifest.labels))
        if golden.label.shape != (probes,) or not inside.all():
            raise BundleError(f"{GOLDEN}: label must hold {probes} of the manifest's {len(manifest.labels)} labels")
    if (golden.condition is None) != (manifest.conditions is None):
        raise BundleError(f"{GOLDEN}: condition is there for a generator with conditions and only for one")
    wanted = probes, len(manifest.conditions or ())
    if golden.condition is not None and golden.condition.shape != wanted:
        raise BundleError(f"{GOLDEN}: condition has shape {golden.condition.shape}; {wanted} is needed")
