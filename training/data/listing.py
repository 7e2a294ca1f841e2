"""Which files there are: in a folder at any depth, or in a ZIP archive. What systems and programs leave behind (hidden
files, thumbnails, checkpoints of notebooks) is never seen; a link is followed once, wherever it leads."""

import hashlib
import io
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from latentserve.service.errors import one_line
from latentserve.training.errors import DataError

ZIP = (".zip",)
STYLEGAN = "dataset.json"  # the labels of pictures, as StyleGAN's tools write them
LARGEST = 1 << 30  # bytes of one file of an archive
_UTF_8 = 1 << 11  # flag of an archive's entry
COMPARED = 1 << 28  # bytes of files of the same size

_UNSEEN = re.compile(
    r"\.|~\$|(__macosx|@eadir|#recycle|\$recycle\.bin|lost\+found|system volume information|__pycache__"
    r"|(?:eh)?thumbs_?\w*\.db|desktop\.ini|picasa\.ini|icon\r|.*\.lrdata|.*\.photoslibrary)\Z",
    re.IGNORECASE,
)

_PICKLED = "what is pickled may be a program and is never opened: save its arrays by numpy.savez, or its table as CSV"

_UNPACKED = (".npz", ".npy", ".csv", ".parquet", ".jsonl", ".tsv")  # what is not read in an archive
_CIFAR = re.compile(r"data_batch_[1-5]\Z")
# What is no folder, no picture, no sound and no table, and how it becomes one.
_ELSEWHERE = {
    ".h5 .hdf5": "HDF5 is not read: save its arrays by numpy.savez, as samples and labels",
    ".tar .tar.gz .tgz .tar.bz2 .tar.xz .7z .rar": "unpack it, and name the folder",
    ".tfrecord .tfrecords": "TFRecord is not read: write its pictures into a folder for each class",
    ".mdb .lmdb": "LMDB is not read: write its pictures into a folder for each class",
    ".mat": "MATLAB's files are not read: save the arrays of scipy.io.loadmat by numpy.savez",
    ".nc .nc4 .cdf .fits .fit .root .edf .bdf .safetensors": "is not read: save its arrays by numpy.savez, as samples",
    ".ts": "series of UEA's are not read: save them by numpy.savez, as samples [N, channels, length] and labels",
    ".pkl .pickle .joblib .pt .pth": _PICKLED,
    ".zip": "name the archive itself, or unpack it",
    ".xlsx .xlsm .xlsb .xls .ods .numbers": "a workbook is not read: save its sheet as CSV",
    ".avro .msgpack .bson .pb": "is not read: save it as Parquet, or as lines of JSON",
    ".sav .zsav .por .dta .sas7bdat .xpt .rds .rda .rdata .dbf": "is not read: save it as CSV or Parquet",
    ".sqlite .sqlite3 .db .db3 .duckdb .accdb .gpkg": "a database is not read: save its table as CSV or Parquet",
    ".sql .dump": "the dump of a database is not read: save its table as CSV or Parquet",
    ".shp .kml .kmz .gpx": "is not read: save its attributes as CSV or GeoJSON",
    ".ply .obj .stl .las .laz .pcd .off .glb": "shapes are not read: save points [N, d] as .npy",
    ".heic .heif .svg .psd .raw .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .jxl .avif .exr .hdr .ico .icns .eps .pdf .xcf "
    ".dds .djvu .jxr .pcx .sgi": "convert it to PNG",
    ".mp4 .avi .mov .mkv .webm": "videos are not read: write their frames as PNG files",
    ".m4a .aac .wma .amr .ape .wv .ra .mka": "convert it to WAV or FLAC",
    ".mid .midi": "notes are not read: write what they sound like as WAV",
    ".dcm .dicom .nii .nii.gz .nrrd .mha .mhd .img .czi .svs .ndpi": "save its arrays by numpy.savez, as samples",
}


