"""`reasonmech demo`, `run`, `show`: carry out an experiment, and show what it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from reasonmech.cli.console import make_console
from reasonmech.cli.options import Out, Overrides, Quiet, Workers

if TYPE_CHECKING:
    from reasonmech.experiments import Experiment, Run


MISSING: Final = 3  # exit code of a run that ended and lacks something that it was asked for


def demo(out: Out = None, workers: Workers = 1, quiet: Quiet = False) -> None:
    """The whole path on the embedded pair, offline, in minutes: pair, features, causes, hybrid, report."""
    from reasonmech.experiments import default_path, load_experiment, load_run

    experiment = load_experiment("demo")
    target = out or default_path(experiment)
    if target.is_dir():
        make_console().print(
            f"{target} is complete already, and shown; delete it to run it again", soft_wrap=True
        )
        _print_run(load_run(target))
        return
    carry_out(experiment, target, workers=workers, quiet=quiet)


def run_experiment(
    config: Annotated[str, typer.Argument(help="YAML file, or name of a shipped experiment")],
    out: Out = None,
    overrides: Overrides = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Carry out an experiment; started again after an interruption, it resumes.

    Exit code 3: it ended, and lacks something that it was asked for; the report says what and why.
    """
    from reasonmech.experiments import default_path, load_experiment

    experiment = load_experiment(config, overrides or ())
    carry_out(experiment, out or default_path(experiment), workers=workers, quiet=quiet)


def show(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="directory of a finished run")],
    receipts: Annotated[
        bool, typer.Option("--receipts", help="list what every intervention really did")
    ] = False,
) -> None:
    """Print what a finished run found, and where its report is."""
    from reasonmech.experiments import load_run

    _print_run(load_run(path), every_receipt=receipts)


def carry_out(experiment: Experiment, target: Path, *, workers: int, quiet: bool) -> None:
    """Run an experiment, write its report, print what it found; exit code 3 where something is missing."""
    from reasonmech.experiments import run
    from reasonmech.report import report

    finished = run(experiment, out=target, workers=workers, progress=not quiet)
    report(finished)
    _print_run(finished)
    if len(finished.missing):
        raise typer.Exit(MISSING)


def _print_run(finished: Run, *, every_receipt: bool = False) -> None:
    from reasonmech.report import receipts, receipts_in_short, report, summary

    page = finished.path / "report.html"
    if not page.exists():
        report(finished)
    console = make_console()
    console.print(summary(finished))
    if every_receipt:
        console.print(receipts(finished))
    hint = "" if every_receipt else " (reasonmech show RUN --receipts lists them)"
    console.print(f"receipts: {receipts_in_short(finished)}{hint}")
    console.print(f"computing time: {finished.record['seconds']:.0f} s")
    console.print(f"run:    {finished.path}", soft_wrap=True)  # a path must not be broken: people copy it
    console.print(f"report: {page.resolve()}", soft_wrap=True)
    if n := len(finished.missing):
        console.print(f"finished with {n} of {finished.n_planned} things missing", style="bold red")
