"""`latentserve check`: would the server take this bundle?"""

from __future__ import annotations

from pathlib import Path

import click

from latentserve.service.bundle import read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.sampling.engine import Engine
from latentserve.service.watching.reference import read_reference
from latentserve.service.watching.verdict import critic_fault, probe_fault


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def check(bundle: Path, device: str) -> None:
    """Check all that the server checks at load: schema, hashes, signatures, golden probes, the critic's scores of them.

    Who has signed the bundle is verified where LATENTSERVE_TRUSTED_KEYS says who is trusted; with
    LATENTSERVE_REQUIRE_SIGNATURE=true any other bundle is refused.

    \b
    Example: latentserve check demo/bundle
    """
    read = read_bundle(bundle)
    manifest = read.manifest
    read_reference(read)
    engine = Engine(read, device)  # type: ignore[arg-type]
    engine.warm_up()
    difference = float(engine.probe().max())
    golden = read.golden
    fault = probe_fault(difference, golden.tolerance) or critic_fault(float(engine.probe_critic().max()))
    if fault is not None:
        raise BundleError(f"{bundle}: {fault}, on {engine.provider}")
    click.echo(
        f"{manifest.name} {manifest.version}: good; {len(golden.z)} golden probes off by {difference:.3g} "
        f"(tolerated {golden.tolerance:.3g}) on {engine.provider}; {read.signature or 'not signed'}"
    )
