"""The mark: the same in every format, and nothing in it that a reader of XML or JSON cannot take."""

from __future__ import annotations

import io
import json
import struct
import wave
import zipfile
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.animation import Animation
from latentserve.service.encoding.document import GIF, NPZ, PNG, WAV, WEBP, ZIP, Document
from latentserve.service.encoding.documents import make_document
from latentserve.service.encoding.provenance import AIGC_NAMESPACE, MARK_NAMESPACE, Provenance
from latentserve.service.encoding.rows import Rows

LABELS = ["nought", 'quoted "one" & <two>', "三", "\x00\x07"]
PICTURE = SampleSpec(kind="image", shape=[1, 4, 4], value_range=(-1, 1), channels="L")
SOUND = SampleSpec(kind="audio", shape=[64], sample_rate=8000)
MADE_BY = Provenance(
    "toy", "0123456789ab", 7, 3, 0.5, labels=LABELS, conditions=["energy"], label_bytes=40, producer="Ours & Söhne"
)


def written(document: Document, *parts: Rows) -> bytes:
    pieces = [document.opening()]
    for part in parts:
        pieces += map(bytes, document.rows(part))
    return b"".join([*pieces, *map(bytes, document.closing())])


def described(packet: bytes) -> ElementTree.Element:
    text = packet.decode()
    tree = ElementTree.fromstring(text[text.index("<x:xmpmeta") : text.rindex("<?xpacket")])  # noqa: S314
    (description,) = tree.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    return description


