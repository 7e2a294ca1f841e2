"""Bodies: slow, nested, wrong, large, and larger than they look."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from functools import cache

import numpy as np

from benchmarks.serving.edges.bundles import LABELS, SHOWER_DIM
from benchmarks.serving.edges.corpus.hostile import (
    Ends,
    Target,
    again,
    at_once,
    endlessly,
    exchange,
    head,
    hostile,
    in_turn,
    samples,
    slowly,
)
from latentserve.service.benching.requests import RAW, SAMPLES, post

_JSON, _NPY, _NPZ = "application/json", "application/x-npy", "application/x-npz"
_LIMIT, _LATENTS_LIMIT = (1 << 20) - 200, (16 << 20) - 1000
_WRONG = ("400", "413", "415", "422")


@hostile("408", "closed")
async def slow_bodies(target: Target) -> Ends:
    """200 bodies of a byte a second."""
    request = head(SAMPLES, 1000)
    return await at_once(200, lambda: exchange(target, slowly(request + b" " * 1000, first=len(request))))


@hostile("400", "408", "closed")
async def bodies_cut_short(target: Target) -> Ends:
    """A length of 1,000 and ten bytes of it, over 200 connections that are kept."""
    return await at_once(200, lambda: exchange(target, head(SAMPLES, 1000) + b'{"n":1'))


@hostile(*_WRONG, bodies=8 << 20)
async def nested_json(target: Target) -> Ends:
    """1 MiB of brackets, of objects in objects, of an endless string and of a number of a million digits, by 8
    clients."""
    contents = (
        b"[" * _LIMIT, b'{"latents":' + b"[" * (_LIMIT - 20), b'{"a":' * (_LIMIT // 5),
        b'{"n":"' + b"\\" * (_LIMIT - 10),
        b'{"seed":' + b"1" * (_LIMIT - 10) + b"}", b'{"condition":' * (_LIMIT // 14), b"\xff" * _LIMIT,
        b'{"n":' + b" " * (_LIMIT - 10),
    )  # fmt: skip
    return await _in_turns(target, [post(SAMPLES, content, RAW) for content in contents])


@hostile(*_WRONG, bodies=8 << 20)
async def fields_by_the_hundred_thousand(target: Target) -> Ends:
    """1 MiB of unknown fields, of wrong labels, latents, conditions, by 8 clients."""
    contents = (
        {f"a{number}": 0 for number in range(80_000)},
        {"model": "showers", "labels": ["no such kind"] * 60_000},
        {"model": "showers", "labels": [1.5] * 200_000},
        {"model": "showers", "latents": [["a"]] * 100_000},
        {"model": "showers", "latents": [[]] * 300_000},
        {"model": "showers", "conditions": [{"no": 1}] * 90_000},
        {"model": "showers", "condition": {f"a{number}": 0 for number in range(80_000)}},
        {"model": "showers", "conditions": [{"energy": "a"}] * 50_000},
    )
    return await _in_turns(target, [post(SAMPLES, _json(content), RAW) for content in contents])


@hostile("200", bodies=4 << 20)
async def labels_by_name(target: Target) -> Ends:
    """80 kB of labels by their names, the last of a thousand ones, by 4 clients."""
    request = samples(model="showers", labels=[LABELS[-1]] * 7000)
    return await again(target, 4, lambda: exchange(target, request))


@hostile("200", bodies=4 << 20)
async def conditions_at_the_limit(target: Target) -> Ends:
    """25,000 rows with conditions of their own, by 4 clients."""
    content = [{"energy": 50.5 + row % 40, "angle": -0.25} for row in range(25_000)]
    request = post(SAMPLES, _json({"model": "showers", "conditions": content}), RAW)
    return await again(target, 4, lambda: exchange(target, request))


@hostile("200", bodies=4 << 20)
async def latents_in_json(target: Target) -> Ends:
    """1 MiB of numbers, by 4 clients."""
    rows = np.random.default_rng(0).normal(size=(14_000, SHOWER_DIM)).round(5).tolist()
    request = post(SAMPLES, _json({"model": "showers", "latents": rows}), RAW)
    return await again(target, 4, lambda: exchange(target, request))


@hostile("200", "415", bodies=64 << 20)
async def latents_as_npy(target: Target) -> Ends:
    """16 MiB of them, 520,000 rows, by 4 clients that take the head of the answer."""
    return await again(target, 4, lambda: exchange(target, _sent("showers", _npy())))


@hostile(*_WRONG, bodies=16 << 20)
async def arrays_that_lie(target: Target) -> Ends:
    """`.npy` files of 10^12 rows, of objects, of other versions, cut short, with endless headers."""
    shapes = ("(1000000000000, 8)", "(-1, 8)", "()", "(8,)", "(2, 3, 4)", "(0, 8)", "(1, 9223372036854775807)")
    described = [_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}") for shape in shapes]
    described += [
        _header(f"{{'descr': {descr}, 'fortran_order': True, 'shape': (1, 8), }}")
        for descr in ("'|O'", "'<f2'", "'|S1000000000'", "[('a','<f4')]", "'<M8[s]'", "__import__('os')")
    ]
    described += [b"\x93NUMPY\x09\x00", b"\x93NUMPY\x02\x00" + b"\xff" * 4, b"PK", b"", _header("(" * 60_000)]
    contents = [one + bytes(32) for one in described] + [b"\x93NUMPY\x01\x00" + bytes(1 << 20), _npy()[:-7]]
    return await _in_turns(target, [_sent("showers", content) for content in contents])


@cache
def _bombs() -> list[bytes]:
    """`.npz` files: of half a gigabyte of zeros, of one whose size is said to be small, of a thousand members, of one
    within another."""
    zeros = bytes(1 << 20)
    whole = io.BytesIO()
    with (
        zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("latents.npy", "w", force_zip64=True) as member,
    ):
        member.write(_header("{'descr': '<f4', 'fortran_order': False, 'shape': (16777216, 8), }"))
        for _ in range(512):
            member.write(zeros)
    lying = whole.getvalue().replace(struct.pack("<Q", (512 << 20) + 128), struct.pack("<Q", 1000))
    many, nested = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(many, "w") as file:
        for number in range(10_000):
            file.writestr(f"{number}.npy", b"")
    with zipfile.ZipFile(nested, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("latents.npy", whole.getvalue())
    return [whole.getvalue(), lying, many.getvalue(), nested.getvalue(), whole.getvalue()[:-100]]


@hostile(*_WRONG, bodies=16 << 20, prepare=_bombs)
async def zip_bombs(target: Target) -> Ends:
    """2 MB that are 512 MB, a size that is a lie, 10,000 members, an archive in an archive, by 4 clients."""
    return await _in_turns(target, [_sent("showers", bomb, _NPZ) for bomb in _bombs()], clients=4)


@cache
def _gzipped() -> bytes:
    return gzip.compress(bytes(200 << 20), 1)[:_LIMIT]


@hostile(*_WRONG, bodies=8 << 20, prepare=_gzipped)
async def compressed_bodies(target: Target) -> Ends:
    """Most of a megabyte that is 200 MB, in codings that are taken or not, by 4 clients."""
    codings = ("gzip", "deflate", "br", "gzip, gzip", "identity, gzip", "zstd")
    requests = [post(SAMPLES, _gzipped(), RAW, _JSON, f"Content-Encoding: {coding}") for coding in codings]
    return await _in_turns(target, requests, clients=4)


@hostile("413", bodies=16 << 20)
async def bodies_beyond_the_limit(target: Target) -> Ends:
    """1 GB that is announced, and chunks of 64 MB, by 4 clients each."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    chunked = b"POST /v1/samples HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    stated = await again(
        Target(target.port, target.seconds / 2), 4,
        lambda: exchange(target, endlessly(head(SAMPLES, 1 << 30), b" " * 65536, 64 << 20)),
    )  # fmt: skip
    return stated + await again(
        Target(target.port, target.seconds / 2), 4, lambda: exchange(target, endlessly(chunked, chunk, 64 << 20))
    )


