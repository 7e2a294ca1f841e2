"""Pictures as OpenAI's clients read them: a JSON object with a list `data`, and what is known of each row in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest
from latentserve.service.encoding import arrays, images
from latentserve.service.encoding.document import HEAD_BYTES, JSON, Document, Piece
from latentserve.service.encoding.png import LARGEST_SIDE as PNG_SIDE
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows, in_parts
from latentserve.service.encoding.signed import Signer, require_room
from latentserve.service.sampling.prompt import Vocabulary

Form = Literal["png", "webp", "jpeg"]

LARGEST_SIDE: dict[Form, int] = {"png": PNG_SIDE, "webp": images.WEBP_SIDE, "jpeg": images.JPEG_SIDE}

_PIXEL_BYTES = {"png": 0, "webp": images.WEBP_BYTES, "jpeg": 8}  # of memory, while a picture is written


class Pictures(Document):
    """Each with its seed and row, its label and conditions, and the prompt that asks for these (`revised_prompt`).

    `quality`, 0 to 100, is that of JPEG and WebP; None: the best, which of WebP is without loss.
    """

    headers = ((b"content-type", JSON.encode()),)

    has_room = True

    def __init__(
        self,
        n: int,
        manifest: Manifest,
        provenance: Provenance,
        vocabulary: Vocabulary,
        form: Form,
        quality: int | None,
        signer: Signer | None = None,
    ) -> None:
        _, height, width = manifest.sample.shape
        pixels = height * width
        self._manifest = manifest
        self._provenance = provenance
        self._vocabulary = vocabulary
        self._form = form
        self._quality = quality
        self._signer = signer
        self._row = 0
        self.in_one_go = form != "png" and pixels > images.SMALL_PIXELS
        self.size = HEAD_BYTES + n * ((math.prod(manifest.sample.shape) + HEAD_BYTES) * 4 // 3 + HEAD_BYTES)
        self.held = pixels * _PIXEL_BYTES[form]
        if signer is not None:
            require_room(self.size // n)
            self.held += self.size // n
            self.size += n * signer.size * 4 // 3

    def opening(self) -> bytes:
        """What is the same of all, and the start of the list."""
        _, height, width = self._manifest.sample.shape
        fields = {
            "created": int(self._manifest.created.timestamp()),
            "output_format": self._form,
            "size": f"{width}x{height}",
            "model": self._provenance.model,
            "version": self._provenance.version,
            "synthetic": True,
        }
        return orjson.dumps(fields)[:-1] + b',"data":['

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The inside of the list."""
        first, self._row = self._row, self._row + len(part.samples)
        facts = self._provenance.facts(part, first)
        row = 0
        for some in in_parts(part.samples):
            for picture in images.pixels(some, self._manifest.sample):
                yield b',{"b64_json":"' if first + row else b'{"b64_json":"'
                provenance = self._provenance.of(part, row, first)
                written = self._written(picture, provenance)
                if self._signer is not None:
                    content = b"".join(written)
                    written = iter([self._signer.sign(content, f"image/{self._form}", provenance.mark(1))])
                yield from arrays.base64_of(written)
                told = facts[row]
                if prompt := self._vocabulary.say(told.get("label"), told.get("condition", {})):
                    told["revised_prompt"] = prompt
                yield b'",' + orjson.dumps(told)[1:]
                row += 1

    def closing(self) -> Iterator[Piece]:
        """The end."""
        yield b"]}"

    def _written(self, picture: NDArray[np.uint8], provenance: Provenance) -> Iterator[bytes]:
        """An image uint8 [C, H, W] as a file."""
        if self._form == "png":
            return images.png(picture, provenance)
        pixels = np.ascontiguousarray(np.moveaxis(picture, 0, -1))
        if self._form == "webp":
            return iter([images.webp(pixels, provenance, self._quality)])
        return iter([images.jpeg(pixels, provenance, images.JPEG_QUALITY if self._quality is None else self._quality)])
