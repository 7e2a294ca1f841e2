"""Every error a user can meet, each with its HTTP status and its stable problem type.

bytes -> request -> rows -> samples -> answer: an error belongs to the first step that could not be taken.
On the command line the message is the one line that is printed; over HTTP it is the `detail` of an RFC 9457 problem.
"""

from __future__ import annotations

import errno

_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_SHORTAGES = (errno.ENOMEM, errno.EAGAIN, *_OF_FILES)
_UNMAPPED = "failed to map segment"  # of the loader of libraries


def one_line(error: BaseException) -> str:
    """Why something failed, for a sentence that names what: the system's own words (`No such file or directory`), else
    the first line of the message that is not blank, else the error's class.
    """
    if isinstance(error, MemoryError):
        return "there is no memory left"
    if _is_of_a_thread(error):
        return (
            "no thread can be started: the limit of threads and processes (`ulimit -u`, pids.max), or of memory "
            "(`ulimit -v`), is reached, or the sandbox forbids it (an old profile of seccomp)"
        )
    if isinstance(error, ImportError) and error.__cause__ is not None:  # what went wrong, without a library's advice
        return one_line(error.__cause__)
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    if _UNMAPPED in line:
        return f"{line} (no memory is left, as of `ulimit -v`, or nothing there may be executed)"
    return line


def is_shortage(error: BaseException) -> bool:
    """Whether the machine has no more of something: memory, threads, files, room on a disk. Then the line says all, and
    where it was noticed is of no interest."""
    if isinstance(error, ImportError):
        return _UNMAPPED in str(error.__cause__ or error)
    return isinstance(error, MemoryError) or _is_of_a_thread(error) or getattr(error, "errno", None) in _SHORTAGES


def _is_of_a_thread(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"


class LatentserveError(Exception):
    """Base of the family: `str(error)` is one clear line that names the file or the field."""

    status = 500
    slug = "internal"
    title = "The server failed"

    @property
    def type(self) -> str:
        """The stable problem type (RFC 9457, section 3.1.1), a URI."""
        return f"urn:problem-type:latentserve:{self.slug}"


class BundleError(LatentserveError):
    """A bundle, or a file that should become one, is missing, damaged or not what it says."""

    slug = "bundle"
    title = "The bundle cannot be used"


class SignatureError(BundleError):
    """A bundle is not signed, or not by whom it should be, or the signature is of something else."""

    slug = "signature"
    title = "The bundle's signature is not good"


class RuntimeMissingError(LatentserveError):
    """ONNX Runtime, or the device that was asked for, is not there; or an extra that a command needs."""

    slug = "runtime"
    title = "The runtime cannot be used"


class MalformedError(LatentserveError):
    """The body is not JSON."""

    status = 400
    slug = "malformed-json"
    title = "The body is not JSON"


class MalformedArraysError(LatentserveError):
    """The body is not the file of arrays that its `Content-Type` says."""

    status = 400
    slug = "malformed-arrays"
    title = "The body is no file of arrays"


class BadRequestError(LatentserveError):
    """The request is not HTTP as it should be: a body whose pieces do not fit together."""

    status = 400
    slug = "malformed-request"
    title = "The request is malformed"


class UnauthorizedError(LatentserveError):
    """A key is needed, and there is none, or one that is of no use; `given`: there was one."""

    status = 401
    slug = "unauthorized"
    title = "A key is needed"

    def __init__(self, message: str, *, given: bool = False) -> None:
        super().__init__(message)
        self.given = given


class ForbiddenError(LatentserveError):
    """The key is not for what was asked for, but for other `scope`s."""

    status = 403
    slug = "forbidden"
    title = "The key is not for this"

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class ClosedError(LatentserveError):
    """The server answers its own machine only, and was reached from another."""

    status = 403
    slug = "closed"
    title = "The server is not open"


class NotFoundError(LatentserveError):
    """No such route, model or version is served."""

    status = 404
    slug = "not-found"
    title = "Not found"


class MethodNotAllowedError(LatentserveError):
    """The route is there, for the method `allowed`."""

    status = 405
    slug = "method-not-allowed"
    title = "Method not allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(f"{message}: only {allowed} is answered here")
        self.allowed = allowed


class NotAcceptableError(LatentserveError):
    """None of the media types in `Accept` can be served for this kind of sample."""

    status = 406
    slug = "not-acceptable"
    title = "No acceptable media type"


class BodyTimeoutError(LatentserveError):
    """The body took longer to arrive than the server waits."""

    status = 408
    slug = "body-timeout"
    title = "The body took too long"


class PreconditionError(LatentserveError):
    """The client wants this answer only while its entity tag is another than it is."""

    status = 412
    slug = "precondition-failed"
    title = "The answer is not the one that was meant"


class TooLargeError(LatentserveError):
    """The body, or the number of rows asked for, is over the server's limit."""

    status = 413
    slug = "too-large"
    title = "The request is too large"


class UnsupportedMediaError(LatentserveError):
    """The body's `Content-Type` is none that is read here."""

    status = 415
    slug = "unsupported-media-type"
    title = "The body's media type is not supported"


class MisdirectedError(LatentserveError):
    """The server was asked under a name that is not its own: by a page, perhaps, whose name was made to mean this
    machine."""

    status = 421
    slug = "misdirected"
    title = "The server is not called so"


class UnsupportedEncodingError(LatentserveError):
    """The body's `Content-Encoding` is none that is decoded; `accepted` names those that are."""

    status = 415
    slug = "unsupported-content-encoding"
    title = "The body's content encoding is not supported"

    def __init__(self, message: str, accepted: str) -> None:
        super().__init__(f"{message}; {accepted} are")
        self.accepted = accepted


class RangeError(LatentserveError):
    """Of an answer of `length` bytes a part was asked for that it does not have."""

    status = 416
    slug = "range-not-satisfiable"
    title = "The answer has no such part"

    def __init__(self, message: str, length: int) -> None:
        super().__init__(message)
        self.length = length


class InvalidError(LatentserveError):
    """A field has a wrong type or value, or is unknown; `field` names it as a path (`latents[3][0]`)."""

    status = 422
    slug = "invalid-field"
    title = "A field is invalid"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field or repr(field)}: {reason}")
        self.field, self.reason = field, reason


class BudgetError(LatentserveError):
    """Of the rows that were to be looked at, `looked_at` all in all, fewer than are wanted were what was asked for:
    `passed`."""

    status = 422
    slug = "budget-ended"
    title = "Too few rows are such"

    def __init__(self, message: str, looked_at: int, passed: int) -> None:
        super().__init__(message)
        self.looked_at, self.passed = looked_at, passed


class QueueFullError(LatentserveError):
    """The queue holds as many rows as it may; `retry_after` is in seconds, from the measured service rate."""

    status = 429
    slug = "queue-full"
    title = "The queue is full"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaError(LatentserveError):
    """The key has had what it may have for now; `retry_after` is in seconds."""

    status = 429
    slug = "quota"
    title = "The key's quota is used up"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReadyError(LatentserveError):
    """The model is not verified and warmed, its golden probes failed, or the server is draining."""

    status = 503
    slug = "not-ready"
    title = "Not ready"

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineError(LatentserveError):
    """The rows were not made within the deadline."""

    status = 504
    slug = "deadline-exceeded"
    title = "The deadline passed"


class EngineError(LatentserveError):
    """The engine failed on this batch; other requests are not touched."""

    slug = "engine"
    title = "The engine failed"
