"""The data that the page on data shows, made by code."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image


def write_all(folder: Path) -> None:
    """`pets`, `faces`, `people.csv`, `birds` and `sensors.csv`."""
    rng = np.random.default_rng(0)
    pets(folder / "pets", rng)
    faces(folder / "faces", rng)
    people(folder / "people.csv", rng)
    birds(folder / "birds", rng)
    sensors(folder / "sensors.csv", rng)


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
