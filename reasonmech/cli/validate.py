"""`reasonmech validate`: how often a verdict is wrong, ours and those of published rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from reasonmech.cli.console import make_console
from reasonmech.cli.options import Quiet

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from reasonmech.claims.validation.error_rates import ErrorRates
    from reasonmech.stats import Interval

_NONE: Final = "-"
_SHORT: Final = {"SHARPENED": "SHARP", "INCONCLUSIVE": "INCONCL"}  # of columns


@dataclass(frozen=True)
class PairOptions:
    """How much is measured of a pair."""

    problems: Annotated[int, typer.Option(help="of every pair; of a trained one the first 200 at most")] = 300
    samples: Annotated[
        int, typer.Option(help="of a simulated pair at T = 1, per problem; greedy decoding has one")
    ] = 1


def validate(
    pairs: PairOptions,
    draws: Annotated[int, typer.Option(help="pairs drawn of every population")] = 100,
    seed: Annotated[int, typer.Option(help="of everything")] = 0,
    out: Annotated[
        Path, typer.Option("--out", help="directory of the draws; killed and called again, it goes on there")
    ] = Path("validation"),
    zoo: Annotated[
        bool, typer.Option("--zoo", help="the trained pairs that are here, in place of simulated ones")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Judge pairs whose truth is known; print how often verdicts, and published rules, are wrong."""
    from reasonmech.claims.validation import CaseSize
    from reasonmech.claims.validation import draws as drawn
    from reasonmech.claims.validation.error_rates import ErrorRates

    console = make_console()
    if zoo:
        _validate_zoo(console, pairs, out, progress=not quiet)
        return
    size = CaseSize(pairs.problems, pairs.samples)
    rates = ErrorRates(drawn.save_draws(out, draws=draws, seed=seed, size=size, progress=not quiet))
    _print_matrix(console, rates)
    _print_rates(console, rates)
    _print_published(console, rates, lacking="simulated pairs have none")
    _print_dial(console, rates)
    console.print(f"every case, with the reason of its verdict: {out}", soft_wrap=True)


def _validate_zoo(console: Console, pairs: PairOptions, out: Path, *, progress: bool) -> None:
    from reasonmech.claims.validation.error_rates import ErrorRates
    from reasonmech.claims.validation.zoo import MOST, save_zoo

    frame = save_zoo(out, problems=min(pairs.problems, MOST), progress=progress)
    rates = ErrorRates(frame)
    _print_pairs(console, frame)
    _print_rates(console, rates)
    _print_published(console, rates, lacking="organisms ship without one")
    console.print(f"every pair, with what each rule read: {out}", soft_wrap=True)


def _print_pairs(console: Console, frame: pd.DataFrame) -> None:
    """A line per trained pair: truth, verdict, and what the published rules say."""
    from rich.table import Table

    from reasonmech.claims.validation.published import PUBLISHED

    rules = [rule for rule in PUBLISHED if set(frame[rule.name]) != {"not applicable"}]
    table = Table(title="Trained pairs", title_justify="left", header_style="bold")
    for name in ("pair", "truth", "verdict", *(rule.name for rule in rules)):
        table.add_column(name)
    for row in frame.to_dict("records"):
        table.add_row(row["population"], row["truth"], row["verdict"], *(row[rule.name] for rule in rules))
    console.print(table)


def _print_matrix(console: Console, rates: ErrorRates) -> None:
    from rich.table import Table

    from reasonmech.claims.validation.populations import POPULATIONS

    matrix = rates.matrix()
    columns = [str(name) for name in matrix.columns if matrix[name].to_numpy().any()]
    table = Table(title="Verdicts by what was drawn", title_justify="left", header_style="bold")
    table.add_column("drawn (truth)")
    for name in columns:
        table.add_column(_SHORT.get(name, name), justify="right", no_wrap=True)
    table.add_column("wrong", no_wrap=True)
    for population, counts in matrix.to_dict("index").items():
        truth = POPULATIONS[str(population)].of or "by case"
        row = [str(counts[name]) if counts[name] else _NONE for name in columns]
        table.add_row(f"{population} ({truth})", *row, _percent(rates.wrong(str(population))))
    table.add_row("all", *(str(matrix[name].sum()) for name in columns), _percent(rates.wrong()))
    console.print(table)


def _print_rates(console: Console, rates: ErrorRates) -> None:
    from rich.table import Table

    from reasonmech.claims.validation.error_rates import DECIDED

    table = Table(
        "verdict", "said where it is not true", "said where it clearly is",
        title="Rates, exact 95 % intervals", title_justify="left", header_style="bold",
    )  # fmt: skip
    for verdict in (*DECIDED, "INVALID"):
        measured = rates.rates(verdict)
        table.add_row(verdict, _percent(measured.false), _percent(measured.sensitivity))
    console.print(table)


def _print_published(console: Console, rates: ErrorRates, *, lacking: str) -> None:
    """What published rules say of the same pairs; of one that cannot be asked, what it needs, and lacks."""
    from rich.table import Table

    from reasonmech.claims.validation.error_rates import OURS
    from reasonmech.claims.validation.published import PUBLISHED

    table = Table(
        "rule", "source", "WHEN where it is not true", "WHEN where it clearly is", "most often untrue of",
        title="The same pairs by published rules", title_justify="left", header_style="bold",
    )  # fmt: skip
    ours = rates.when(OURS)
    assert ours is not None  # a verdict can always be had
    ours_shares = _percent(ours.false), _percent(ours.sensitivity)
    table.add_row(OURS, "", *ours_shares, _worst(rates, OURS), end_section=True)
    for rule in PUBLISHED:
        measured = rates.when(rule.name)
        if measured is None:
            table.add_row(rule.name, rule.source, "not applicable", "", f"needs {rule.needs}: {lacking}")
            continue
        shares = _percent(measured.false), _percent(measured.sensitivity)
        table.add_row(rule.name, rule.source, *shares, _worst(rates, rule.name))
    console.print(table)


def _worst(rates: ErrorRates, rule: str, n: int = 3) -> str:
    shares = sorted(rates.false_by_population(rule).items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in shares[:n] if share) or _NONE


def _print_dial(console: Console, rates: ErrorRates) -> None:
    for words, (slope, intercept, n) in (
        ("greedy", rates.dial("greedy")),
        ("at T = 1", rates.dial("sampled")),
    ):
        console.print(
            f"dial from HOW to WHEN, {words}: judged share = {intercept:+.3f} + {slope.estimate:.3f} "
            f"[{slope.low:.3f}, {slope.high:.3f}] x dialled share ({n} pairs)"
        )


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return _NONE
    estimate, low, high = (100 * end for end in interval[:3])
    return f"{estimate:.1f} % [{low:.1f}, {high:.1f}]"
