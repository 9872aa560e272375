"""How far the word that marks a behaviour agrees with the behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reasonmech.behaviours.base import behaviours
from reasonmech.errors import DataError
from reasonmech.rollout import Trace
from reasonmech.stats import DRAWS
from reasonmech.stats.kappa import Agreement, agreement_of


def agreement(
    traces: Sequence[Trace],
    behaviour: str,
    *,
    onset_words: Mapping[str, str],
    draws: int = DRAWS,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa of functional (first) and lexical (second) labels over the sentences of traces.

    `only_first` counts the sentences that do it without its word, `only_second` those that say the word and
    do not. The end-of-text token is no sentence here: both labellers would agree on it for nothing.

    Args:
        onset_words: of the task that the traces belong to, `tasks.get(rollouts.task).onset_words`.

    Raises:
        UnknownNameError: no such behaviour.
        DataError: no trace holds a sentence.
    """
    found = behaviours.get(behaviour)
    does, says, problems = [], [], []
    for trace in traces:
        doing, saying = set(found.spans(trace)), set(found.lexical_spans(trace, onset_words))
        at = [(s.start, s.stop) for s in trace.sentences if s.kind != "stop"]
        does += [span in doing for span in at]
        says += [span in saying for span in at]
        problems += [trace.rollout.problem.id] * len(at)
    if not problems:
        raise DataError(
            f"{len(traces)} traces hold no sentence to label {behaviour!r} in", do="use longer rollouts"
        )
    return agreement_of(does, says, problems=problems, draws=draws, seed=seed)
