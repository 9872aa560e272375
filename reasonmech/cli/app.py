"""The command `reasonmech`: every verb of the main path, with errors a person can act on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmech.cli.organisms import organisms_app
from reasonmech.cli.validate import validate_command
from reasonmech.errors import ReasonmechError, UnknownNameError

if TYPE_CHECKING:
    from rich.console import Console

    from reasonmech.experiments import Experiment, Run

app = typer.Typer(
    name="reasonmech",
    help="Which reasoning features a base model already carries, and what firing them at the right moment "
    "does.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(organisms_app, name="organisms")
app.command("validate")(validate_command)

_WEIGHTS = ("here", "to build", "to download", "unknown")  # of a pair: the worse of its two models
INTERRUPTED = 130  # exit code that typer gives Ctrl-C

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override one key, a.b=3")
]
Out = Annotated[Path | None, typer.Option("--out", help="directory to create")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bars")]


def main() -> None:
    """Run the command; a caller's mistake ends it with code 2 and a message, Ctrl-C with 130."""
    try:
        app()
    except ReasonmechError as error:
        _complain(f"{type(error).__name__}: {error}")
        raise SystemExit(2) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _complain("interrupted: what was finished is kept, and the same command resumes there")
        raise


def _complain(message: str) -> None:
    print(message, file=sys.stderr)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


@app.command()
def demo(out: Out = None, quiet: Quiet = False) -> None:
    """The whole path on the embedded pair, offline, in minutes: pair, features, causes, hybrid, report."""
    from reasonmech.experiments import default_path, load_experiment, load_run

    experiment = load_experiment("demo")
    target = out or default_path(experiment)
    if target.is_dir():
        _console().print(
            f"{target} is complete already, and shown; delete it to run it again", soft_wrap=True
        )
        _show(load_run(target))
        return
    _carry_out(experiment, target, quiet=quiet)


@app.command("run")
def run_command(
    config: Annotated[str, typer.Argument(help="YAML file, or name of a shipped experiment")],
    out: Out = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Carry out an experiment; started again after an interruption, it resumes."""
    from reasonmech.experiments import default_path, load_experiment

    experiment = load_experiment(config, overrides or ())
    _carry_out(experiment, out or default_path(experiment), quiet=quiet)


def _carry_out(experiment: Experiment, target: Path, *, quiet: bool) -> None:
    from reasonmech.experiments import run
    from reasonmech.report import report

    finished = run(experiment, out=target, progress=not quiet)
    report(finished)
    _show(finished)


def _show(finished: Run, *, every_receipt: bool = False) -> None:
    from reasonmech.report import receipts, receipts_in_short, report, summary

    page = finished.path / "report.html"
    if not page.exists():
        report(finished)
    console = _console()
    console.print(summary(finished))
    if every_receipt:
        console.print(receipts(finished))
    hint = "" if every_receipt else " (reasonmech show RUN --receipts lists them)"
    console.print(f"receipts: {receipts_in_short(finished)}{hint}")
    console.print(f"computing time: {finished.record['seconds']:.0f} s")
    console.print(f"run:    {finished.path}", soft_wrap=True)  # a path must not be broken: people copy it
    console.print(f"report: {page.resolve()}", soft_wrap=True)


@app.command()
def check(
    config: Annotated[str, typer.Argument(help="YAML file, or shipped name")], overrides: Overrides = None
) -> None:
    """Validate a configuration without running it, and print it with every default filled in."""
    import json

    import yaml

    from reasonmech.experiments import default_path, load_experiment

    experiment = load_experiment(config, overrides or ())
    print(yaml.safe_dump(json.loads(experiment.canonical()), sort_keys=False).rstrip())
    print(f"# valid; would be written to {default_path(experiment)}")


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="directory of a finished run")],
    receipts: Annotated[
        bool, typer.Option("--receipts", help="list what every intervention really did")
    ] = False,
) -> None:
    """Print what a finished run found, and where its report is."""
    from reasonmech.experiments import load_run

    _show(load_run(path), every_receipt=receipts)


@app.command()
def pairs() -> None:
    """List the known base/thinking pairs and whether their weights are on this machine."""
    from rich.table import Table

    from reasonmech.hosts import pair_config, pair_names

    table = Table("pair", "base", "thinking", "task", "weights", header_style="bold")
    for config in map(pair_config, pair_names()):
        weights = max(map(_weights, (config.base, config.thinking)), key=_WEIGHTS.index)
        table.add_row(config.name, config.base, config.thinking, config.task or "", weights)
    _console().print(table)


def _weights(path: str) -> str:
    """Where the weights of a model are."""
    from reasonmech.organisms import is_here
    from reasonmech.paths import ORGANISM_PREFIX

    try:
        here = is_here(path)
    except UnknownNameError:  # an organism that no recipe is known for
        return "unknown"
    return "here" if here else "to build" if path.startswith(ORGANISM_PREFIX) else "to download"


@app.command("train-coder")
def train_coder_command(
    pair: Annotated[str, typer.Argument(help="pair whose base is read")],
    config: Annotated[str, typer.Argument(help="YAML of a coder, or shipped name such as topk")],
    site: Annotated[str, typer.Option(help="where to read, such as resid_post.2")],
    out: Annotated[Path, typer.Option(help="directory to create, in SAELens layout")],
    problems: Annotated[int, typer.Option(help="problems whose rollouts are read")] = 500,
    quiet: Quiet = False,
) -> None:
    """Train a sparse coder on a base that reads its own and the thinking model's rollouts; goes on after a
    kill."""
    from reasonmech.coders import load_coder_config
    from reasonmech.experiments.pair_coder import train_pair_coder
    from reasonmech.organisms import load_pair

    settings, loaded = load_coder_config(config), load_pair(pair)
    coder = train_pair_coder(loaded, settings, site=site, out=out, problems=problems, progress=not quiet)
    print(f"{coder.d_sae} features at {coder.site} of {loaded.base.name}: {out}")


@app.command()
def steer(
    model: Annotated[
        str, typer.Argument(help="directory or hub name of a model, or organism:tiny-when/base")
    ],
    prompt: Annotated[str, typer.Argument(help="text to continue")],
    coder: Annotated[str | None, typer.Option(help="coder directory or release/id")] = None,
    features: Annotated[str, typer.Option(help="features of it, comma-separated")] = "",
    vector: Annotated[Path | None, typer.Option(help="safetensors file with one vector, with --site")] = None,
    site: Annotated[str, typer.Option(help="where the vector is added")] = "",
    amount: Annotated[
        float, typer.Option(help="activation units (features), residual-norm units (vector)")
    ] = 1.0,
    tokens: Annotated[int, typer.Option(help="how many to write")] = 64,
) -> None:
    """Continue a prompt with and without an intervention, side by side, coloured where they part."""
    from reasonmech.report.sidebyside import Push, side_by_side

    push = Push(coder=coder, features=features, vector=vector, site=site, amount=amount)
    _console().print(side_by_side(model, prompt, push, tokens=tokens))


@app.command()
def doctor() -> None:
    """Name the versions in this environment, and combinations that are known to break."""
    from reasonmech.doctor import diagnose

    diagnosis = diagnose()
    _console().print(diagnosis.table())
    raise typer.Exit(0 if diagnosis.healthy else 1)
