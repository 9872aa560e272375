"""`reasonmech judge`: what did training do to a pair, and how do we know?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, get_args

import typer

from reasonmech.cli.console import make_console
from reasonmech.cli.options import Out, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from reasonmech.claims import Judgement

FAILED: Final = 1  # exit code of a judgement whose measurement is invalid


@dataclass(frozen=True)
class Judged:
    """What a pair is judged on."""

    n: Annotated[int, typer.Option(help="problems")] = 300
    task: Annotated[str | None, typer.Option(help="whose problems; else the pair's own")] = None
    split: Annotated[str, typer.Option(help="train, tuning, test or confirmation")] = "confirmation"
    seed: Annotated[int, typer.Option(help="of problems and noise")] = 0


def judge(
    pair: Annotated[str, typer.Argument(help="pair, such as tiny-when, or a directory of one")],
    judged: Judged,
    full: Annotated[
        bool,
        typer.Option("--full", help="more samples, behaviours, the leak curve, other moments, no oracle"),
    ] = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """WHEN, HOW, both, sharpened, format, neither, or not decided: the verdict about a pair, and its numbers.

    Killed and started again, it goes on where it was; the same command again prints what is recorded.
    """
    from reasonmech.arguments import check_choice
    from reasonmech.claims import Terms
    from reasonmech.claims import judge as judge_pair
    from reasonmech.organisms import load_pair
    from reasonmech.tasks import Split

    split = check_choice(judged.split, get_args(Split), name="split")
    terms = Terms(task=judged.task, split=split, seed=judged.seed)
    judgement = judge_pair(load_pair(pair), n=judged.n, full=full, terms=terms, out=out, progress=not quiet)
    _print(judgement, make_console())
    if judgement.verdict == "INVALID":
        raise typer.Exit(FAILED)


def _print(judgement: Judgement, console: Console) -> None:
    from reasonmech.claims.wording import DECODED, describe_methods, first_sentence

    console.print(f"{judgement.pair}: {judgement.verdict}", style="bold", soft_wrap=True)
    console.print(f"{first_sentence(judgement)}\n")
    for decoding, gap in judgement.gaps.items():
        split = judgement.splits[decoding]
        console.print(f"{DECODED[decoding]}: thinking - base {gap} points; {split}", soft_wrap=True)
    console.print(_findings(judgement))
    for table in _in_full(judgement):
        console.print(table)
    for note in judgement.evidence.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"\nMethods. {describe_methods(judgement)}")


def _findings(judgement: Judgement) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table("claim", "status", "because", header_style="bold")
    for finding in judgement.findings:
        table.add_row(finding.claim.name, finding.status, Text(finding.reason))
    return table


def _in_full(judgement: Judgement) -> list[object]:
    """The factorial by behaviour and the leak curve, where they were measured."""
    from rich.table import Table

    from reasonmech.claims.effects import points
    from reasonmech.claims.shapley import shapley_effects
    from reasonmech.stats import SHARE, mean_interval

    tables: list[object] = []
    if effects := shapley_effects(judgement.evidence.coalitions, judgement.rule):
        by_player = Table("who has the thinking model's say", "points of the gap", header_style="bold")
        for player, effect in effects.items():
            by_player.add_row(player if player == "executor" else f"onsets: {player} is due", str(effect))
        tables.append(by_player)
    if judgement.evidence.leak:
        curve = Table("thinking tokens per sentence", "right", header_style="bold")
        for m, values in judgement.evidence.leak.items():
            curve.add_row(str(m), points(mean_interval(values, bounds=SHARE)).replace("+", ""))
        tables.append(curve)
    return tables
