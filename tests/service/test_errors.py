"""Why something failed, in one line."""

import pytest

from latentserve.service.errors import one_line


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
        (raised(ImportError("IMPORTANT: PLEASE READ THIS"), OSError("libx.so: cannot map")), "libx.so: cannot map"),
    ],
)
def test_it_is_the_first_that_says_something(error: Exception, line: str) -> None:
    assert one_line(error) == line
