"""What made samples, as documents tell it: which generator, seed and row, for which label and condition; and the mark
that they are synthetic, as other tools read it, from which the rows can be made again.

The mark is one JSON object wherever it stands: in an XMP packet of pictures and sounds (IPTC Photo Metadata Standard
2023.2: `DigitalSourceType`; TC260-PG-20258A: `TC260:AIGC`, the seven fields of GB 45438-2025), in the metadata of Arrow
and Parquet, in ZIP's `about.json`, in the header `Latentserve-Mark` of what has no room for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
import orjson

from latentserve.service.bundle import plain
from latentserve.service.encoding.rows import Conditions, Labels, Numbers, Rows

SOFTWARE = "latentserve"
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

MARK_NAMESPACE = "urn:latentserve:mark"
AIGC_NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"

_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:latentserve="{MARK_NAMESPACE}"
 Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}" xmp:CreatorTool="latentserve %s"
 latentserve:Mark="%%b"%%b</rdf:RDF></x:xmpmeta>%%b
<?xpacket end="r"?>"""
_AIGC = f' xmlns:TC260="{AIGC_NAMESPACE}">\n<TC260:AIGC>%s</TC260:AIGC></rdf:Description>\n'
_TOLD_ROWS = 4096  # that a mark names one by one
_ROW_BYTES = 24  # of a row's number, with what is around it


