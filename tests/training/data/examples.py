"""The data that the pages on data show, made by code."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image


def write_all(folder: Path) -> None:
    """`pets`, `faces`, `people.csv`, `visits`, `birds`, `bats`, `sensors.csv`, `weather.npz` and `sprites.npy`."""
    rng = np.random.default_rng(0)
    pets(folder / "pets", rng)
    faces(folder / "faces", rng)
    people(folder / "people.csv", rng)
    birds(folder / "birds", rng)
    sensors(folder / "sensors.csv", rng)
    visits(folder / "visits", rng)
    bats(folder / "bats", rng)
    weather(folder / "weather.npz", rng)
    sprites(folder / "sprites.npy", rng)


def pets(folder: Path, rng: np.random.Generator) -> None:
    """Class folders in splits, some pictures transparent or broken, and what systems leave behind."""
    for split, count in (("train", 40), ("val", 10), ("test", 12)):
        for name, share in (("cat", 0.6), ("dog", 0.4)):
            (folder / split / name).mkdir(parents=True)
            for row in range(round(count * share)):
                size = tuple(rng.integers(30, 60, 2))
                pixels = rng.integers(0, 256, (*size, 4 if row == 3 else 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{row}.{'png' if row % 4 else 'webp'}")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "train" / "cat" / "notes.txt").write_text("two of them are tired")


def faces(folder: Path, rng: np.random.Generator) -> None:
    """Pictures with a table beside them."""
    folder.mkdir()
    lines = []
    for row in range(64):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{row:03d}.jpg")
        about = {"file_name": f"{row:03d}.jpg", "mood": ["glad", "sad"][row % 2], "age": 20 + row / 2}
        lines.append(json.dumps(about | {"text": f"somebody, the {row}th"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def people(path: Path, rng: np.random.Generator) -> None:
    """A table as a spreadsheet of the continent writes it."""
    lines = ["Nr;Name;geboren;Gehalt;Anteil;Ort;Steuerklasse"]
    for row in range(300):
        born = datetime(1950, 1, 1) + timedelta(days=int(rng.integers(0, 18_000)))
        pay = f"{int(rng.integers(20_000, 90_000)):,}".replace(",", ".") + f",{int(rng.integers(100)):02d} €"
        share = f"{rng.integers(0, 1000) / 10:.1f}".replace(".", ",") + "%"
        place = rng.choice(["Köln", "Lübeck", "Görlitz"])
        kind = rng.integers(1, 6) if row % 9 else ""
        lines.append(f"{row + 1};Person {row * 7919 % 1000};{born:%d.%m.%Y};{pay};{share};{place};{kind}")
    path.write_bytes("\n".join(lines).encode("cp1252"))


def birds(folder: Path, rng: np.random.Generator) -> None:
    """Recordings of different rates, channels and lengths."""
    import soundfile

    for name, pitch in (("lark", 1800), ("wren", 900)):
        (folder / name).mkdir(parents=True)
        for row in range(6):
            rate = 16_000 if row == 5 else 8_000
            time = np.arange(rate * (1 + row % 2)) / rate
            sound = 0.5 * np.sin(2 * np.pi * pitch * (1 + 0.1 * rng.random()) * time)
            frames = np.stack([sound, 0.8 * sound], axis=1) if row == 4 else sound
            soundfile.write(folder / name / f"{row}.flac", frames, rate, subtype="PCM_24")


def sensors(path: Path, rng: np.random.Generator) -> None:
    """A reading a minute."""
    lines = ["time,site,temperature,pressure"]
    for row in range(2000):
        when = datetime(2024, 5, 1) + timedelta(minutes=row)
        heat = 15 + 5 * np.sin(row / 200) + rng.normal(0, 0.2)
        lines.append(f"{when.isoformat()},roof,{heat:.2f},{1013 + rng.normal(0, 1):.1f}")
    path.write_text("\n".join(lines))


def visits(folder: Path, rng: np.random.Generator) -> None:
    """A table in two files, whose dates may be read in two ways, with a text among numbers."""
    folder.mkdir()
    for split, count in (("train", 400), ("test", 120)):
        lines = ["visit_id,seen,age,pressure,smoker,outcome"]
        for row in range(count):
            seen = datetime(2024, *(int(part) for part in rng.integers(1, 13, 2)))
            pressure = "refused" if row % 50 == 7 else f"{rng.normal(120, 15):.0f}"
            smoker = rng.choice(["yes", "no", ""], p=[0.3, 0.6, 0.1])
            outcome = rng.choice(["well", "referred", "admitted"], p=[0.7, 0.2, 0.1])
            lines.append(f"{row},{seen:%d/%m/%Y},{rng.integers(18, 95)},{pressure},{smoker},{outcome}")
        (folder / f"{split}.csv").write_text("\n".join(lines))


def bats(folder: Path, rng: np.random.Generator) -> None:
    """Recordings in splits, with a table that labels them, and one that is broken."""
    import soundfile

    lines = ["file_name,species"]
    for split, count in (("train", 30), ("test", 10)):
        (folder / split).mkdir(parents=True)
        for row in range(count):
            call = np.sin(np.linspace(0, 300 + 40 * rng.random(), 1024)) * np.hanning(1024)
            soundfile.write(folder / split / f"{row:02d}.wav", 0.7 * call, 22_050, subtype="PCM_16")
            lines.append(f"{split}/{row:02d}.wav,{['noctule', 'serotine'][row % 3 > 0]}")
    (folder / "train" / "30.wav").write_bytes(b"RIFF and no more")
    (folder / "metadata.csv").write_text("\n".join([*lines, "train/30.wav,noctule"]))


def weather(path: Path, rng: np.random.Generator) -> None:
    """Days of two readings an hour each, labelled, in two parts."""
    hours = np.arange(24) / 24
    parts = {}
    for split, count in (("train", 300), ("test", 100)):
        season = rng.integers(0, 2, count)
        heat = 5 + 15 * season[:, None] + 4 * np.sin(2 * np.pi * hours) + rng.normal(0, 1, (count, 24))
        parts[f"x_{split}"] = np.stack([heat, 1013 + rng.normal(0, 4, (count, 24))], axis=1).astype(np.float32)
        parts[f"y_{split}"] = season
    np.savez(path, **parts, label_names=np.array(["winter", "summer"]))


def sprites(path: Path, rng: np.random.Generator) -> None:
    """Pictures as an array, with transparent corners."""
    pixels = rng.integers(0, 256, (64, 16, 16, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[:48, :4, :4, 3] = 0
    np.save(path, pixels)
