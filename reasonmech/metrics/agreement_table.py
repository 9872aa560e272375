"""agreement_table: how far the words that mark behaviours agree with them, for each model and behaviour.

One behaviour of one model is `behaviours.agreement`; the arithmetic of kappa is in `stats.kappa`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import pandas as pd

from reasonmech.arguments import as_sequence, check_type
from reasonmech.behaviours import agreement, behaviours
from reasonmech.behaviours.base import onset_phrases
from reasonmech.door import checked
from reasonmech.metrics.base import check_rollouts
from reasonmech.ranges import Positive, Seed
from reasonmech.rollout import Rollouts
from reasonmech.stats import DRAWS
from reasonmech.tasks import parse, tasks

CALL: Final = 'rm.metrics.agreement_table({"base": rollouts, ...})'
COLUMNS: Final = (
    *("model", "task", "behaviour", "functional", "word", "kappa", "low", "high"),
    *("both", "only_functional", "only_lexical", "neither", "problems", "why_none"),
)


@checked
def agreement_table(
    rollouts: Mapping[str, Rollouts],
    *,
    also: Sequence[str] = ("backtrack",),
    draws: Positive = DRAWS,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Cohen's kappa of what sentences do and the words they use: `behaviours.agreement`, tabulated.

    Columns: model, task, behaviour, functional, word (None: the task has none for it), kappa with low and
    high (NaN where undefined: `why_none` says why), both, only_functional, only_lexical, neither [sentences],
    problems [that any sentence belongs to].

    Args:
        rollouts: of each model, by a name of yours ("base", "thinking").
        also: behaviours to tabulate beside those that the task has an onset word for; a pair that backtracks
            without a word for it is one that a keyword labeller misses.

    Raises:
        ArgumentError: no mapping of rollouts.
        UnknownNameError: no such behaviour, or no such task.
        DataError: rollouts without a sentence.
    """
    check_type(
        rollouts, Mapping, name="rollouts", allowed="a mapping: name of a model -> its rollouts", do=CALL
    )
    also = as_sequence(also, str, name="also", allowed="names of behaviours")
    rows = []
    for model, of_model in rollouts.items():
        task, traces = tasks.get(check_rollouts(of_model).task), parse(of_model)
        with_word = [k for k, words in task.onset_words.items() if words and k in behaviours.kinds()]
        for kind in dict.fromkeys([*with_word, *also]):
            row = asdict(agreement(traces, kind, onset_words=task.onset_words, draws=draws, seed=seed))
            row["only_functional"], row["only_lexical"] = row.pop("only_first"), row.pop("only_second")
            about = {"model": model, "task": of_model.task, "behaviour": kind}
            words = ", ".join(onset_phrases(task.onset_words.get(kind))) or None
            about |= {"functional": behaviours.get(kind).functional, "word": words}
            rows.append(about | row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"kappa": float, "low": float, "high": float})
