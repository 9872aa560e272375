"""`reasonmech organisms`: list the zoo, read a card, build a pair, verify that its truth is what its weights do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

organisms_app = typer.Typer(no_args_is_help=True, help="Small base/thinking pairs whose truth is known.")


@organisms_app.command("build")
def organisms_build(
    name: Annotated[str, typer.Argument(help="organism, such as tiny-when")],
    seed: Annotated[int, typer.Option(help="of data and training")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="directory to create")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bars")] = False,
) -> None:
    """Build an organism from scratch; killed and started again, it goes on where it was."""
    from reasonmech.organisms import build

    target = out or Path("organisms") / f"{name}-seed{seed}"
    target.parent.mkdir(parents=True, exist_ok=True)
    print(build(name, target, seed=seed, progress=not quiet))
