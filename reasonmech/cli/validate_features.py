"""`reasonmech validate-features`: how often the rules that judge features are right about planted ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reasonmech.cli.console import make_console
from reasonmech.cli.options import Quiet
from reasonmech.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from reasonmech.locate.falsify.null_draws import NullDraws
    from reasonmech.locate.falsify.validation import Validation


@dataclass(frozen=True)
class SimulationOptions:
    """What is simulated."""

    draws: Annotated[int, typer.Option(help="planted dictionaries, each with features of every kind")] = 100
    pairs: Annotated[int, typer.Option(help="texts in six versions, per dictionary")] = 200
    seed: Annotated[int, typer.Option(help="of everything")] = 0
    read: Annotated[
        Literal["exact", "linear"], typer.Option(help="perfect coder, or linear reading of a noisy stream")
    ] = "exact"


def validate_features(
    simulation: SimulationOptions,
    null: Annotated[int, typer.Option(help="draws in which there is nothing to find; 0: none")] = 200,
    out: Annotated[Path | None, typer.Option("--out", help="parquet file for the whole confusion")] = None,
    quiet: Quiet = False,
) -> None:
    """Confusion matrices of the rules of falsification, ours and published ones; and A/A draws."""
    from reasonmech.files import save_table
    from reasonmech.locate.falsify import validation
    from reasonmech.locate.falsify.null_draws import null_draws

    if out is not None and out.exists():
        raise OutputError(f"{out} exists already", do="choose another file, or delete it")
    console = make_console()
    setting = validation.Setting(simulation.pairs, simulation.draws, simulation.seed, simulation.read)
    confusion = validation.validate(setting, progress=not quiet)
    for rule in validation.RULES:
        _print_confusion(console, confusion, rule)
    if null:
        _print_null(console, null_draws(draws=null, seed=simulation.seed, progress=not quiet))
    if out is not None:
        save_table(confusion.frame, out)


def _print_confusion(console: Console, confusion: Validation, rule: str) -> None:
    from rich.table import Table

    accuracy, setting = confusion.accuracy(), confusion.setting
    accuracy = accuracy[accuracy["rule"] == rule].set_index("kind")
    title = f"{rule}: {setting.draws} dictionaries, {setting.pairs} pairs, {setting.read} reading"
    table = Table("planted", "right, 95 % interval", "called", title=title, title_justify="left")
    for kind, counts in confusion.confusion(rule).iterrows():
        share = accuracy.loc[kind]
        called = ", ".join(
            f"{name} {count}" for name, count in counts.sort_values(ascending=False).items() if count
        )
        table.add_row(str(kind), f"{share['right']:.0%} [{share['low']:.0%}, {share['high']:.0%}]", called)
    console.print(table)


def _print_null(console: Console, null: NullDraws) -> None:
    from rich.table import Table

    table = Table("nothing to find (A/A), q = 0.05", "draws", "share, 95 % interval")
    for event, count in (
        ("a feature passes the search", null.discovered),
        ("and is said to go beyond its cue", null.survived),
        ("any feature is said to go beyond its cue", null.beyond),
    ):
        share = null.share(count)
        table.add_row(
            event, f"{count} of {null.draws}", f"{share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]"
        )
    console.print(table)
