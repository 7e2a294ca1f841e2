"""Bodies that a fuzzer makes up by what they reach (atheris, on libFuzzer): each is fields, or one of our refusals.

    python -m tests.service.http.fuzz_bodies inference|arrays|bodies -max_total_time=600

It runs where atheris is installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["latentserve.service.http", "latentserve.service.sampling.fields", "zipfile"]):
    from latentserve.service.errors import LatentserveError
    from latentserve.service.http import json_pieces, scores
    from latentserve.service.http.arrays import SAMPLED, SCORED, read_npy, read_npz
    from latentserve.service.http.body import SamplesBody, parse_long
    from latentserve.service.http.inference.answer import Answer
    from latentserve.service.http.inference.request import header_length, parse_request
    from latentserve.service.http.inference.tensors import Span, read_list
    from latentserve.service.http.interpolations import InterpolationBody, VariationBody
    from latentserve.service.sampling.arithmetic.interpolation import interpolation_request_steps
    from latentserve.service.sampling.arithmetic.variations import variation_request_steps
    from latentserve.service.sampling.choosing.choice import search_request_steps
    from latentserve.service.sampling.fields import rows_request_steps
    from latentserve.service.sampling.pieces import at_once

import numpy as np

from latentserve.service.bundle import Column, SampleSpec
from tests.service.http.test_body import CONDITIONAL, PHYSICS, PLAIN

_LIMIT = 1 << 16
_STATUSES = (400, 413, 422)


def inference(content: bytes) -> None:
    """A body of the inference protocol: two bytes that say how long its header is, and the body."""
    stated, body = int.from_bytes(content[:2], "little"), content[2:]
    length = header_length(None if stated == _LIMIT - 1 else b"%d" % stated, body)
    asked = at_once(parse_request(body, length, "toy", None))
    for model in (CONDITIONAL, PLAIN, PHYSICS):
        with suppress(LatentserveError):
            request = at_once(rows_request_steps(asked.fields, model, 1000))
            Answer(request, model, asked.id, binary=asked.binary)


def numbers(content: bytes) -> None:
    """The data of a tensor: what is read is what a parser of JSON reads."""
    shape = [1 + content[0] % 4, 1 + content[0] // 4 % 4] if content else [1]
    text = content[1:]
    read = at_once(read_list(text, Span(0, len(text)), shape, "FP32", "inputs[0]"))
    with np.errstate(over="ignore"):
        expected = np.array(json.loads(text), np.float64).astype(np.float32).reshape(shape)
    assert np.array_equal(read, expected, equal_nan=True)


def arrays(content: bytes) -> None:
    """An array, or a file of several."""
    for name in ("samples", "latents", "labels", "conditions"):
        with suppress(LatentserveError):
            read_npy(content, name)
    for taken in (SAMPLED, SCORED):
        with suppress(LatentserveError):
            held = at_once(read_npz(content, _LIMIT, taken))
            assert sum(array.nbytes for array in held.values()) <= _LIMIT


def bodies(content: bytes) -> None:
    """A long JSON body of each kind, in pieces of a few bytes."""
    for model in (CONDITIONAL, PHYSICS):
        with suppress(LatentserveError):
            at_once(search_request_steps(at_once(parse_long(content, SamplesBody)), model, 1000, 10_000))
        with suppress(LatentserveError):
            at_once(interpolation_request_steps(at_once(parse_long(content, InterpolationBody)), model, 1000, _LIMIT))
        with suppress(LatentserveError):
            at_once(variation_request_steps(at_once(parse_long(content, VariationBody)), model, 1000, _LIMIT))
    for spec in SPECS:
        with suppress(LatentserveError):
            at_once(scores._values(at_once(parse_long(content, scores.ScoresBody)).samples, spec))


COLUMNS = [Column(name="a", missing=-1), Column(name="b", type="string", categories=["x", "y"])]
SPECS = (
    SampleSpec(kind="image", shape=[1, 2, 2], value_range=(-1, 1), channels="L"),
    SampleSpec(kind="array", shape=[2]),
    SampleSpec(kind="table", shape=[2], columns=COLUMNS),
)
TARGETS: dict[str, tuple[Callable[[bytes], None], ...]] = {
    "inference": (inference, numbers), "arrays": (arrays,), "bodies": (bodies,),
}  # fmt: skip


def main() -> None:
    """Run one of them until a body is neither, or the time is over."""
    _, name, *options = sys.argv
    json_pieces._PIECE_BYTES = 12

    def try_all(content: bytes) -> None:
        for target in TARGETS[name]:
            try:
                target(content)
            except LatentserveError as error:
                if error.status not in _STATUSES:
                    raise

    atheris.Setup([sys.argv[0], *options], try_all)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
