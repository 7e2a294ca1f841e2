"""`latentserve optimize`: a faster variant, with the quality it costs."""

from __future__ import annotations

from pathlib import Path

import click

from latentserve.service.errors import RuntimeMissingError
from latentserve.service.packing.progress import showing
from latentserve.service.sampling.engine import require_runtime


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp16"]),
    required=True,
    help="int8: faster on CPUs. fp16: half the size, for GPUs; a CPU is no faster with it.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write the variant to.")
@click.option(
    "--max-shift",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="Refuse beyond this shift of the critic's mean score, in standard deviations.",
)
@click.option(
    "--max-frechet",
    type=click.FloatRange(min=1),
    default=1.5,
    show_default=True,
    help="Refuse beyond this multiple of the Frechet distance between two sets of float32 samples.",
)
def optimize(bundle: Path, precision: str, out: Path, max_shift: float, max_frechet: float) -> None:
    """Write a variant of BUNDLE in another precision, and what it costs: refused where that is too much.

    Measured against the float32 original on the golden latents, by the critic, and by Frechet distance; the figures
    are in the variant's manifest and model card.

    \b
    Example: latentserve optimize demo/bundle --precision int8 --out demo/bundle-int8
    """
    require_runtime()
    try:  # its quantisation takes half a second to import, which `latentserve --help` should not
        from latentserve.service.packing.optimize import Bound, optimize_bundle
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(f"optimize: needs {error.name}, which is not installed") from None
    with showing():
        bound = Bound(max_shift, max_frechet)
        manifest, measured = optimize_bundle(bundle, precision, out, bound)  # type: ignore[arg-type]
    figures = manifest.lineage.evaluation or {}
    critic = "" if measured.critic_shift is None else f"critic {measured.critic_shift:+.3f} SD, "
    portable = "; its integer sums are the same on every processor" if precision == "int8" else ""
    click.echo(
        f"{out}: {manifest.name} {manifest.version}, {precision}; {measured.speed:.2f} times float32's samples/s on "
        f"{figures['made_on']} (1 thread, 64 rows); PSNR {measured.golden_psnr:.1f} dB, {critic}Frechet "
        f"{measured.frechet:.4g} beside float32's own {measured.floor:.4g} (N = {measured.rows}){portable}"
    )
