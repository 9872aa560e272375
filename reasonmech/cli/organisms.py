"""`reasonmech organisms`: list the zoo, read a card, build a pair, verify its truth.

A verb of the zoo is a function here with `@organisms_app.command(name)`; others are in the table of `app.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmech.cli.console import complain, make_console, say
from reasonmech.cli.options import Quiet

if TYPE_CHECKING:
    from reasonmech.organisms.verify import Remeasurement

organisms_app = typer.Typer(no_args_is_help=True, help="Small base/thinking pairs whose truth is known.")


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
    make_console().print(table)


@organisms_app.command("card")
def organisms_card(name: Annotated[str, typer.Argument(help="organism, such as tiny-when")]) -> None:
    """How an organism was built, what a correct instrument says, what it fools, and its measured truth."""
    from rich.table import Table
    from rich.text import Text

    from reasonmech.errors import NotBuiltError
    from reasonmech.organisms.cache import truth_home
    from reasonmech.organisms.overview import recipe_of, truth_table, where_of
    from reasonmech.organisms.record import read_truth

    recipe, console = recipe_of(name), make_console()
    console.print(
        Text.assemble(
            (name, "bold"),
            f"  class: {recipe.truth_class}, task: {recipe.task}, weights: {where_of(name)}",
        )
    )
    console.print(f"\n{recipe.card}\n")
    try:
        truth = read_truth(truth_home(name))
    except NotBuiltError as error:
        console.print(f"Its truth is not here: {error.happened}. {error.do}")
        return
    table = Table(
        f"truth, {truth['measured']['n_problems']} problems", "95 % interval by problem", header_style="bold"
    )
    for quantity, value in truth_table(truth):
        table.add_row(quantity, Text(value))
    console.print(table)


@organisms_app.command("build")
def organisms_build(
    name: Annotated[str, typer.Argument(help="organism, such as tiny-when")],
    seed: Annotated[int, typer.Option(help="of data and training")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="directory to create; else the cache")] = None,
    quiet: Quiet = False,
) -> None:
    """Build an organism from scratch, and print where it is; killed and started again, it goes on where it
    was.

    reasonmech judge "$(reasonmech organisms build tiny-how --seed 1)"
    """
    from reasonmech.organisms import build, build_in_cache
    from reasonmech.organisms.cache import cache_home

    if out is None and cache_home(name, seed=seed).is_dir():
        complain(f"{name}, seed {seed}, is built already; delete it to build it again")
        say(cache_home(name, seed=seed))
    elif out is None:
        say(build_in_cache(name, seed=seed, progress=not quiet))
    else:
        say(build(name, out, seed=seed, progress=not quiet))


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
    """Measure truth.json again from the weights; ends with code 1 where the two differ."""
    from reasonmech.organisms.overview import list_loadable
    from reasonmech.organisms.verify import Verifier

    chosen = list(dict.fromkeys([*(names or ()), *(list_loadable() if every else ())]))
    if not chosen:
        raise typer.BadParameter("name an organism, or say --all")
    verifier, failed = Verifier(full=full, progress=not quiet), False
    for name in chosen:
        findings = verifier.verify(name)
        differing = [finding for finding in findings if not finding.agrees]
        failed |= bool(differing)
        verdict = f"{len(differing)} of {len(findings)} differ" if differing else f"all {len(findings)} agree"
        make_console().print(f"{name}: {verdict}", soft_wrap=True)
        if differing:
            _print_findings(differing)
    raise typer.Exit(1 if failed else 0)


@organisms_app.command("variants")
def organisms_variants(
    out: Annotated[Path, typer.Option("--out", help="directory for models, logs and variants.csv")] = Path(
        "variants"
    ),
    only: Annotated[list[str] | None, typer.Option("--only", help="one of them; may be said again")] = None,
    quiet: Quiet = False,
) -> None:
    """What does reinforcement learning do? Train tiny-when's base in five ways, and measure each."""
    from rich.table import Table

    from reasonmech.organisms.variants import build_variants

    variants = (
        build_variants(out, names=only or (), progress=not quiet)
        .set_index("variant")
        .drop(columns="weights")
        .T
    )
    table = Table("", *variants.columns, header_style="bold")
    for quantity, row in variants.iterrows():
        table.add_row(str(quantity), *(f"{value:.3g}" for value in row))
    make_console().print(table)


def _print_findings(findings: list[Remeasurement]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("differs", "recorded", "measured", header_style="bold")
    for finding in findings:
        table.add_row(finding.quantity, Text(finding.recorded), Text(finding.measured))
    make_console().print(table)
