"""What a sound can be asked for as: with the extra `audio`, and without it."""

from __future__ import annotations

import pytest

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import codecs
from latentserve.service.errors import InvalidError
from latentserve.service.http.openai import speech
from latentserve.service.http.openai.speech import SpeechBody, form_of


def asked(rate: int, *shape: int, form: str | None = None) -> str:
    spec = SampleSpec(kind="audio", shape=list(shape), sample_rate=rate)
    return form_of(SpeechBody.of(input="", response_format=form), spec, "chirps")


@pytest.fixture(params=[True, False], ids=["with", "without"])
def extra(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    for module in (codecs, speech):
        monkeypatch.setattr(module, "AUDIO_IS_THERE", request.param)
    return request.param


@pytest.mark.parametrize("form", [None, "mp3", "opus", "flac", "wav", "pcm"])
def test_forms(form: str | None, extra: bool) -> None:
    if extra or form == "wav":
        assert asked(16_000, 2, 100, form=form) == (form or "mp3")
        return
    with pytest.raises(InvalidError, match=r'needs the extra "audio".*; wav can be asked for without it'):
        asked(16_000, 2, 100, form=form)


def test_values_of_the_rate_that_is_played_need_nothing(extra: bool) -> None:
    assert asked(24_000, 100, form="pcm") == "pcm"


@pytest.mark.parametrize(
    ("rate", "shape", "form", "taken"),
    [
        (16_000, (3, 100), "mp3", "opus, flac, wav, pcm"),
        (250, (100,), None, "flac, wav"),
        (2_000_000, (1, 100), "flac", "mp3, opus, wav, pcm"),
    ],
)
def test_what_a_format_does_not_hold(rate: int, shape: tuple[int, ...], form: str | None, taken: str) -> None:
    with pytest.raises(InvalidError, match=f"does not hold .* at {rate} Hz; {taken} can be asked for"):
        asked(rate, *shape, form=form)


def test_what_is_no_sound_of_channels_and_frames() -> None:
    with pytest.raises(InvalidError, match="makes no sounds"):
        asked(16_000, 2, 2, 100)
