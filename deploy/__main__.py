"""`python -m deploy`: write every generated file."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.generated import generated
from deploy.windows import FASTEST, Times


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent,
    help="Folder to write to.",
    show_default=False,
)
@click.option(
    "--faster", type=click.FloatRange(1.0, FASTEST), default=1.0, help="Divide every window and interval by this."
)
@click.option("--runbooks", default="docs/runbooks", show_default=True, help="Where the pages that alerts link to are.")
def main(out: Path, faster: float, runbooks: str) -> None:
    """Write rules, dashboards and configuration files."""
    for name, content in generated(Times(faster), runbooks).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
