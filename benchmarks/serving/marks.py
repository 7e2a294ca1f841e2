"""What marks and signatures cost an answer, what they still prove when a file was worked on, and how often a verdict on
a file is wrong.

    python -m benchmarks marks [--files 1000] [--only speed | --only verdicts] [--short]

Bundles of every kind of sample are made here. An answer is written as the server writes it, with its marks and without,
in turn; the median of the differences of the processor's time is what marks add. A sheet of 64 pictures is signed with
a certificate made here. In every format FILES files of rows are verified as they are, as many tampered with (from one
level of one pixel, or the last digit of a number, to a square of a tenth), and as many of other rows, of noise or of
slopes that bear a mark of ours. Verdicts do not depend on what else the machine does, and are gone on with where they
were interrupted; what was measured of speed is measured again with `--only speed`.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.environments import AbsentError
from benchmarks.runner import Results, table
from latentserve.service.credentials.package import C2PA_IS_THERE
from latentserve.service.credentials.signature import Signature, signature_of
from latentserve.service.encoding.document import CSV, JSON, NPY, PNG, WAV, WEBP
from latentserve.service.encoding.documents import make_document
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle
from latentserve.service.verifying.reading import read_file
from latentserve.service.verifying.verdict import Verified, concluded, mark_of, unmarked, verification
from tests.certificates import signing_chain
from tests.service.verifying.files import (
    KINDS,
    LIMITS,
    asked,
    formats,
    found,
    header_of,
    open_bundles,
    provenance_of,
    served,
)  # fmt: skip
from tests.service.verifying.tampering import foreign, tampered

TITLE = "Marks, signatures and verdicts"
SHORT = True
RESUMES = True

MICROSECONDS_AIM, MILLISECONDS_AIM = 20.0, 10.0
_COSTS = (("colour", PNG), ("colour", WEBP), ("colour", JSON), ("colour", NPY), ("sound", WAV), ("table", CSV))
_ROUNDS, _ANSWERS = 30, 40
_SHEET = 64
_SAVED = 50  # files of each form, after which they are written down
_FORMS = ("own", "tampered", "foreign")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=int, default=1000, help="of each form, in every format")
    parser.add_argument("--only", choices=("speed", "verdicts"), help="one part; the other stays as it was measured")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Raises AbsentError: C2PA's library is not installed."""
    if not C2PA_IS_THERE:
        raise AbsentError("latentserve[c2pa] is not installed")
    files = 10 if given.short else given.files
    with tempfile.TemporaryDirectory(prefix="marks-") as folder:
        opened = open_bundles(Path(folder))
        again = given.short or results.get("files") != files
        if given.only == "speed" or (given.only is None and (again or "costs" not in results)):
            costs = [{"kind": name, "media": media, **_cost(opened[name], media)} for name, media in _COSTS]
            results |= {"costs": costs, "sheet": _sheet(opened["colour"], Path(folder))}
            results.save()
        if given.only != "speed":
            if again:
                results |= {"files": files, "verdicts": {}}
            results["kept"] = list(_kept(opened["colour"], Path(folder)))
            results.save()
            _count_verdicts(opened, files, results)


def _count_verdicts(opened: dict[str, OpenedBundle], files: int, results: Results) -> None:
    """Of all formats that are not counted yet, or not to the end; each case draws by its own number."""
    kinds: dict[str, list[str]] = {}
    for name in KINDS:
        for media in formats(opened[name].manifest.sample):
            kinds.setdefault(media, []).append(name)
    for media, names in kinds.items():
        counted = results["verdicts"].setdefault(media, {form: {} for form in _FORMS})
        for case in range(sum(counted["own"].values()), files):
            random = np.random.default_rng((zlib.crc32(media.encode()), case))
            name = names[case % len(names)]
            for form, verdict in list(_verdicts(opened[name], name, media, random)):
                counted[form][verdict] = counted[form].get(verdict, 0) + 1
            if (case + 1) % _SAVED == 0:
                results.save()
        results.save()


class _Unmarked(Provenance):
    """Which tells nothing of what it makes."""

    def xmp(self, n: int = 1, size: int = 0) -> bytes:
        return b""

    def text(self, n: int = 1) -> dict[str, str]:
        return {"Software": ""}

    def sentence(self, n: int = 1) -> str:
        return ""

    def mark_text(self, n: int, *, short: bool = False) -> str:
        return ""

    def aigc(self, n: int) -> str:
        return ""


