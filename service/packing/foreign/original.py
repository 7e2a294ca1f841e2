"""A generator as it was brought, run on rows of `z`, label and condition: what its bundle must give."""

from __future__ import annotations

import copy
import math
import re
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs, Latent
from latentserve.service.bundle.graph import is_external, opset
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.foreign.rows_axis import ROWS, rows_axis
from latentserve.service.packing.foreign.signature import Signature
from latentserve.service.packing.probing import other_shapes
from latentserve.service.packing.storing import mapped
from latentserve.service.sampling.engine import require_runtime
from latentserve.service.sampling.latents import draw_conditions, draw_latents
from latentserve.service.sampling.sessions import load, session_options

_LARGEST_WEIGHT = (1 << 31) - 1  # bytes, that the runtime takes as one from memory
_SECONDS = 300.0  # of one call, at the most: nobody waits as long for a row
_FIRST_OPSET = 7  # that the runtime has all operators of
_LAST_OPSET = onnx.defs.onnx_opset_version()


class Original:
    """A graph in a session of the runtime, fed as its signature says; its one output is the sample.

    Args:
        batch: rows that it takes at a time; None: any.

    Attributes:
        model: the graph.

    Raises BundleError naming `source`: the runtime cannot load it.
    """

    def __init__(self, model: onnx.ModelProto, source: str, signature: Signature, batch: int | None) -> None:
        self.signature, self.batch = signature, batch
        self.model, self._source = model, source
        self._session = _session(model, source)
        self._takes = {value.name for value in self._session.get_inputs()}
        self._most = 1  # rows that were run at once

    def anew(self) -> Original:
        """The same in a session in which no call was made yet, so that it is seen what calls take."""
        return Original(self.model, self._source, self.signature, self.batch)

    def of_batch(self, batch: int) -> Original:
        """The same session, for so many rows at a time."""
        other = copy.copy(self)
        other.batch = batch
        return other

    def run(self, inputs: Inputs) -> NDArray[Any]:
        """What it gives for these rows at once, [n, ...] in its own type; of a fixed batch, block by block. Raises
        BundleError: it does not run on them, or gives another number of rows."""
        self._most = max(self._most, len(inputs.z))
        if self.batch is None:
            return self._run(inputs)
        return self._joined(run_blocks(self._run, inputs, self.batch))

    def rows(self, inputs: Inputs) -> NDArray[Any]:
        """The same for any number of rows: the first alone, the others as many at once as were run before."""
        starts = [0, *range(1, len(inputs.z), self._most)]
        return self._joined([self.run(inputs.take(slice(at, end))) for at, end in pairwise([*starts, len(inputs.z)])])

    def takes(self, label: int) -> bool:
        """Whether it runs for a label."""
        try:
            self.run(draw_rows(self.signature, 1)._replace(label=np.full(1, label, np.int64)))
        except BundleError:
            return False
        return True

    def shape(self) -> tuple[int, ...]:
        """Of what it gives in one run, of its batch or of one row. Raises BundleError: it does not run."""
        return self._call(draw_rows(self.signature, self.batch or 1)).shape

    def axis(self) -> tuple[int, int] | None:
        """The axis that rows of what it gives lie along, and how many there are, where it is not the first; None: it
        is, or is not seen."""
        try:
            few, more = (self._call(draw_rows(self.signature, rows)).shape for rows in ROWS)
        except BundleError:
            return None
        axis = rows_axis(few, more)
        return (axis, len(few)) if axis and few[axis] == ROWS[0] else None

    def _joined(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Rows of several runs. Raises BundleError: they are not of one shape."""
        if other := other_shapes(parts):
            raise BundleError(f"{self._source}: {other}")
        return np.concatenate(parts)

    def _run(self, inputs: Inputs) -> NDArray[Any]:
        made = self._call(inputs)
        if made.shape[:1] != (len(inputs.z),):
            raise BundleError(
                f"{self._source}: gives samples of shape {list(made.shape)} for {len(inputs.z)} latents; one a latent "
                "is needed"
            )
        return made

    def _call(self, inputs: Inputs) -> NDArray[Any]:
        fed = {name: array for name, array in self.signature.feed(inputs).items() if name in self._takes}
        options = require_runtime().RunOptions()
        options.log_severity_level = 4
        watch = threading.Timer(_SECONDS, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            made: NDArray[Any] = self._session.run(None, fed, options)[0]
        except Exception as error:  # the graph is anybody's
            if options.terminate:
                raise BundleError(
                    f"{self._source}: {len(inputs.z)} of its rows take longer than {_SECONDS:.0f} seconds; a loop in "
                    "it may have no end"
                ) from None
            raise BundleError(f"{self._source}: does not run on a batch of latents ({_words(error)})") from None
        finally:
            watch.cancel()
        return made


def draw_rows(signature: Signature, n: int, labels: int = 1) -> Inputs:
    """Rows from the priors, with so many labels in turn."""
    label = None if signature.label is None else np.arange(n) % labels
    latent, conditions = signature.latent if signature.latents else None, signature.conditions
    z = np.zeros((n, 0), np.float32) if latent is None else draw_latents(latent, 0, 0, n)
    condition = None if conditions is None else draw_conditions(latent or Latent(dim=1), conditions, 0, 0, n)
    return Inputs(z, label, condition)


def values_of(
    model: onnx.ModelProto, source: str, signature: Signature, names: Sequence[str], n: int
) -> list[NDArray[Any]]:
    """Values within a graph, of a run on n rows. Raises BundleError: it does not run."""
    outputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    try:
        session = _session(model, source)
    finally:
        del model.graph.output[:]
        model.graph.output.extend(outputs)
    takes = {value.name for value in session.get_inputs()}
    fed = signature.feed(draw_rows(signature, n))
    try:
        found: list[NDArray[Any]] = session.run(None, {name: array for name, array in fed.items() if name in takes})
    except Exception as error:
        raise BundleError(f"{source}: does not run on a batch of {n} latents ({one_line(error)})") from None
    return found


def _session(model: onnx.ModelProto, source: str) -> Any:
    runtime = require_runtime()
    for tensor in filter(is_external, model.graph.initializer):
        size = math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        if size > _LARGEST_WEIGHT:  # all together may have more
            raise BundleError(
                f"{source}: weight {tensor.name!r} has {size / 1e9:.1f} GB; the runtime takes single weights of up to "
                "2.1 GB: split it into two, and join what they give"
            )
    try:
        return load(runtime, model.SerializeToString(), mapped(model), session_options(runtime))
    except Exception as error:
        raise BundleError(f"{source}: the runtime cannot load it ({_words(error)}){_advice(model, error)}") from None


def _words(error: Exception) -> str:
    """What the runtime says, without the place in its sources."""
    return re.sub(r"/onnxruntime_src/\S+ .*?\) (?=[A-Z])", "", one_line(error))


def _advice(model: onnx.ModelProto, error: Exception) -> str:
    version, said = opset(model), str(error)
    if not _FIRST_OPSET <= version <= _LAST_OPSET or "IR version" in said:
        return f"; its operator set is {version}: export it with one from 13 to 22"
    if "not a registered" in said or "No Op registered" in said:
        return "; it is no operator of ONNX's: export the plain form of what it does, made of ONNX's own"
    return "; export it in float32, or with other operators" if "NOT_IMPLEMENTED" in said else ""


def run_blocks(run: Callable[[Inputs], NDArray[Any]], inputs: Inputs, size: int) -> list[NDArray[Any]]:
    """Rows of what takes so many at a time, block by block; the last is filled up with its last row."""
    found = []
    for start in range(0, len(inputs.z), size):
        rows = min(size, len(inputs.z) - start)
        found.append(run(inputs.take(start + np.minimum(np.arange(size), rows - 1)))[:rows])
    return found
