import signal

import pytest

from latentserve.training.commands import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_noted_within_the_block_and_as_before_after_it(number: int) -> None:
    before = signal.getsignal(number)
    with interruptible() as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        assert interrupted()
        signal.raise_signal(number)  # a second one changes nothing
    assert signal.getsignal(number) is before
