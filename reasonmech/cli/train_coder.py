"""`reasonmech train-coder`: a sparse coder for a pair's base, from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonmech.cli.console import say
from reasonmech.cli.options import Quiet


def train_coder(
    pair: Annotated[str, typer.Argument(help="pair whose base is read")],
    config: Annotated[str, typer.Argument(help="YAML of a coder, or shipped name such as topk")],
    site: Annotated[str, typer.Option(help="where to read, such as resid_post.2")],
    out: Annotated[Path, typer.Option(help="directory to create, in SAELens layout")],
    problems: Annotated[int, typer.Option(help="problems whose rollouts are read")] = 500,
    quiet: Quiet = False,
) -> None:
    """Train a sparse coder on a base that reads both models' rollouts; goes on after a kill."""
    from reasonmech.coders import load_coder_config
    from reasonmech.experiments.pair_coder import train_pair_coder
    from reasonmech.organisms import load_pair

    settings, loaded = load_coder_config(config), load_pair(pair)
    coder = train_pair_coder(loaded, settings, site=site, out=out, problems=problems, progress=not quiet)
    say(f"{coder.d_sae} features at {coder.site} of {loaded.base.name}: {out}")