def _cost(bundle: OpenedBundle, media: str) -> dict[str, float]:
    """Microseconds of the processor for an answer of a row, and what marks add to it."""
    request = bundle.request(n=1, seed=7)
    (part,) = bundle.parts(request)
    rows = Rows(part.samples, part.labels, part.conditions)
    marked = provenance_of(bundle, request)
    spec = bundle.manifest.sample

    def write(provenance: Provenance) -> float:
        began = time.process_time_ns()
        for _ in range(_ANSWERS):
            document = make_document(media, 1, spec, provenance)
            pieces = [document.opening(), *document.rows(rows), *document.closing()]
            b"".join(pieces)
        return (time.process_time_ns() - began) / 1000 / _ANSWERS

    taken = [(write(marked), write(_Unmarked(*marked))) for _ in range(_ROUNDS)]
    added = statistics.median(one - other for one, other in taken)
    return {"marked": statistics.median(one for one, _ in taken), "added": added}


def _sheet(bundle: OpenedBundle, folder: Path) -> dict[str, float]:
    """Milliseconds of the processor to sign a sheet, and bytes that it grows by."""
    from latentserve.service.credentials.signer import read_signer

    chain = signing_chain(folder)
    signer = read_signer(chain.certificate, chain.key)
    content, _ = served(bundle, PNG, n=_SHEET, seed=7)
    mark = provenance_of(bundle, bundle.request(n=_SHEET, seed=7)).mark(_SHEET)
    taken, signed = [], b""
    for _ in range(_ROUNDS):
        began = time.process_time()
        signed = signer.sign(content, PNG, mark)
        taken.append(1000 * (time.process_time() - began))
    return {
        "milliseconds": statistics.median(taken), "most": max(taken), "bytes": len(signed) - len(content),
        "of": len(content),
    }  # fmt: skip


def _kept(bundle: OpenedBundle, folder: Path) -> Iterator[dict[str, Any]]:
    """What is proved of a signed sheet of four rows after each of what people do to files."""
    from latentserve.service.credentials.reading import read_trust
    from latentserve.service.credentials.signer import read_signer

    chain = signing_chain(folder, "Kept")
    content, _ = served(bundle, PNG, n=4, seed=7)
    mark = provenance_of(bundle, bundle.request(n=4, seed=7)).mark(4)
    signed = read_signer(chain.certificate, chain.key).sign(content, PNG, mark)
    trust = read_trust(chain.authority)
    for done, work in _WORKED.items():
        worked = work(signed)
        brought = read_file(worked, LIMITS)
        signature = signature_of(brought.assets, trust)
        verified = _verified(bundle, worked, signature)
        has = "holds" if signature is not None and signature.holds else "is there, and does not hold"
        yield {
            "done": done, "mark": brought.told is not None, "signature": "is gone" if signature is None else has,
            "verdict": verified.verdict, "rests_on": verified.rests_on,
        }  # fmt: skip


def _verified(bundle: OpenedBundle, content: bytes, signature: Signature | None) -> Verified:
    brought = read_file(content, LIMITS)
    told = mark_of(brought, None, signature)
    if told is None:
        return unmarked(signature)
    gives = bundle.gives("sample_uint8")
    steps = verification(brought, told, bundle.manifest, LIMITS, gives_uint8=gives, signature=signature)
    return concluded(steps, bundle.made)


