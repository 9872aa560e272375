"""`reasonmech hybrid`: the published experiment on any pair, with its verdict, its nulls and its budgets."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from reasonmech.cli.options import Out, Overrides, Quiet, Workers
from reasonmech.cli.runs import carry_out


def hybrid(
    pair: Annotated[str, typer.Option("--pair", help="shipped pair, or path of a pair's YAML")],
    config: Annotated[str, typer.Option("--config", help="YAML file, or name of a shipped experiment")] = (
        "hybrid"
    ),
    out: Out = None,
    overrides: Overrides = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Steer a pair's base by the timing of its thinking model, beside everything that would do as much.

    An experiment (`reasonmech run`) whose pair and task are those of --pair. Started again after an
    interruption, it resumes. Exit code 3: it ended, and lacks something that it was asked for.
    """
    from reasonmech.errors import ConfigError
    from reasonmech.experiments import default_path, load_experiment
    from reasonmech.hosts import pair_config

    chosen = {"pair": pair, "task.kind": pair_config(pair).task}
    keys = {override.partition("=")[0] for override in overrides or ()}
    if chosen["task.kind"] is None and "task.kind" not in keys:
        raise ConfigError(
            f"pair {pair!r} names no task",
            allowed="a task with kinds of sentence",
            do="name one: --set task.kind=gsm8k?onsets=PATH, or `task:` in the pair's file",
        )
    ours = [
        f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None and key not in keys
    ]
    experiment = load_experiment(config, [*ours, *(overrides or ())])
    carry_out(experiment, out or default_path(experiment), workers=workers, quiet=quiet)
