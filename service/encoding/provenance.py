"""The mark that a picture is synthetic, as picture tools read it, and which generator and seed made it."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" Iptc4xmpExt:DigitalSourceType={source} xmp:CreatorTool={tool}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class Provenance:
    """What made a sample. It holds no time of day: equal requests have equal bytes."""

    model: str
    version: str
    seed: int | None
    offset: int

    def at(self, row: int) -> Provenance:
        """Of the row so many rows on."""
        return Provenance(self.model, self.version, self.seed, self.offset + row)

    def text(self) -> dict[str, str]:
        """Key and value pairs, for formats that keep text."""
        pairs = {"Software": "latentserve", "Model": self.model, "Version": self.version}
        if self.seed is not None:
            pairs |= {"Seed": str(self.seed), "Row": str(self.offset)}
        return pairs

    def xmp(self) -> str:
        """An XMP packet with IPTC's digital source type `trainedAlgorithmicMedia`."""
        tool = f"latentserve {self.model} {self.version}"
        return _XMP.format(source=quoteattr(DIGITAL_SOURCE_TYPE), tool=quoteattr(tool))
