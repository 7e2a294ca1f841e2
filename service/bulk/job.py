"""A job: which rows of which generator, in which form, in shards of how many. It is what a folder says of itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import orjson

from latentserve.service.bundle import Manifest
from latentserve.service.encoding.arrays import Dtype
from latentserve.service.errors import InvalidError, LatentserveError
from latentserve.service.sampling.choosing.choice import Choice, search_request
from latentserve.service.sampling.fields import SampleFields
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest

Form = Literal["parquet", "npz", "webdataset", "png"]
FORMS: Sequence[Form] = get_args(Form)
PICTURES = 10_000  # of a folder: more are slow to list
JOB = "job.json"

_SUFFIXES: Mapping[Form, str] = {"parquet": ".parquet", "npz": ".npz", "webdataset": ".tar", "png": ""}
_SCHEMA = 1
_SHARD_BYTES = 64 << 20  # of a shard's samples, about; of a search so many are in memory
_MOST_ROWS = 1_000_000
_MOST_SHARDS = 1_000_000  # of which each has a line in the list and a name in the folder
_FEWEST_DIGITS = 9  # of a row's number in a name


class Shard(NamedTuple):
    """Rows `first` to `stop - 1`, by their numbers in the seed; of a search, by their places in what it finds."""

    name: str
    first: int
    stop: int

    @property
    def rows(self) -> int:
        """How many it has."""
        return self.stop - self.first


class Job(NamedTuple):
    """What is to be made; equal jobs have equal shards.

    Attributes:
        model, version: of the generator.
        form: of the shards.
        dtype: of numbers.
        shard_rows: of each shard but the last one.
        asked: the fields of `POST /v1/samples` that say which rows, n, seed and offset among them; none is None.
        producer: whom pictures and sounds name by GB 45438, empty: nobody.
    """

    model: str
    version: str
    form: Form
    dtype: Dtype
    shard_rows: int
    asked: dict[str, Any]
    producer: str = ""

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.asked["n"])

    @property
    def seed(self) -> int:
        """Of the rows."""
        return int(self.asked["seed"])

    @property
    def offset(self) -> int:
        """The first row."""
        return int(self.asked["offset"])

    @property
    def searches(self) -> bool:
        """Whether rows are looked for."""
        return any(name in self.asked for name in ("where", "balance", "select"))

    @property
    def digits(self) -> int:
        """Of a row's number in a name, so that names sort as rows do."""
        return max(_FEWEST_DIGITS, len(str(self.offset + self.n)))

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.n // self.shard_rows)

    def shard(self, index: int) -> Shard:
        """The one of this index."""
        begin = 0 if self.searches else self.offset
        first = index * self.shard_rows
        stop = min(first + self.shard_rows, self.n)
        name = f"{begin + first:0{self.digits}}-{begin + stop:0{self.digits}}"
        return Shard(name + _SUFFIXES[self.form], begin + first, begin + stop)

    def request(
        self, manifest: Manifest, n: int, offset: int, budget: int | None = None
    ) -> tuple[RowsRequest, Choice | None]:
        """For some of the rows, from this one on: see `search_request`. Raises InvalidError, TooLargeError."""
        given = self.asked | {"n": n, "offset": offset} | ({} if budget is None else {"budget": budget})
        return search_request(SampleFields.of(**given), manifest, SEED_LIMIT)

    def is_scored(self, manifest: Manifest) -> bool:
        """Whether rows are chosen by scores."""
        _, choice = self.request(manifest, self.n, self.offset)
        return choice is not None and choice.scored

    def described(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {"schema": _SCHEMA, **self._asdict()}
        if not self.producer:
            del told["producer"]
        return told

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says, in hexadecimal."""
        return hashlib.sha256(orjson.dumps(self.described(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_json(self) -> bytes:
        """The file."""
        told = self.described() | {"digest": self.digest}
        return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def other(self, there: Job) -> str | None:
        """What is otherwise in the job that is there, as a sentence; None: it is this one."""
        if (there.model, there.version) != (self.model, self.version):
            return f"its rows are of {there.model} {there.version}; this is {self.model} {self.version}"
        mine, theirs = ({**job._asdict(), **job.asked} for job in (self, there))
        for name in dict.fromkeys((*mine, *theirs)):
            if name != "asked" and mine.get(name) != theirs.get(name):
                is_, was = (_shown(given.get(name)) for given in (mine, theirs))
                return f"its job is another one: {name} is {was} there, and {is_} here"
        return None


def _shown(value: object) -> str:
    return "not given" if value in (None, "") else str(value)[:100]


def read_job(content: bytes, where: str) -> Job:
    """From the file. Raises LatentserveError: it is none."""
    try:
        told = orjson.loads(content)
        job = Job(**{name: told[name] for name in Job._fields if name in told})
        if told["schema"] == _SCHEMA and told["digest"] == job.digest:
            return job
    except (ValueError, KeyError, TypeError):
        pass
    raise LatentserveError(f"{where}: is not what was written there: no job of this release, or damaged")


def make_job(
    manifest: Manifest,
    form: Form,
    dtype: Dtype,
    asked: Mapping[str, object],
    shard_rows: int | None = None,
    producer: str = "",
) -> Job:
    """Checked against the model. `asked`: the fields, None where one is not given; n and seed are.

    Raises InvalidError, TooLargeError; LatentserveError: no shards of this form are made of such samples.
    """
    spec = manifest.sample
    if form == "png" and spec.kind != "image":
        raise LatentserveError(f"{manifest.name}: its samples are no images; --format parquet or npz takes all")
    if form == "webdataset" and spec.kind == "table":
        raise LatentserveError(f"{manifest.name}: its samples are a table, a row no file; --format parquet or npz")
    if dtype == "uint8" and (spec.kind != "image" or spec.value_range is None):
        raise InvalidError("--dtype", "uint8 is of images")
    if form in ("png", "webdataset") and spec.kind == "image":
        dtype = "uint8"
    given = {name: value for name, value in asked.items() if value is not None}
    given.setdefault("offset", 0)
    if given.get("truncation") == 1:
        del given["truncation"]
    job = Job(manifest.name, manifest.version, form, dtype, 1, given, producer)
    request, choice = job.request(manifest, job.n, job.offset)
    if request.labels is not None:
        given["label"] = int(request.labels[0])
    whole = 1  # rows of which a shard has a multiple
    if choice is not None and choice.balance is not None:
        whole = int(choice.balance.wanted.sum())
    if shard_rows is not None and shard_rows % whole:
        raise InvalidError("--shard-rows", f"a multiple of {whole} is needed, the categories that are balanced")
    rows = shard_rows or PICTURES
    if shard_rows is None and form != "png":
        rows = _round(_SHARD_BYTES // (math.prod(spec.shape) * (1 if dtype == "uint8" else 4)))
    elif form == "png" and rows > PICTURES:
        raise InvalidError("--shard-rows", f"a folder has up to {PICTURES} pictures")
    job = job._replace(shard_rows=max(whole, rows - rows % whole))
    if job.shards > _MOST_SHARDS:
        raise InvalidError(
            "--shard-rows", f"{job.n} rows would be {job.shards} shards; at most {_MOST_SHARDS} are made"
        )
    return job


def _round(rows: int) -> int:
    """The largest of 1, 2, 5, 10, 20, ... that is no more."""
    for power in range(6, -1, -1):
        for digit in (5, 2, 1):
            if (found := digit * 10**power) <= min(rows, _MOST_ROWS):
                return found
    return 1
