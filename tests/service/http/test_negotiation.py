"""`Accept`, by the examples of RFC 9110, section 12.5.1, and of real clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.errors import NotAcceptableError
from latentserve.service.http.negotiation import negotiate

JSON, PNG, WEBP, NPY = "application/json", "image/png", "image/webp", "application/x-npy"
OFFERS = [JSON, PNG, WEBP, NPY]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("*", JSON),
        ("text/html, *; q=.2", JSON),
        ("image/png, *;q=0.1", PNG),
        (", ,", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        (" image/png ", PNG),
        ("image/*", PNG),
        ("image/*, */*", JSON),
        ("image/*, */*;q=0.1", PNG),
        # The more specific range counts, whatever stands first.
        ("image/*;q=0.9, image/png;q=0.1", WEBP),
        ("image/png;q=0.1, image/*;q=0.9", WEBP),
        ("*/*;q=0.5, application/json;q=0", PNG),
        ("text/html, application/x-npy;q=0.2, image/webp;q=0.3", WEBP),
        ("application/json;charset=utf-8", JSON),
        ("application/x-npy; q=1.000", NPY),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", WEBP),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", PNG),
        ("image/png, image/webp", PNG),
        ("image/webp, image/png", PNG),
    ],
)
def test_the_best_of_the_offers(accept: str | None, expected: str) -> None:
    assert negotiate(accept, OFFERS) == expected


@pytest.mark.parametrize(
    "accept",
    ["text/html", "audio/*; q=0.2, audio/basic", "*/*;q=0", "application/json;q=0", "image/png;q=x", "*;q=0", "/"],
)
def test_none_of_the_offers(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="application/json"):
        negotiate(accept, OFFERS)


@given(accept=st.text(max_size=60) | st.from_regex(r"[a-z*]{1,5}/[a-z*]{1,5}(;q=[0-9.e-]{1,5})?(,\*/\*;q=0.1)?"))
def test_any_text_is_an_offer_or_a_refusal(accept: str) -> None:
    try:
        assert negotiate(accept, OFFERS) in OFFERS
    except NotAcceptableError as error:
        if "\n" in str(error):
            raise AssertionError(str(error)) from None
