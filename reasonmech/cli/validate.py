"""`reasonmech validate`: how often the rules that judge features are right, on features whose answer is
planted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reasonmech.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from reasonmech.locate.falsify.null_draws import NullDraws
    from reasonmech.locate.falsify.validation import Validation


def validate_command(
    draws: Annotated[int, typer.Option(help="planted dictionaries, each with features of every kind")] = 100,
    pairs: Annotated[int, typer.Option(help="texts in six versions, per dictionary")] = 200,
    null: Annotated[int, typer.Option(help="draws in which there is nothing to find; 0: none")] = 200,
    seed: Annotated[int, typer.Option(help="of everything")] = 0,
    read: Annotated[
        Literal["exact", "linear"], typer.Option(help="perfect coder, or linear reading of a noisy stream")
    ] = "exact",
    out: Annotated[Path | None, typer.Option("--out", help="parquet file for the whole confusion")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bars")] = False,
) -> None:
    """Confusion matrices of the rules of falsification, ours and published ones, on simulators; and A/A
    draws."""
    from rich.console import Console

    from reasonmech.locate.falsify.null_draws import null_draws
    from reasonmech.locate.falsify.validation import RULES, Setting, validate
    from reasonmech.paths import write_table

    if out is not None and out.exists():
        raise OutputError(f"{out} exists already", do="choose another file, or delete it")
    console = Console(highlight=False)
    found = validate(Setting(pairs, draws, seed, read), progress=not quiet)
    for rule in RULES:
        _print_confusion(console, found, rule)
    if null:
        _print_null(console, null_draws(draws=null, seed=seed, progress=not quiet))
    if out is not None:
        write_table(found.frame, out)


def _print_confusion(console: Console, found: Validation, rule: str) -> None:
    from rich.table import Table

    confusion, right = found.confusion(rule), found.accuracy()
    right = right[right["rule"] == rule].set_index("kind")
    setting = found.setting
    title = f"{rule}: {setting.draws} dictionaries, {setting.pairs} pairs, {setting.read} reading"
    table = Table("planted", "right, 95 % interval", "called", title=title, title_justify="left")
    for kind, row in confusion.iterrows():
        own = right.loc[kind]
        called = ", ".join(
            f"{name} {count}" for name, count in row.sort_values(ascending=False).items() if count
        )
        table.add_row(str(kind), f"{own['right']:.0%} [{own['low']:.0%}, {own['high']:.0%}]", called)
    console.print(table)


def _print_null(console: Console, found: NullDraws) -> None:
    from rich.table import Table

    table = Table("nothing to find (A/A), q = 0.05", "draws", "share, 95 % interval")
    for what, count in (
        ("a feature passes the search", found.found),
        ("and is said to go beyond its cue", found.survived),
        ("any feature is said to go beyond its cue", found.beyond),
    ):
        share = found.share(count)
        table.add_row(
            what, f"{count} of {found.draws}", f"{share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]"
        )
    console.print(table)
