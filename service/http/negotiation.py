"""`Accept`: which of the media types that can be served the client likes best (RFC 9110, section 12.5.1); and which
codings it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from latentserve.service.encoding.documents import FORMATS
from latentserve.service.errors import NotAcceptableError

Offer = TypeVar("Offer", bound=str)


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """The best of `offers`, which stand in the server's own order. Raises NotAcceptableError."""
    if not accept:
        return offers[0]
    if accept in offers:
        return accept
    ranges = [_parse(part) for part in accept.split(",") if part.strip()]
    if not ranges:  # a list may be empty
        return offers[0]
    best, best_quality = None, 0.0
    for offer in offers:
        quality = _quality(offer, ranges)
        if quality > best_quality:
            best, best_quality = offer, quality
    if best is None:
        raise NotAcceptableError(f"Accept: none of {accept[:200]!r} can be served; {', '.join(offers)} can")
    return best


def named_media(named: str, offers: Sequence[str], formats: Mapping[Any, str] = FORMATS) -> str:
    """The media type of one of `formats`. Raises NotAcceptableError."""
    if (media := formats[named]) in offers:
        return media
    names = ", ".join(name for name, one in formats.items() if one in offers)
    raise NotAcceptableError(f"format: {named} cannot be served of this model's samples; {names} can")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client has said that it takes gzip (RFC 9110, section 12.5.3)."""
    return "gzip" in taken_codings(accept_encoding, ("gzip",))


def taken_codings(accept_encoding: str, offers: Sequence[Offer]) -> list[Offer]:
    """Those of `offers` that a client has said that it takes, best first."""
    codings = dict(_parse(part.replace("x-gzip", "gzip")) for part in accept_encoding.split(",") if part.strip())
    rest = codings.get("*", 0.0)
    taken = [offer for offer in offers if codings.get(offer, rest) > 0]
    return sorted(taken, key=lambda offer: -codings.get(offer, rest))


def _parse(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return media, float(value)
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that matches."""
    family = offer.split("/")[0] + "/*"
    for wanted in (offer, family, "*/*", "*"):  # the last is of programs older than media ranges, and some new ones
        for media, quality in ranges:
            if media == wanted:
                return quality
    return 0.0
