"""Why something failed, in one line."""

import errno

import pytest

from latentserve.service.errors import is_shortage, one_line


def raised(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError("\n  first\nsecond"), "first"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (MemoryError(), "there is no memory left"),
        (FileNotFoundError(2, "No such file or directory", "x.npy"), "No such file or directory"),
        (OSError("cannot identify image file 'x.png'"), "cannot identify image file 'x.png'"),
        (
            raised(ImportError("IMPORTANT"), ImportError("liby.so: failed to map segment")),
            "liby.so: failed to map segment (no memory is left, as of `ulimit -v`, or nothing there may be executed)",
        ),
        (raised(ImportError("IMPORTANT: PLEASE READ THIS"), OSError("libx.so: cannot map")), "libx.so: cannot map"),
    ],
)
def test_it_is_the_first_that_says_something(error: Exception, line: str) -> None:
    assert one_line(error) == line
    assert is_shortage(error) == ("memory" in line)


def test_what_the_machine_has_no_more_of():
    for number, shortage in ((errno.ENOSPC, True), (errno.EMFILE, True), (errno.ENOENT, False), (errno.EACCES, False)):
        assert is_shortage(OSError(number, "x")) is shortage
    assert is_shortage(RuntimeError("can't start new thread"))
    assert not is_shortage(RuntimeError("x"))
