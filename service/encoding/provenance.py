"""What made samples, as documents tell it: which generator, seed and row, for which label and condition; and the mark
that they are synthetic, as picture tools read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np
import orjson

from latentserve.service.bundle import plain
from latentserve.service.encoding.rows import Conditions, Numbers, Rows

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" Iptc4xmpExt:DigitalSourceType={source} xmp:CreatorTool={tool}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


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

    def at(self, row: int) -> Provenance:
        """Of the row so many rows on."""
        return self._replace(offset=self.offset + row)

    def of(self, part: Rows, row: int, first: int) -> Provenance:
        """Of one row of a part; the answer's row `first` is the part's first."""
        if part.numbers is None:
            return self.at(first + row)
        return self._replace(offset=int(part.numbers[row]))

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

    def text(self) -> dict[str, str]:
        """Key and value pairs, for formats that keep text."""
        pairs = {"Software": "latentserve", "Model": self.model, "Version": self.version}
        if self.seed is not None:
            pairs |= {"Seed": str(self.seed), "Row": str(self.offset)}
        return pairs

    def sentence(self) -> str:
        """The same in a line that people read, in ASCII."""
        told = self.text()
        del told["Software"]
        return ", ".join(["synthetic", *(f"{key} {value}" for key, value in told.items())])

    def xmp(self) -> str:
        """An XMP packet with IPTC's digital source type `trainedAlgorithmicMedia`."""
        tool = f"latentserve {self.model} {self.version}"
        return _XMP.format(source=quoteattr(DIGITAL_SOURCE_TYPE), tool=quoteattr(tool))


def named(conditions: Conditions, names: Sequence[str]) -> list[dict[str, float]]:
    """Rows of float32 [n, k] as objects, their k numbers by name: the doubles of their shortest decimals."""
    text = orjson.dumps(np.ascontiguousarray(conditions), option=orjson.OPT_SERIALIZE_NUMPY)
    return [dict(zip(names, row, strict=True)) for row in orjson.loads(text)]
