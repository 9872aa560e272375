"""`reasonmech train-coder`: a sparse coder for a pair's base, from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reasonmech.cli.console import say
from reasonmech.cli.options import Quiet


@dataclass(frozen=True)
class CoderTexts:
    """What is read."""

    problems: Annotated[int, typer.Option(help="problems whose rollouts are read")] = 500
    passages: Annotated[
        int | None, typer.Option(help="passages of installed packages' documentation, in place of rollouts")
    ] = None


def train_coder(
    pair: Annotated[str, typer.Argument(help="pair whose base is read; with --passages, a model")],
    config: Annotated[str, typer.Argument(help="YAML of a coder, or shipped name such as topk")],
    site: Annotated[str, typer.Option(help="where to read, such as resid_post.2")],
    out: Annotated[Path, typer.Option(help="directory to create, in SAELens layout")],
    texts: CoderTexts,
    quiet: Quiet = False,
) -> None:
    """Train a sparse coder on a base that reads both models' rollouts, or a model that reads documentation;
    goes on after a kill."""
    from reasonmech.coders import load_coder_config

    settings, progress = load_coder_config(config), not quiet
    if texts.passages is None:
        from reasonmech.experiments.pair_coder import train_pair_coder
        from reasonmech.organisms import load_pair

        loaded, problems = load_pair(pair), texts.problems
        host = loaded.base
        coder = train_pair_coder(loaded, settings, site=site, out=out, problems=problems, progress=progress)
    else:
        import torch

        from reasonmech.device import computes_slowly
        from reasonmech.experiments.documentation_coder import train_documentation_coder
        from reasonmech.hosts import load_host

        slow = computes_slowly(torch.bfloat16, torch.device("cpu"))
        host, passages = load_host(pair, dtype=torch.float32 if slow else None), texts.passages
        coder = train_documentation_coder(
            host, settings, site=site, out=out, passages=passages, progress=progress
        )
    say(f"{coder.d_sae} features at {coder.site} of {host.name}: {out}")
