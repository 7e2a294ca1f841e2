"""A model of colour pictures, an account of what was sent of it, and what becomes of pictures on their way."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.generators import DIM, enlarged
from latentserve.service.auditing.account import Account
from latentserve.service.auditing.log import AuditLog
from latentserve.service.auditing.trail import Trail
from latentserve.service.bundle import Latent, SampleSpec
from latentserve.service.encoding.images import to_uint8
from latentserve.service.finding.lookup import lookup
from latentserve.service.opened import OpenedBundle, open_bundle
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.verifying.reading import Limits, read_file
from latentserve.service.verifying.verdict import Verified, concluded
from tests.conftest import make_bundle

SIDE = 48
LIMITS = Limits(1 << 26, 1 << 12)


@pytest.fixture(scope="session")
def tiles_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares of 8 pixels, of many colours."""
    sample = SampleSpec(kind="image", shape=[3, SIDE, SIDE], value_range=(-1, 1), channels="RGB")
    given = {"critic": None, "latent": Latent(dim=DIM), "labels": None, "sample": sample, "reference_samples": 64}
    generator = enlarged(6, 6, 8).SerializeToString()
    return make_bundle(tmp_path_factory.mktemp("found") / "tiles", "tiles", generator=generator, **given)


@pytest.fixture(scope="session")
def tiles(tiles_bundle: Path) -> OpenedBundle:
    return open_bundle(tiles_bundle)


def account_in(folder: Path) -> Account:
    return Account(AuditLog(folder), "refuse", keep=True)


def send(account: Account, bundle: OpenedBundle, id_: str, *, n: int = 1, **of: Any) -> None:
    request = RowsRequest(n, **of)
    account.sent(id_, None, "/v1/samples", bundle.manifest, request, n, "image/png")


def picture(bundle: OpenedBundle, seed: int, row: int = 0) -> Image.Image:
    """As it is served, without a mark."""
    (sample,) = bundle.sample(1, seed=seed, offset=row)
    return Image.fromarray(np.moveaxis(to_uint8(sample, (-1, 1)), 0, -1))


def noise(seed: int) -> Image.Image:
    values: NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def written(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def reopened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def cut(image: Image.Image, share: float = 0.1, left: float = 0.5, top: float = 0.5) -> Image.Image:
    """By a share of its sides, from somewhere."""
    across, down = round(share * image.width), round(share * image.height)
    x, y = round(left * across), round(top * down)
    return image.crop((x, y, x + image.width - across, y + image.height - down))


def smaller(image: Image.Image, by: float = 0.8) -> Image.Image:
    return image.resize((round(by * image.width), round(by * image.height)), Image.Resampling.LANCZOS)


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: written(image, "JPEG", quality=75),
    "JPEG, and a screenshot of it": lambda image: written(reopened(written(image, "JPEG", quality=60))),
    "smaller": lambda image: written(smaller(image)),
    "larger": lambda image: written(smaller(image, 3.1)),
    "cut": lambda image: written(cut(image, left=0, top=1)),
    "cut at one side": lambda image: written(image.crop((5, 0, SIDE, SIDE))),
    "all": lambda image: written(smaller(cut(image, left=1, top=0.3)), "JPEG", quality=75),
}


def found(content: bytes, folder: Path, bundle: OpenedBundle) -> Verified:
    """As the command finds it, of a file whose mark says nothing."""
    brought = read_file(content, LIMITS)
    assert brought.told is None
    steps = lookup(brought.content, Trail(folder), bundle.manifest, gives_uint8=bundle.gives("sample_uint8"))
    return concluded(steps, bundle.made)
