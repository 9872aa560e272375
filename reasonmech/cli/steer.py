"""`reasonmech steer`: one prompt continued with and without an intervention."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reasonmech.cli.console import make_console


@dataclass(frozen=True)
class PushOptions:
    """What is added to the stream, and how much of it."""

    coder: Annotated[str | None, typer.Option(help="coder directory or release/id")] = None
    features: Annotated[str, typer.Option(help="features of it, comma-separated")] = ""
    vector: Annotated[Path | None, typer.Option(help="safetensors file with one vector, with --site")] = None
    site: Annotated[str, typer.Option(help="where the vector is added")] = ""
    amount: Annotated[
        float, typer.Option(help="activation units (features), residual-norm units (vector)")
    ] = 1.0


def steer(
    model: Annotated[
        str, typer.Argument(help="directory or hub name of a model, or organism:tiny-when/base")
    ],
    prompt: Annotated[str, typer.Argument(help="text to continue")],
    options: PushOptions,
    tokens: Annotated[int, typer.Option(help="how many to write")] = 64,
) -> None:
    """Continue a prompt with and without an intervention, side by side, coloured where they part."""
    from reasonmech.report.sidebyside import Push, side_by_side

    push = Push(
        coder=options.coder,
        features=options.features,
        vector=options.vector,
        site=options.site,
        amount=options.amount,
    )
    make_console().print(side_by_side(model, prompt, push, tokens=tokens))