@hostile("200", "307", "404", "405", "413", bodies=4 << 20)
async def bodies_where_none_belong(target: Target) -> Ends:
    """1 MiB and 64 MB for routes that take none."""
    requests = [
        head(path, size, _JSON, method=method) + bytes(min(size, 1 << 20))
        for path in ("/livez", "/v1/models", "/metrics", "/nothing", "/")
        for method in ("GET", "POST")
        for size in (1 << 20, 64 << 20)
    ]
    return await in_turn(target, requests, right=())


@hostile("200", "400", "413", "422", bodies=8 << 20)
async def the_other_api(target: Target) -> Ends:
    """`POST /sample` with bodies at the limit and beyond, and with ten rows, by 8 clients."""
    contents = [b'{"n":10,"model":"showers"}', b"[" * _LIMIT, b'{"latents":' + b"[" * _LIMIT, b" " * (8 << 20), b"{"]
    return await _in_turns(target, [post("/sample", content, _JSON) for content in contents])


async def _in_turns(target: Target, requests: list[bytes], clients: int = 8) -> Ends:
    """So many clients, which go through the requests, each from another one on."""
    places = iter(range(1 << 30))
    return await again(target, clients, lambda: exchange(target, requests[next(places) % len(requests)]))


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()[:_LIMIT]


@cache
def _npy() -> bytes:
    file = io.BytesIO()
    rows = _LATENTS_LIMIT // (4 * SHOWER_DIM)
    np.save(file, np.random.default_rng(0).normal(size=(rows, SHOWER_DIM)).astype(np.float32))
    return file.getvalue()


def _header(described: str) -> bytes:
    """What an `.npy` file begins with."""
    text = described.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _sent(model: str, content: bytes, media: str = _NPY) -> bytes:
    return post(f"{SAMPLES}?model={model}", content, RAW, media)
