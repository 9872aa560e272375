"""`reasonmech steer`: prompts continued with and without an intervention, or the plan of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from reasonmech.cli.console import make_console

TOKENS: Final = 64


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
        str,
        typer.Argument(
            metavar="MODEL|PLAN.yaml",
            help="directory or hub name of a model, or organism:tiny-when/base; or a plan file, which names "
            "its own model and prompts",
        ),
    ],
    options: PushOptions,
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="text to continue")] = None,
    tokens: Annotated[int, typer.Option(help="how many to write")] = TOKENS,
) -> None:
    """Continue a prompt with and without an intervention, side by side, coloured where they part."""
    if prompt is None:
        if Path(model).suffix not in (".yaml", ".yml"):
            raise typer.BadParameter("say which text to continue", param_hint="PROMPT")
        if options != PushOptions() or tokens != TOKENS:
            raise typer.BadParameter("a plan file says all of it: it goes with no option", param_hint=model)
        from reasonmech.report.steering import steer_from_file

        make_console().print(steer_from_file(Path(model)))
        return
    from reasonmech.report.sidebyside import Push, side_by_side

    push = Push(
        coder=options.coder,
        features=options.features,
        vector=options.vector,
        site=options.site,
        amount=options.amount,
    )
    make_console().print(side_by_side(model, prompt, push, tokens=tokens))
