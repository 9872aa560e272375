"""`reasonmech check`: validate what a file says before anything is computed: an experiment, or a pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmech.cli.console import make_console, say
from reasonmech.cli.options import Overrides

if TYPE_CHECKING:
    from reasonmech.hosts import ModelPair
    from reasonmech.hosts.catalogue import PairConfig


def check(
    config: Annotated[str, typer.Argument(help="YAML file of an experiment or a pair, or shipped name")],
    overrides: Overrides = None,
) -> None:
    """Validate a configuration without running it, and print it with every default filled in.

    Of a pair: its file, what it needs of a GPU, and, where the weights are here, whether they are siblings.
    Of both: where the problems of the task come from, whether they are there, and under which licence.
    """
    if _is_pair(config):
        if overrides:
            raise typer.BadParameter("--set changes an experiment, and this is a pair")
        _check_pair(config)
    else:
        _check_experiment(config, overrides or [])


def _is_pair(config: str) -> bool:
    """Whether this names a pair: by its name where no experiment is called so, or by what its file says."""
    from reasonmech.experiments import shipped_experiments
    from reasonmech.hosts import pair_names
    from reasonmech.yaml_text import read_yaml

    path = Path(config)
    if path.is_file():
        value = read_yaml(path).value
        return isinstance(value, dict) and "thinking" in value and "stages" not in value
    return path.is_dir() or (config in pair_names() and config not in shipped_experiments())


def _check_experiment(config: str, overrides: list[str]) -> None:
    import json

    import yaml

    from reasonmech.experiments import default_path, load_experiment

    experiment = load_experiment(config, overrides)
    say(yaml.safe_dump(json.loads(experiment.canonical()), sort_keys=False).rstrip())
    _print_problems(experiment.task.kind)
    experiment.task.load()
    say(f"# valid; would be written to {default_path(experiment)}")


def _check_pair(source: str) -> None:
    import yaml

    from reasonmech.hosts import load_pair, pair_config
    from reasonmech.organisms import is_here

    config = pair_config(source)
    say(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip())
    if config.task is not None:
        _print_problems(config.task)
    if config.parameters is not None:
        _print_footprint(config.parameters)
    missing = [path for path in (config.base, config.thinking) if not is_here(path)]
    if missing:
        say(f"# valid; not on this machine, so not compared: {', '.join(missing)}")
        return
    _print_pair(load_pair(source), config)


def _print_problems(task: str) -> None:
    """What a task says of its problems, where it does not make them itself."""
    import yaml

    from reasonmech.tasks import source_of

    if (source := source_of(task)) is not None:
        for line in yaml.safe_dump({"problems": source}, sort_keys=False, allow_unicode=True).splitlines():
            say(f"# {line}")


def _print_footprint(parameters: float) -> None:
    from reasonmech.hosts.footprint import BANDWIDTH, footprint_of

    needs = footprint_of(parameters)
    weights, rate = f"{needs.weights_gb:.1f} GB of weights", f"{BANDWIDTH / 1e12:.0f} TB/s"
    say(
        f"# needs {needs.memory_gb:.0f} GB of a GPU: {weights} of both models in bfloat16, and a quarter more"
    )
    say(
        "# an arm of 300 problems and 4,096 new tokens, 64 at a time, takes no less than "
        f"{needs.hours:.1f} h where memory is read at {rate}"
    )


def _print_pair(pair: ModelPair, config: PairConfig) -> None:
    kinds = dict.fromkeys(difference.kind for difference in pair.differences)
    unused = [kind for kind in config.accept if kind not in kinds]
    say(f"# valid; {pair!r}")
    for difference in pair.differences:
        say(f"#   {difference.kind}: {difference.what}")
    if unused:
        say(f"# accepted, and not there: {', '.join(unused)}")
    for host in (pair.base, pair.thinking):
        ends = ", ".join(repr(host.tokenizer.convert_ids_to_tokens(token)) for token in host.eos_ids)
        make_console().print(f"# {host.name}: {host.n_layers} layers, a text ends at {ends}", soft_wrap=True)
        if not host.prompt.is_plain:
            say(f"# {host.name} reads:\n{host.prompt.show(host.tokenizer)}")