@dataclass(frozen=True)
class Listing:
    """Files by their paths from the source, ascending.

    Attributes:
        source: the folder or archive.
        files: what is in it, however deep.
        archive: the archive; None: the source is a folder.
        dangling: links that lead nowhere.
        entries: of the archive, by their names here.
    """

    source: Path
    files: tuple[PurePosixPath, ...]
    archive: zipfile.ZipFile | None = None
    dangling: tuple[PurePosixPath, ...] = ()
    entries: Mapping[PurePosixPath, zipfile.ZipInfo] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Path) -> "Listing":
        """Look at a folder, or into an archive. Raises DataError naming what cannot be read."""
        if source.is_dir():
            return cls(source, *_walk(source))
        try:
            archive = zipfile.ZipFile(source)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{source}: cannot be read as ZIP: {one_line(error)}") from None
        # Some programs of Windows write its own separator, and some of other systems do not say that names are UTF-8.
        entries = {PurePosixPath(_named(one).replace("\\", "/")): one for one in archive.infolist() if not one.is_dir()}
        files = tuple(sorted(name for name in entries if _is_seen(name.parts)))
        return cls(source, files, archive, entries=entries)

    def name(self, file: PurePosixPath) -> str:
        """What a file is called in an error."""
        return str(self.source / file)

    def on_disk(self, files: Iterable[PurePosixPath]) -> list[Path]:
        """The files that these are read from: themselves, or the archive."""
        return [self.source / file for file in files] if self.archive is None else [self.source]

    def having(self, suffixes: tuple[str, ...]) -> list[PurePosixPath]:
        """Those of the files that end in one of the suffixes, in any case."""
        return [file for file in self.files if file.name.lower().endswith(suffixes)]

    def copies(self, files: Sequence[PurePosixPath]) -> list[tuple[PurePosixPath, PurePosixPath]]:
        """Which of the files hold the same bytes as an earlier one, and which one that is; none where more than
        COMPARED bytes would have to be read."""
        if self.archive is not None:
            keys = [(self.entries[file].file_size, self.entries[file].CRC) for file in files]
            return _repeated(zip(files, keys, strict=True))
        try:
            sizes = {file: (self.source / file).stat().st_size for file in files}
            counts = Counter(sizes.values())
            alike = [file for file in files if counts[sizes[file]] > 1]
            if sum(sizes[file] for file in alike) > COMPARED:
                return []
            digests = [hashlib.blake2b((self.source / file).read_bytes()).digest() for file in alike]
        except OSError:  # of a file that has gone
            return []
        return _repeated(zip(alike, digests, strict=True))

    def instead(self, files: Sequence[PurePosixPath] | None = None) -> str | None:
        """What to do about the first of these files (None: of all) that is read in another form only; None where there
        is none."""
        files = self.files if files is None else files
        told = advice(files) or next((told for file in files if not file.suffix if (told := self._within(file))), None)
        packed = None if self.archive is None else next((file for file in files if file.suffix in _UNPACKED), None)
        return told or (None if packed is None else f"{packed.name}: unpack the archive, and name the folder")

    def _within(self, file: PurePosixPath) -> str | None:
        """What a file without an ending is, and what to do about it."""
        try:
            with self.open(file) as opened:
                head = opened.read(132)
        except OSError:
            return None
        told = "a DICOM file: save its arrays by numpy.savez, as samples" if head[128:] == b"DICM" else None
        told = told or next((told for magic, told in _MAGIC if head.startswith(magic)), None)
        return None if told is None else f"{file.name}: {told}"

    def open(self, file: PurePosixPath) -> IO[bytes]:
        """A file, to be read from. Raises OSError."""
        if self.archive is None:
            return (self.source / file).open("rb")
        entry = self.entries[file]
        if entry.file_size > LARGEST:
            raise OSError(f"{entry.file_size:,} bytes; {LARGEST:,} are read at the most")
        try:
            return io.BytesIO(self.archive.read(entry))
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise OSError(one_line(error)) from None  # encrypted, packed in a way of its own, or broken


def _named(entry: zipfile.ZipInfo) -> str:
    """What a file of an archive is called, which may be in UTF-8 where it is not said to be, as macOS leaves it."""
    if not entry.flag_bits & _UTF_8:
        with suppress(UnicodeError):
            return entry.filename.encode("cp437").decode()
    return entry.filename


def _repeated(keys: Iterable[tuple[PurePosixPath, Any]]) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Files whose key an earlier one has, and that one."""
    first: dict[Any, PurePosixPath] = {}
    return [(file, first[key]) for file, key in keys if first.setdefault(key, file) is not file]


def kinds(files: Iterable[PurePosixPath]) -> str:
    """How many files there are of each ending, the most frequent first."""
    counts = Counter(file.suffix.lower() or "without ending" for file in files)
    listed = [f"{count:,} {kind}" for kind, count in counts.most_common(6)]
    return ", ".join([*listed, *(["others"] if len(counts) > 6 else [])])


def advice(files: Sequence[PurePosixPath]) -> str | None:
    """What to do about the first of these that is read in another form only; None where there is none."""
    for file in files:
        whole = re.sub(r"-\d+-of-\d+\Z", "", file.name.lower())
        for suffixes, told in _ELSEWHERE.items():
            if whole.endswith(tuple(suffixes.split())):
                return f"{file.name}: {told}"
        if _CIFAR.match(file.name):
            return f"{file.name}: {_PICKLED}; the binary version of CIFAR is read as it is"
    return None


_MAGIC = (
    (b"\x89PNG", "a PNG file without an ending: call it .png"),
    (b"\xff\xd8\xff", "a JPEG file without an ending: call it .jpg"),
    (b"\x89HDF", "an HDF5 file: save its arrays by numpy.savez, as samples and labels"),
    (b"\x80\x02", _PICKLED), (b"\x80\x03", _PICKLED), (b"\x80\x04", _PICKLED), (b"\x80\x05", _PICKLED),
    (b"\x93NUMPY", "an array of numpy without an ending: call it .npy"),
)  # fmt: skip


def _is_seen(parts: Iterable[str]) -> bool:
    return not any(_UNSEEN.match(part) for part in parts)


def _walk(folder: Path) -> tuple[tuple[PurePosixPath, ...], None, tuple[PurePosixPath, ...]]:
    """All files of a folder, and links that lead nowhere."""
    files: list[PurePosixPath] = []
    dangling: list[PurePosixPath] = []
    here = folder.resolve()
    visited = {here, *here.parents}
    waiting, links = [(folder, PurePosixPath())], list[tuple[Path, PurePosixPath]]()
    while waiting or links:
        # Links come last, so that a folder is found where it lies.
        at, relative = waiting.pop() if waiting else links.pop(0)
        if at != folder:
            real = at.resolve()
            if real in visited:
                continue
            visited.add(real)
        try:
            with os.scandir(at) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = relative / entry.name
                    if not _is_seen((entry.name,)):
                        continue
                    link = entry.is_symlink()
                    if entry.is_dir(follow_symlinks=False) or (link and Path(entry.path).is_dir()):
                        (links if link else waiting).append((Path(entry.path), path))
                    elif Path(entry.path).is_file():
                        files.append(path)
                    elif link:
                        dangling.append(path)
        except OSError as error:
            raise DataError(f"{error.filename or at}: cannot be read: {error.strerror}") from None
    return tuple(sorted(files)), None, tuple(sorted(dangling))