def _saved(content: bytes, form: str, change: Callable[[Image.Image], Image.Image] | None = None, **more: Any) -> bytes:
    """As Pillow saves it, with its XMP packet."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        packet = picture.info.get("xmp")
        out = io.BytesIO()
        made = picture if change is None else change(picture)
        if form == "PNG":
            info = PngInfo()
            info.add_itxt("XML:com.adobe.xmp", packet.decode() if isinstance(packet, bytes) else packet or "")
            made.save(out, form, pnginfo=info)
        else:
            made.save(out, form, xmp=packet, **more)
    return out.getvalue()


def _texts_kept(content: bytes) -> bytes:
    """As Pillow saves a PNG with all the texts that it has read."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        info, out = PngInfo(), io.BytesIO()
        for key, text in picture.text.items():
            if key != "XML:com.adobe.xmp":
                info.add_text(key, text)
        picture.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _stripped(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as picture:
        out = io.BytesIO()
        Image.fromarray(np.array(picture)).save(out, "PNG")
    return out.getvalue()


def _packet_rewritten(content: bytes) -> bytes:
    """Attributes of the packet become elements, as ExifTool writes them; all else is as it was."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        packet = picture.info["xmp"].decode()
    tree = ElementTree.fromstring(packet[packet.index("<x:xmpmeta") : packet.rindex("<?xpacket")])  # noqa: S314
    (about,) = tree.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    ElementTree.register_namespace("x", "adobe:ns:meta/")
    for name in list(about.attrib):
        if not name.endswith("}about"):
            ElementTree.SubElement(about, name).text = about.attrib.pop(name)
    written = ElementTree.tostring(tree)
    start = content.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + written
    chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return content[:start] + chunk + content[end:]


_WORKED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: content,
    "its XMP packet written anew, as by ExifTool": _packet_rewritten,
    "saved by Pillow as PNG, with its XMP": lambda content: _saved(content, "PNG"),
    "saved by Pillow as PNG, with its texts only": _texts_kept,
    "to WebP without loss, and back to PNG": lambda content: _saved(
        _saved(content, "WEBP", lossless=True), "PNG"
    ),
    "to JPEG, quality 90, with its XMP": lambda content: _saved(content, "JPEG", quality=90),
    "resized by 0.8, with its XMP": lambda content: _saved(
        content, "PNG", lambda picture: picture.resize((27, 27), Image.Resampling.BICUBIC)
    ),
    "stripped of all metadata": _stripped,
}  # fmt: skip


def _verdicts(bundle: OpenedBundle, name: str, media: str, random: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Of one file as it is, of one that was tampered with, and of a foreign one."""
    given = asked(random, name)
    content, header = served(bundle, media, **given)
    header = header_of(header, given)
    yield "own", found(content, bundle, header).verdict
    yield "tampered", found(tampered(media, content, random), bundle, header).verdict
    other, header = foreign(bundle, media, random, **asked(random, name))
    yield "foreign", found(other, bundle, header).verdict


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    if "costs" in results:
        yield from ("## What marks add to an answer", "")
        yield f"Of one row; medians of {_ROUNDS} rounds of {_ANSWERS} answers."
        rows = [(one["kind"], one["media"], f"{one['marked']:.1f}", f"{one['added']:.1f}") for one in results["costs"]]
        head = ("sample", "answer", "CPU, us", f"of which marks, us (aim <= {MICROSECONDS_AIM:g})")
        yield from ("", *table(head, rows), "")
    if sheet := results.get("sheet"):
        yield (
            f"A sheet of {_SHEET} pictures, a PNG file of {sheet['of']:,} bytes, is signed in "
            f"{sheet['milliseconds']:.2f} ms of the processor, {sheet['most']:.2f} at the most (aim <= "
            f"{MILLISECONDS_AIM:g}), and grows by {sheet['bytes']:,} bytes."
        )
    if "kept" in results:
        yield from ("", "## What is still proved", "", "Of a signed PNG sheet of four rows, after each of:", "")
        kept = [
            (one["done"], "is there" if one["mark"] else "is gone", one["signature"], one["verdict"],
             ", ".join(one["rests_on"]) or "nothing") for one in results["kept"]
        ]  # fmt: skip
        yield from (*table(("done to it", "the mark", "the signature", "verdict", "rests on"), kept), "")
    if "verdicts" in results:
        yield from _report_of_verdicts(results)


def _report_of_verdicts(results: dict[str, Any]) -> Iterator[str]:
    yield from ("## Verdicts", "", f"{results['files']:,} files of each form in every format.", "")
    counted = [
        (media, *(_told(of[form]) for form in _FORMS), of["own"].get("no", 0), of["tampered"].get("exact", 0),
         of["foreign"].get("exact", 0) + of["foreign"].get("alike", 0))
        for media, of in results["verdicts"].items() if of["own"]
    ]  # fmt: skip
    head = ("format", *_FORMS, "own called no", "tampered called exact", "foreign called ours")
    wrong = [sum(row[place] for row in counted) for place in (-3, -2, -1)]
    yield from (*table(head, [*counted, ("all (aim: 0)", "", "", "", *wrong)]), "")


def _told(of: dict[str, int]) -> str:
    return ", ".join(f"{of[verdict]} {verdict}" for verdict in ("exact", "alike", "no") if verdict in of)