class Provenance(NamedTuple):
    """What made an answer's rows. It holds no time of day: equal requests have equal bytes.

    Attributes:
        seed: None where a client's latents made them.
        offset: the number of the first row.
        truncation: None where latents were sent.
        noise_seed: of rows that latents made, the seed of their noise.
        labels, conditions: names by index and by column, none of a model that takes none.
        label_bytes: of the longest name, as JSON.
        scored: rows were chosen by the critic's scores, which are told.
        chosen: rows were chosen, and need not follow one another.
        producer: who answers for it by GB 45438, empty: nobody was named.
        asked_labels, asked_conditions: what was asked for of each row (NaN: drawn), None: all were drawn.
        asked_rows: the rows' numbers, where they are known and do not follow one another.
        derived: how the latents were worked out from those of other rows.
    """

    model: str
    version: str
    seed: int | None
    offset: int
    truncation: float | None = None
    noise_seed: int | None = None
    labels: Sequence[str] = ()
    conditions: Sequence[str] = ()
    label_bytes: int = 0
    scored: bool = False
    chosen: bool = False
    producer: str = ""
    asked_labels: Labels | None = None
    asked_conditions: Conditions | None = None
    asked_rows: Numbers | None = None
    derived: Mapping[str, object] | None = None

    def at(self, row: int) -> Provenance:
        """Of the row so many rows on."""
        return self._replace(offset=self.offset + row)

    def of(self, part: Rows, row: int, first: int) -> Provenance:
        """Of one row of a part, with what it was made for; the answer's row `first` is the part's first."""
        return self._replace(
            offset=self.offset + first + row if part.numbers is None else int(part.numbers[row]),
            asked_labels=None if part.labels is None or not self.labels else part.labels[row : row + 1],
            asked_conditions=None if part.conditions is None or not self.conditions else part.conditions[row : row + 1],
            derived=None if self.derived is None else {**self.derived, "frame": first + row},
        )

    def knowing(self, part: Rows, n: int) -> Provenance:
        """With what is known of an answer's n rows, whose first part this is: of a single row what it was made for, of
        others their numbers, where the part is all of them."""
        if len(part.samples) != n:
            return self
        if n == 1:
            return self.of(part, 0, 0)._replace(derived=self.derived)
        return self if part.numbers is None else self._replace(asked_rows=part.numbers)

    @property
    def told_seed(self) -> int | None:
        """The seed that says something of the rows: all of them, or their noise."""
        return self.noise_seed if self.seed is None else self.seed

    def head(self, n: int) -> dict[str, object]:
        """What is the same of all n rows, as JSON tells it."""
        told: dict[str, object] = {"model": self.model, "version": self.version, "n": n}
        if (seed := self.told_seed) is not None:
            told |= {"seed": seed, "offset": self.offset}
        if self.truncation is not None:
            told["truncation"] = self.truncation
        told["synthetic"] = True
        return told

    def label_names(self, part: Rows) -> list[str]:
        """Of each row; the model has labels."""
        return list(map(self.labels.__getitem__, () if part.labels is None else part.labels.tolist()))

    def numbers(self, part: Rows, first: int) -> Numbers:
        """Of each row in its seed, int64 [n]; the answer's row `first` is the part's first."""
        if part.numbers is not None:
            return part.numbers
        start = self.offset + first
        return np.arange(start, start + len(part.samples))

    def facts(self, part: Rows, first: int) -> list[dict[str, Any]]:
        """What is known of each row: `seed` (where it says something), `row`, `label`, `condition` (numbers by name),
        `score` (where rows were chosen by it).

        The answer's row `first` is the part's first.
        """
        seed = self.told_seed
        told: list[dict[str, Any]] = [
            {"row": row} if seed is None else {"seed": seed, "row": row} for row in self.numbers(part, first).tolist()
        ]
        if part.labels is not None:
            for one, label in zip(told, self.label_names(part), strict=True):
                one["label"] = label
        if part.conditions is not None:
            for one, condition in zip(told, named(part.conditions, self.conditions), strict=True):
                one["condition"] = condition
        if part.scores is not None:
            for one, score in zip(told, plain(part.scores), strict=True):
                one["score"] = score
        return told

    @property
    def facts_bytes(self) -> int:
        """Of those of one row as JSON, at the most."""
        return 80 + 30 * self.scored + self.label_bytes + sum(len(name) * 6 + 30 for name in self.conditions)

    @property
    def mark_bytes(self) -> int:
        """Of a mark that tells of one row, beyond those of any answer, at the most."""
        return 12 * len(self.producer) + 2 * self.label_bytes + 40 * len(self.conditions)

    def rows_mark_bytes(self, n: int) -> int:
        """The same of n rows."""
        told = self.asked_labels is not None or self.asked_conditions is not None
        return self.mark_bytes * (min(n, _TOLD_ROWS) if told else 1) + _ROW_BYTES * min(n, _TOLD_ROWS) * self.chosen

    def mark(self, n: int, *, short: bool = False) -> dict[str, object]:
        """What n rows are made again from: what is the same of all; `label` or `labels`, `condition` or `conditions`
        where they were asked for, and of a single row always; `rows`, where they do not follow one another.

        Lists of more than 4,096 rows, and where it is to be `short` all lists, are left out and named in `untold`.
        """
        told = self.head(n)
        if self.derived is not None:
            told["derived"] = self.derived
        untold = []
        most = 1 if short else _TOLD_ROWS
        if (labels := self.asked_labels) is not None:
            if n == 1 or not labels.strides[0]:
                told["label"] = self.labels[labels[0]]
            elif n <= most:
                told["labels"] = [self.labels[label] for label in labels.tolist()]
            else:
                untold.append("labels")
        if (conditions := self.asked_conditions) is not None:
            if n == 1 or not conditions.strides[0]:
                (told["condition"],) = _given(conditions[:1], self.conditions)
            elif conditions.size <= most:
                told["conditions"] = _given(conditions, self.conditions)
            else:
                untold.append("conditions")
        if self.asked_rows is not None:
            if n <= most:
                told["rows"] = self.asked_rows.tolist()
            else:
                untold.append("rows")
        if untold:
            told["untold"] = untold
        return told

    def mark_text(self, n: int, *, short: bool = False) -> str:
        """The mark as JSON in ASCII."""
        return _ascii(self.mark(n, short=short))

    def header(self, n: int) -> tuple[bytes, bytes]:
        """That of an answer in a format that has no room for the mark."""
        return b"latentserve-mark", self.mark_text(n, short=True).encode()

    def address(self, n: int) -> str:
        """The path, and the query, of the rows at a server: of those that one request by GET gives."""
        told: dict[str, object] = {"offset": self.offset, "n": n}
        if (labels := self.asked_labels) is not None and (n == 1 or not labels.strides[0]):
            told["label"] = self.labels[labels[0]]
        if (conditions := self.asked_conditions) is not None and (n == 1 or not conditions.strides[0]):
            told |= {f"condition.{name}": value for name, value in _given(conditions[:1], self.conditions)[0].items()}
        if self.truncation not in (None, 1):
            told["truncation"] = self.truncation
        model, version = quote(self.model, safe=""), quote(self.version, safe="")
        return f"/v1/models/{model}/versions/{version}/samples/{self.told_seed}?{urlencode(told)}"

    def aigc(self, n: int) -> str:
        """The seven fields of GB 45438-2025 as JSON in ASCII, empty where no producer was named. `Label` 1: it is made
        by AI. Who passes it on fills in the fields that are empty."""
        if not self.producer:
            return ""
        made = f"{self.model}/{self.version}" if self.told_seed is None else self.address(n)
        return _ascii(
            {
                "Label": "1",
                "ContentProducer": self.producer,
                "ProduceID": made,
                "ReservedCode1": "",
                "ContentPropagator": "",
                "PropagateID": "",
                "ReservedCode2": "",
            }
        )

    def text(self, n: int = 1) -> dict[str, str]:
        """Key and value pairs, for formats that keep text."""
        pairs = {"Software": SOFTWARE, "Model": self.model, "Version": self.version}
        if self.seed is not None:
            pairs |= {"Seed": str(self.seed), "Row": str(self.offset)}
        if (labels := self.asked_labels) is not None and (n == 1 or not labels.strides[0]):
            label = self.labels[labels[0]]
            if label.isprintable():
                pairs["Label"] = label
        return pairs

    def sentence(self, n: int = 1) -> str:
        """The same in a line that people read, in ASCII."""
        told = self.text(n)
        del told["Software"]
        line = ", ".join(["synthetic", *(f"{key} {value}" for key, value in told.items())])
        return line if line.isascii() else line.encode("ascii", "backslashreplace").decode()

    def xmp(self, n: int = 1, size: int = 0) -> bytes:
        """An XMP packet with IPTC's digital source type `trainedAlgorithmicMedia` and the mark of n rows, padded to so
        many bytes."""
        end = b"/>\n"
        if aigc := self.aigc(n):
            end = (_AIGC % _escaped(aigc)).encode()
        frame = _xmp_of(self.model, self.version)
        mark = _escaped(self.mark_text(n)).encode()
        packet = frame % (mark, end, b"")
        return packet if len(packet) >= size else frame % (mark, end, b" " * (size - len(packet)))


@lru_cache(maxsize=64)
def _xmp_of(model: str, version: str) -> bytes:
    """The packet of a model, in which there are places for the mark, what ends its element, and spaces."""
    return (_XMP % _escaped(f"{model} {version}").replace("%", "%%")).encode()


def _escaped(text: str) -> str:
    """ASCII, as it stands in XML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _ascii(told: Mapping[str, object]) -> str:
    text = orjson.dumps(told).decode()
    return text if text.isascii() else json.dumps(told, separators=(",", ":"))


def _given(conditions: Conditions, names: Sequence[str]) -> list[dict[str, float]]:
    """Rows of float32 [n, k] as objects, without what is NaN."""
    return [{name: value for name, value in row.items() if value is not None} for row in named(conditions, names)]


def named(conditions: Conditions, names: Sequence[str]) -> list[dict[str, float]]:
    """Rows of float32 [n, k] as objects, their k numbers by name: the doubles of their shortest decimals."""
    text = orjson.dumps(np.ascontiguousarray(conditions), option=orjson.OPT_SERIALIZE_NUMPY)
    return [dict(zip(names, row, strict=True)) for row in orjson.loads(text)]
