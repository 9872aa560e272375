"""`reasonmech evaluate`: what becomes of the answers of both models of a pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from reasonmech.cli.console import make_console, say
from reasonmech.cli.options import Quiet
from reasonmech.errors import DataError

if TYPE_CHECKING:
    from reasonmech.tasks import AnswerOutcomes


@dataclass(frozen=True)
class EvaluatedProblems:
    """What is asked."""

    task: Annotated[str | None, typer.Option(help="such as jsonl:PATH; else the pair's own")] = None
    n: Annotated[int, typer.Option(min=1, help="problems")] = 50
    split: Annotated[str, typer.Option(help="train, tuning, test or confirmation")] = "test"
    seed: Annotated[int, typer.Option(min=0, help="of problems and noise")] = 0


@dataclass(frozen=True)
class EvaluatedTexts:
    """How it is answered."""

    tokens: Annotated[int, typer.Option(min=1, help="most tokens of an answer")] = 512
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy")] = 0.0
    published: Annotated[
        bool, typer.Option("--published", help="draw as each model's generation config says")
    ] = False
    samples: Annotated[int, typer.Option(min=1, help="answers per problem")] = 1
    stop: Annotated[
        list[str] | None,
        typer.Option(help="text that ends an answer; without one a new 'Question:', in tasks of questions"),
    ] = None


def evaluate(
    pair: Annotated[str, typer.Argument(help="pair, such as tiny-when, or a directory or file of one")],
    problems: EvaluatedProblems,
    texts: EvaluatedTexts,
    quiet: Quiet = False,
) -> None:
    """Count right, wrong, unparsed, timeout and truncated answers of both models of a pair."""
    from reasonmech.arguments import check_choice
    from reasonmech.organisms import load_pair
    from reasonmech.runtime import Decode, generate
    from reasonmech.runtime.decoding.decode import DRAWING
    from reasonmech.tasks import Split, load_task, outcomes, source_of, tasks
    from reasonmech.tasks.questions import NEXT_QUESTION, TextTask

    split = check_choice(problems.split, get_args(Split), name="split")
    loaded = load_pair(pair)
    task = problems.task or loaded.task
    if task is None:
        raise DataError(f"pair {pair!r} has no task, and none was named", do="--task jsonl:PATH")
    drawn = load_task(task, n=problems.n, seed=problems.seed, split=split)
    stops = tuple(texts.stop or ([NEXT_QUESTION] if isinstance(tasks.get(task), TextTask) else []))
    drawing = {"temperature": texts.temperature} if texts.temperature or not texts.published else {}
    decode = Decode(
        max_new_tokens=texts.tokens, samples=texts.samples, seed=problems.seed, stop_strings=stops, **drawing
    )
    both = (loaded.base, loaded.thinking)
    decodes = {host.name: decode.as_published(host) if texts.published else decode for host in both}
    counted = {
        host.name: outcomes(generate(host, drawn, decode=decodes[host.name], progress=not quiet))
        for host in both
    }
    say(f"{loaded.name}: {len(drawn)} problems of task {task}, split {split}, seed {problems.seed}")
    for name, each in decodes.items() if texts.published else ():
        say(f"{name}: {', '.join(f'{setting} {getattr(each, setting):g}' for setting in DRAWING)}")
    for key, value in (source_of(task) or {}).items():
        if key in ("source", "licence", "sha256", "grading", "answer_read", "unparsable_gold"):
            say(f"{key}: {'none stated' if value is None else value}")
    make_console().print(_table(counted))


def _table(counted: dict[str, AnswerOutcomes]) -> object:
    from rich.table import Table

    table = Table("outcome", *counted, header_style="bold")
    for rows in zip(*(outcomes.table().to_dict("records") for outcomes in counted.values()), strict=True):
        table.add_row(str(rows[0]["outcome"]), *map(_cell, rows))
    return table


def _cell(row: Mapping[str, Any]) -> str:
    """How many, their share, and its interval over problems where there is one."""
    ends = "" if isnan(row["low"]) else f" [{row['low']:.0%}, {row['high']:.0%}]"
    return f"{row['rollouts']} ({row['share']:.0%}{ends})"
