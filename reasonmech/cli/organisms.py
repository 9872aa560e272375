"""`reasonmech organisms`: list the zoo, read a card, build a pair, verify that its truth is what its weights
do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from reasonmech.organisms.verify import Finding

organisms_app = typer.Typer(no_args_is_help=True, help="Small base/thinking pairs whose truth is known.")

Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bars")]


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


@organisms_app.command("list")
def organisms_list() -> None:
    """Every organism: what is true of it, where its weights are, how long building takes."""
    from rich.table import Table

    from reasonmech.organisms.overview import overview

    table = Table(
        "organism", "class", "weights", "MB", "minutes", "a correct instrument says", header_style="bold"
    )
    for row in overview():
        size = "" if row.megabytes is None else f"{row.megabytes:.1f}"
        table.add_row(row.name, row.truth_class, row.where, size, f"{row.minutes:.0f}", row.says)
    _console().print(table)


@organisms_app.command("card")
def organisms_card(name: Annotated[str, typer.Argument(help="organism, such as tiny-when")]) -> None:
    """How an organism was built, what a correct instrument says, what it fools, and its truth with
    intervals."""
    from rich.table import Table
    from rich.text import Text

    from reasonmech.errors import NotBuiltError
    from reasonmech.organisms import recipes
    from reasonmech.organisms.cache import truth_home
    from reasonmech.organisms.overview import table_of, where_of
    from reasonmech.organisms.record import read_truth

    recipe, console = recipes.get(name), _console()
    console.print(
        f"[bold]{name}[/bold]  class: {recipe.truth_class}, task: {recipe.task}, weights: {where_of(name)}"
    )
    console.print(f"\n{recipe.card}\n", markup=False)
    try:
        truth = read_truth(truth_home(name))
    except NotBuiltError as error:
        console.print(f"Its truth is measured when it is built: {error.do}")
        return
    table = Table(
        f"truth, {truth['measured']['n_problems']} problems", "95 % interval by problem", header_style="bold"
    )
    for what, value in table_of(truth):
        table.add_row(what, Text(value))
    console.print(table)


@organisms_app.command("build")
def organisms_build(
    name: Annotated[str, typer.Argument(help="organism, such as tiny-when")],
    seed: Annotated[int, typer.Option(help="of data and training")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="directory to create; else the cache")] = None,
    quiet: Quiet = False,
) -> None:
    """Build an organism from scratch; killed and started again, it goes on where it was."""
    from reasonmech.organisms import build, build_in_cache
    from reasonmech.organisms.cache import cache_home

    if out is None and cache_home(name, seed=seed).is_dir():
        print(f"{cache_home(name, seed=seed)} is built already; delete it to build it again")
    elif out is None:
        print(build_in_cache(name, seed=seed, progress=not quiet))
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        print(build(name, out, seed=seed, progress=not quiet))


@organisms_app.command("verify")
def organisms_verify(
    names: Annotated[list[str] | None, typer.Argument(help="organisms, or directories of pairs")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="every organism that ships, is cached, or takes seconds")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="every number on every problem, the dial included")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Measure truth.json again from the weights; ends with code 1 and a table where it is not what is
    recorded."""
    import torch

    from reasonmech.organisms.overview import at_hand
    from reasonmech.organisms.verify import Verifier

    torch.set_num_threads(
        1
    )  # models this small gain nothing from more, and on a busy machine wait for each other
    chosen = list(dict.fromkeys([*(names or ()), *(at_hand() if every else ())]))
    if not chosen:
        raise typer.BadParameter("name an organism, or say --all")
    verifier, failed = Verifier(full=full, progress=not quiet), False
    for name in chosen:
        found = verifier.verify(name)
        differing = [finding for finding in found if not finding.agrees]
        failed |= bool(differing)
        said = f"{len(differing)} of {len(found)} differ" if differing else f"all {len(found)} agree"
        _console().print(f"{name}: {said}", soft_wrap=True)
        if differing:
            _show(differing)
    raise typer.Exit(1 if failed else 0)


@organisms_app.command("variants")
def organisms_variants(
    out: Annotated[Path, typer.Option("--out", help="directory for models, logs and variants.csv")] = Path(
        "variants"
    ),
    only: Annotated[list[str] | None, typer.Option("--only", help="one of them; may be said again")] = None,
    quiet: Quiet = False,
) -> None:
    """What does reinforcement learning do? Train tiny-when's base in five ways, measure each, print the
    table."""
    from rich.table import Table

    from reasonmech.organisms.variants import build_variants

    found = (
        build_variants(out, names=only or (), progress=not quiet)
        .set_index("variant")
        .drop(columns="weights")
        .T
    )
    table = Table("", *found.columns, header_style="bold")
    for what, row in found.iterrows():
        table.add_row(str(what), *(f"{value:.3g}" for value in row))
    _console().print(table)


def _show(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("differs", "recorded", "measured", header_style="bold")
    for finding in findings:
        table.add_row(finding.what, Text(finding.recorded), Text(finding.measured))
    _console().print(table)
