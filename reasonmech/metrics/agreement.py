"""agreement_table: how far words agree with behaviours, for each model of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import pandas as pd

from reasonmech.behaviours import agreement, behaviours
from reasonmech.rollout import Rollouts
from reasonmech.stats import DRAWS
from reasonmech.tasks import parse, tasks

COLUMNS: Final = (
    *("model", "task", "behaviour", "functional", "word", "kappa", "low", "high"),
    *("both", "only_functional", "only_lexical", "neither", "problems", "why_none"),
)


def agreement_table(
    rollouts: Mapping[str, Rollouts],
    *,
    also: Sequence[str] = ("backtrack",),
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Cohen's kappa of what sentences do and what words they use, one row per model and behaviour.

    Columns: model, task, behaviour, functional, word (None: the task has none for it), kappa with low and
    high (NaN where undefined: `why_none` says why), both, only_functional, only_lexical, neither [sentences],
    problems [that any sentence belongs to].

    Args:
        rollouts: of each model, by a name of yours ("base", "thinking").
        also: behaviours to tabulate beside those that the task has an onset word for; a pair that backtracks
            without a word for it is one that a keyword labeller misses.

    Raises:
        UnknownNameError: no such behaviour, or no such task.
        DataError: rollouts without a sentence.
    """
    rows = []
    for model, written in rollouts.items():
        task, traces = tasks.get(written.task), parse(written)
        with_word = [kind for kind in task.onset_words if kind in behaviours.kinds()]
        for kind in dict.fromkeys([*with_word, *also]):
            found = agreement(traces, kind, onset_words=task.onset_words, draws=draws, seed=seed)
            row = asdict(found)
            row["only_functional"], row["only_lexical"] = row.pop("only_first"), row.pop("only_second")
            about = {"model": model, "task": written.task, "behaviour": kind}
            about |= {"functional": behaviours.get(kind).functional, "word": task.onset_words.get(kind)}
            rows.append(about | row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"kappa": float, "low": float, "high": float})