def mark_of(packet: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(described(packet).attrib[f"{{{MARK_NAMESPACE}}}Mark"])
    return told


def chunks(content: bytes) -> dict[bytes, bytes]:
    """Of a RIFF file, whose length is what it says."""
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    found, at = {}, 12
    while at < len(content):
        name, size = struct.unpack("<4sI", content[at : at + 8])
        found[name] = content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


def rows(spec: SampleSpec, n: int, label: int = 1, numbers: list[int] | None = None) -> Rows:
    values = np.random.default_rng(0).uniform(-1, 1, (n, *spec.shape)).astype(np.float32)
    labels, conditions = np.full(n, label), np.full((n, 1), 0.1, np.float32)
    return Rows(values, labels, conditions, None if numbers is None else np.array(numbers))


def packet_of(media: str, n: int, part: Rows, provenance: Provenance = MADE_BY) -> bytes:
    spec = SOUND if media == WAV else PICTURE
    document = (
        Animation(GIF, n, spec, provenance, 10, 1e9) if media == GIF else make_document(media, n, spec, provenance)
    )
    content = written(document, part)
    if media == WAV:
        assert dict(document.headers)[b"content-length"] == b"%d" % len(content)
        with wave.open(io.BytesIO(content)) as file:
            assert file.getnframes() == 64 * n
        return chunks(content)[b"_PMX"]
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        packet: bytes | None = picture.info.get("xmp")
    return packet or content.split(b"XMP DataXMP")[1].split(b"\x01\xff")[0]


@pytest.mark.parametrize("media", [PNG, WEBP, WAV])
@pytest.mark.parametrize("label", range(4))
def test_a_row_says_what_it_was_made_for(media: str, label: int):
    """Though its label was drawn, and is known when the row is."""
    told = mark_of(packet_of(media, 1, rows(PICTURE if media != WAV else SOUND, 1, label)))
    assert told == {
        "model": "toy", "version": "0123456789ab", "n": 1, "seed": 7, "offset": 3, "truncation": 0.5,
        "synthetic": True, "label": LABELS[label], "condition": {"energy": 0.1},
    }  # fmt: skip


@pytest.mark.parametrize("media", [PNG, WEBP, WAV, GIF])
def test_rows_say_what_was_asked_for(media: str):
    part = rows(SOUND if media == WAV else PICTURE, 3)
    drawn = mark_of(packet_of(media, 3, part))
    assert "label" not in drawn
    assert "condition" not in drawn
    one = np.broadcast_to(np.array([2]), (3,))
    of_all = mark_of(packet_of(media, 3, part, MADE_BY._replace(asked_labels=one)))
    assert of_all == {**drawn, "label": "三"}
    several = MADE_BY._replace(asked_labels=np.array([0, 1, 2]), asked_conditions=np.float32([[1], [np.nan], [3]]))
    told = mark_of(packet_of(media, 3, part, several))
    assert told["labels"] == LABELS[:3]
    assert told["conditions"] == [{"energy": 1}, {}, {"energy": 3}]


@pytest.mark.parametrize("media", [PNG, WEBP, WAV])
def test_chosen_rows_say_which_they_are(media: str):
    spec = SOUND if media == WAV else PICTURE
    chosen = MADE_BY._replace(chosen=True)
    assert mark_of(packet_of(media, 3, rows(spec, 3, numbers=[5, 90, 1 << 52]), chosen))["rows"] == [5, 90, 1 << 52]
    assert mark_of(packet_of(media, 1, rows(spec, 1, numbers=[90]), chosen))["offset"] == 90


def test_a_long_list_is_said_to_be_left_out():
    labels = np.zeros(4097, np.int64)
    told = MADE_BY._replace(asked_labels=labels).mark(4097)
    assert told["untold"] == ["labels"]
    assert len(MADE_BY._replace(asked_labels=labels[:-1]).mark(4096)["labels"]) == 4096  # type: ignore[arg-type]


@pytest.mark.parametrize("media", [PNG, WEBP, WAV, GIF])
def test_a_producer_is_named_in_the_seven_fields_of_gb_45438(media: str):
    part = rows(SOUND if media == WAV else PICTURE, 1)
    made_for = "" if media == GIF else "&label=quoted+%22one%22+%26+%3Ctwo%3E&condition.energy=0.1"
    found = described(packet_of(media, 1, part)).find(f"{{{AIGC_NAMESPACE}}}AIGC")
    assert found is not None
    assert json.loads(found.text or "") == {
        "Label": "1",
        "ContentProducer": "Ours & Söhne",
        "ProduceID": f"/v1/models/toy/versions/0123456789ab/samples/7?offset=3&n=1{made_for}&truncation=0.5",
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    unnamed = described(packet_of(media, 1, part, MADE_BY._replace(producer="")))
    assert unnamed.find(f"{{{AIGC_NAMESPACE}}}AIGC") is None


def test_a_sound_has_the_seven_fields_in_a_chunk_of_its_own():
    content = written(make_document(WAV, 1, SOUND, MADE_BY), rows(SOUND, 1))
    assert json.loads(chunks(content)[b"AIGC"])["ContentProducer"] == "Ours & Söhne"


def test_archives_hold_the_mark():
    of_all = MADE_BY._replace(asked_labels=np.broadcast_to(np.array([2]), (2,)))
    with zipfile.ZipFile(io.BytesIO(written(make_document(ZIP, 2, PICTURE, of_all), rows(PICTURE, 2, 2)))) as archive:
        assert json.loads(archive.read("about.json")) == of_all.mark(2)
        with Image.open(io.BytesIO(archive.read("000004.png"))) as picture:
            picture.load()
            assert mark_of(picture.info["xmp"])["label"] == "三"
    with zipfile.ZipFile(io.BytesIO(written(make_document(NPZ, 2, PICTURE, of_all), rows(PICTURE, 2, 2)))) as archive:
        assert json.loads(archive.comment) == of_all.mark(2)


@given(label=st.text(min_size=1, max_size=256), name=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_any_label_comes_back(label: str, name: str):
    provenance = Provenance(name, "0123456789ab", 0, 0, labels=[label], producer=label).of(rows(PICTURE, 1, 0), 0, 0)
    packet = provenance.xmp()
    assert mark_of(packet)["label"] == label
    assert provenance.xmp(size=9999).endswith(b'\n<?xpacket end="r"?>')
    assert len(provenance.xmp(size=9999)) == max(9999, len(packet))
    assert provenance.sentence().isascii()
