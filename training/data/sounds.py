"""Recordings, alone or in folders, as audio: WAV files by SciPy, others by soundfile, of the extra `audio`. Each is
read once to be looked at, and once to be kept; many of them lie in a file that is kept, and mapped at the next
start."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from latentserve.service.errors import one_line
from latentserve.training.data import cache, metadata
from latentserve.training.data.cache import Decoded
from latentserve.training.data.dataset import Dataset, Split, storage
from latentserve.training.data.folders import LabelledFiles, hint
from latentserve.training.data.listing import Listing
from latentserve.training.data.reading import Reading
from latentserve.training.errors import DataError

WAV = (".wav", ".wave")
OTHERS = (
    ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph",
)  # fmt: skip
SUFFIXES = (*WAV, *OTHERS)

# What becomes -1 and 1, by the type a file is read as; 24 bits come as the upper ones of 32.
_RANGES = {
    "uint8": (0.0, 256.0),
    "int16": (-(2.0**15), 2.0**15),
    "int32": (-(2.0**31), 2.0**31),
    "float32": None,
    "float64": None,
}
_NOISE = "_background_noise_"  # of Speech Commands, whose recordings are none of its words


@dataclass(frozen=True)
class Heard:
    """What a recording is like: its rate in hertz, its type, its channels and its frames."""

    rate: int
    type: str
    channels: int
    frames: int

    @classmethod
    def of(cls, rate: int, frames: NDArray[Any]) -> "Heard":
        """Of frames [length, channels]."""
        return cls(rate, frames.dtype.name, frames.shape[1], len(frames))

    def length_at(self, rate: int) -> int:
        """Its frames at another rate."""
        return self.frames if rate == self.rate else self.frames * rate // self.rate


def load(name: str, path: Path, split: Split, reading: Reading) -> Dataset:
    """A recording, a folder or archive of them, or of class folders of them, as audio [N, channels, length].

    `reading.size` is the frames of a sample, into which longer files are cut, the rest left out; None: all must be of
    one length. Files of other rates are brought to the most frequent one, and of several channels to one where some
    have one.

    Raises DataError: names the first file that cannot be read, or is of another length.
    """
    reading.refuse("audio", "types", "background")
    found: LabelledFiles | None = None
    noise: list[PurePosixPath] = []
    beside = None
    if path.is_dir() or path.suffix.lower() == ".zip":
        listing = Listing.of(path)
        noise = [file for file in listing.files if _NOISE in file.parts[:-1]]
        listing = replace(listing, files=tuple(file for file in listing.files if file not in set(noise)))
        found, beside = metadata.labelled(listing, SUFFIXES, "recordings", split, reading)
        files = found.files
    else:
        reading.refuse("one recording", "label")
        listing = Listing(path.parent, (PurePosixPath(path.name),))
        files = list(listing.files)
    made = cache.decoded(
        listing.on_disk(files),
        {"sounds": [str(file) for file in files], "size": reading.size, "broken": reading.broken},
        lambda: _decode(listing, files, reading, str(path)),
    )
    notes = [*(found.notes if found is not None else ()), *made.about["notes"], *([made.note] if made.note else [])]
    if found is not None and noise:
        notes.append(f"left out: {len(noise):,} in `{_NOISE}`, which are no words")
    if found is not None:
        told_by_names = None if found.label_names else hint(found)
        notes += [*([told_by_names] if told_by_names else []), *metadata.left_out(found, SUFFIXES, "recordings")]
    return Dataset(
        name,
        made.samples,
        np.zeros(len(made.samples), np.int64) if found is None else found.labels[made.rows],
        [] if found is None else found.label_names,
        "audio",
        _RANGES[made.samples.dtype.name],
        made.about["rate"],
        conditions=None if beside is None else beside.take(made.rows),
        notes=tuple(notes),
        entry=made.entry,
    )


def _decode(listing: Listing, files: Sequence[PurePosixPath], reading: Reading, source: str) -> Decoded:
    """Files as audio [N, channels, length], as in `load`, with their `rate` and `notes`."""
    notes: list[str] = []
    heard, kept, broken = [], [], []
    for at, file in enumerate(files):
        try:
            heard.append(Heard.of(*_read(listing, file)))
        except DataError as error:
            broken.append(str(error))
            continue
        kept.append(at)
    if broken and (reading.broken == "refuse" or not kept):
        more = f"; {len(broken):,} of {len(files):,} are; --set broken=skip passes them over" if len(files) > 1 else ""
        raise DataError(broken[0] + more)
    if broken:
        names = ", ".join(one.partition(":")[0] for one in broken[:3])
        notes.append(f"left out: {len(broken):,} broken, as told: {names}")
    names_of = [listing.name(files[at]) for at in kept]
    aim = _aim(heard, names_of, notes)
    lengths = [each.length_at(aim.rate) for each in heard]
    size = reading.size
    pieces = []
    for file_name, frames in zip(names_of, lengths, strict=True):
        if size is None and frames != lengths[0]:
            told = f"{frames} frames; {Path(names_of[0]).name} has {lengths[0]}"
            raise DataError(f"{file_name}: {told}; `size` in the configuration cuts all to one length")
        if size is not None and frames < size:
            short = sum(frames < size for frames in lengths)
            raise DataError(
                f"{file_name}: {frames} frames; `size` asks for {size}, and {short:,} of {len(lengths):,} are shorter, "
                f"{min(lengths):,} at the least: make it smaller, or take them away"
            )
        pieces.append(1 if size is None else frames // size)
    length = lengths[0] if size is None else size
    samples = storage((sum(pieces), aim.channels, length), aim.type, source)
    row = 0
    for at, count in zip(kept, pieces, strict=True):
        sound = _brought(*_read(listing, files[at]), aim)
        samples[row : row + count] = sound[: count * length].reshape(count, length, -1).transpose(0, 2, 1)
        row += count
    if size is not None:
        over = sum(frames - count * length for frames, count in zip(lengths, pieces, strict=True)) / aim.rate
        window = f"{length:,} frames ({length / aim.rate:.3g} s)"
        said = f"{len(kept):,} recordings, cut into {sum(pieces):,} windows of {window}"
        notes.append(said + (f"; {over:,.3g} s at their ends are left out" if over else ""))
    rows = np.repeat(np.array(kept, np.int64), pieces)
    return Decoded(samples, rows, {"rate": aim.rate, "notes": notes})


def _aim(heard: Sequence[Heard], names: Sequence[str], notes: list[str]) -> Heard:
    """What all are brought to: the most frequent rate, the fewest channels, and floats where any has to be changed."""
    types, rates, channels = (Counter(getattr(each, of) for each in heard) for of in ("type", "rate", "channels"))
    rate, fewest = rates.most_common(1)[0][0], min(channels)
    if len(channels) > 1 and fewest != 1:
        odd = next(at for at, each in enumerate(heard) if each.channels != heard[0].channels)
        raise DataError(f"{names[odd]}: {heard[odd].channels} channels; {Path(names[0]).name} has {heard[0].channels}")
    if len(rates) > 1:
        try:
            import soxr  # noqa: F401
        except ModuleNotFoundError:
            odd = next(at for at, each in enumerate(heard) if each.rate != heard[0].rate)
            told = f"{heard[odd].rate} Hz; {Path(names[0]).name} has {heard[0].rate}"
            raise DataError(f"{names[odd]}: {told}; install latentserve[audio] to resample") from None
        told = ", ".join(f"{of:,} Hz of {count:,}" for of, count in rates.most_common())
        notes.append(f"rates are {told}; all were brought to {rate:,} Hz")
    if len(channels) > 1:
        mixed = sum(count for number, count in channels.items() if number > 1)
        notes.append(f"{mixed:,} of several channels were mixed to one, as the others have")
    if len(types) > 1:
        notes.append("types are " + ", ".join(f"{name} of {count:,}" for name, count in types.most_common()))
    same = len(types) == len(rates) == len(channels) == 1
    return Heard(rate, heard[0].type if same else "float32", fewest, 0)


def _brought(rate: int, frames: NDArray[Any], aim: Heard) -> NDArray[Any]:
    """Frames as the others are."""
    if (rate, frames.dtype.name, frames.shape[1]) == (aim.rate, aim.type, aim.channels):
        return frames
    length = Heard.of(rate, frames).length_at(aim.rate)
    floats = _as_floats(frames)
    if floats.shape[1] != aim.channels:
        floats = floats.mean(axis=1, keepdims=True)
    if rate != aim.rate:
        import soxr

        resampled = soxr.resample(floats, rate, aim.rate, quality="VHQ").clip(-1, 1)
        floats = np.zeros((length, aim.channels), np.float32)
        floats[: len(resampled)] = resampled[:length]
    return floats


def _as_floats(frames: NDArray[Any]) -> NDArray[np.float32]:
    """In -1 to 1."""
    stored = _RANGES[frames.dtype.name]
    if stored is None:
        return frames.astype(np.float32)
    low, high = stored
    return ((frames - np.float32(low)) / np.float32((high - low) / 2) - 1).astype(np.float32)


def _read(listing: Listing, file: PurePosixPath) -> tuple[int, NDArray[Any]]:
    """Rate in hertz, and frames [length, channels]."""
    name = listing.name(file)
    try:
        with listing.open(file) as opened:
            rate, frames = _of_wav(opened) if file.name.lower().endswith(WAV) else _of_others(opened)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # scipy fails in its own ways on files that are something else
        kind = "WAV" if file.name.lower().endswith(WAV) else "audio"
        raise DataError(f"{name}: cannot be read as {kind}: {one_line(error)}") from None
    if len(frames) == 0:
        raise DataError(f"{name}: no sound in it")
    if frames.dtype.name not in _RANGES:
        raise DataError(f"{name}: samples of type {frames.dtype}; 8 to 32 bits are read")
    frames = frames.reshape(len(frames), -1)
    if frames.dtype.kind == "f":
        if not np.isfinite(frames).all():
            raise DataError(f"{name}: frame {int(np.argmin(np.isfinite(frames).all(axis=1)))} is not finite")
        loudest = float(np.abs(frames).max())
        if loudest > 1:
            said = "whole numbers that were written as floats" if (frames == np.rint(frames)).all() else "too loud"
            raise DataError(
                f"{name}: floats up to {loudest:g}, {said}; a generator makes -1 to 1: divide all by one number"
            )
    return int(rate), frames


def _of_wav(opened: IO[bytes]) -> tuple[int, NDArray[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
        try:
            rate, frames = wavfile.read(opened)
        except ValueError as error:
            if not re.search("Unknown wave file format|not understood", str(error)):
                raise
            opened.seek(0)
            return _of_others(opened)  # A-law, mu-law, ADPCM; MP3 or NIST's under that name
    return int(rate), frames


def _of_others(opened: IO[bytes]) -> tuple[int, NDArray[Any]]:
    try:
        import soundfile
    except ModuleNotFoundError:
        raise DataError("soundfile is not installed: install latentserve[audio]") from None
    with soundfile.SoundFile(opened) as file:
        kind = {"PCM_16": "int16", "PCM_S8": "int16", "PCM_24": "int32", "PCM_32": "int32"}.get(file.subtype, "float32")
        frames = file.read(dtype=kind, always_2d=True)
        if kind == "float32":
            frames = frames.clip(-1, 1)  # decoders of lossy formats overshoot
        return file.samplerate, frames
