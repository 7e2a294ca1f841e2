"""`latentserve pack`: bring your own generator."""

from __future__ import annotations

from pathlib import Path

import click

from latentserve.service.packing.closing import LAYOUTS
from latentserve.service.packing.foreign import PackOptions, pack_foreign
from latentserve.service.packing.foreign.roles import split_told
from latentserve.service.packing.progress import showing


def _names(_context: click.Context, _option: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",")]


def _sizes(_context: click.Context, _option: click.Parameter, value: str | None) -> list[int] | None:
    try:
        return None if value is None else [int(size) for size in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of whole numbers such as 1,28,28") from None


def _told(options: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for name, text in map(split_told, options):
        if name in told:
            raise click.UsageError(f"--input {name} is told twice: {told[name]} and {text}")
        told[name] = text
    return told


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What the model will be served as.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write the bundle to.")
@click.option("--kind", type=click.Choice(["image", "table", "audio", "array"]), help="Default: by the sample's shape.")
@click.option("--prior", type=click.Choice(["normal", "uniform"]), default="normal", show_default=True)
@click.option("--labels", callback=_names, metavar="A,B,...", help="Names of the labels. Default: probed, numbered.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME[=KIND[:DETAIL]]",
    help="What an input is, as often as there are inputs: z=latent:uniform(0,1), noise=noise, y=label:one-hot, "
    "e=condition:1..100,log-uniform,GeV, psi=constant:0.7, c=unused; NAME alone is the latent. Default: by shapes, "
    "types and names, and printed.",
)
@click.option("--label-input", metavar="NAME", help="The same as --input NAME=label.")
@click.option(
    "--noise",
    type=click.Choice(["random", "constant"]),
    default="random",
    show_default=True,
    help="Noise is drawn for each row, or once for all rows.",
)
@click.option("--output", metavar="NAME", help="The sample. Default: the only output.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS, case_sensitive=False),
    help="Axes of the output: n rows, c channels, h height, w width, t frames. Default: by its shape.",
)
@click.option(
    "--shape", callback=_sizes, metavar="C,H,W", help="How the numbers of a row are read. Default: as the graph says."
)
@click.option("--value-range", type=(float, float), metavar="LO HI", help="Black and white. Default: probed.")
@click.option("--columns", callback=_names, metavar="A,B,...", help="Names of a table's columns.")
@click.option("--sample-rate", type=click.IntRange(min=1), help="Of audio, in Hz. Default: 16000.")
@click.option(
    "--reference-samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples that drift is measured against. Default: 100000, or 20000 a label; fewer of a slow generator.",
)
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    metavar="FOLDER|NPY",
    help="Real samples: a folder of pictures, or an array [n, ...].",
)
@click.option("--license", "license_id", help="Licence of the weights (an SPDX identifier).")
def pack(
    model: Path,
    name: str,
    out: Path,
    license_id: str | None,
    reference_samples: int | None,
    real: Path | None,
    inputs: tuple[str, ...],
    label_input: str | None,
    **options: object,
) -> None:
    """Turn any ONNX generator into a bundle. What is not told is probed.

    \b
    Example: latentserve pack generator.onnx --name faces --out faces-bundle
    """
    told = _told([*inputs, *([] if label_input is None else [f"{label_input}=label"])])
    with showing():
        described = PackOptions(inputs=told, **options)  # type: ignore[arg-type]
        manifest = pack_foreign(model, out, name, described, license_id, reference_samples, real, click.echo)
    sample, latent = manifest.sample, manifest.latent
    noise = f" and {latent.dim - latent.width} of noise" if latent.width < latent.dim else ""
    asked = [f"{len(manifest.labels)} labels"] if manifest.labels is not None else []
    asked += [condition.name for condition in manifest.conditions or ()]
    within = "" if sample.value_range is None else f" in [{sample.value_range[0]:g}, {sample.value_range[1]:g}]"
    click.echo(
        f"{out}: {manifest.name} {manifest.version}, latent {latent.width} {latent.prior}{noise}, "
        f"{', '.join(asked) or 'unconditional'}, {sample.kind} {sample.shape}{within}"
    )
