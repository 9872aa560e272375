"""How far the word that marks a behaviour agrees with the behaviour."""

from __future__ import annotations

from collections.abc import Sequence

from reasonmech.behaviours.base import Behaviour, OnsetWords, as_traces, find_behaviour
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Span
from reasonmech.ranges import Positive, Seed
from reasonmech.rollout import STOP, Trace
from reasonmech.stats import DRAWS
from reasonmech.stats.kappa import Agreement, cohen_kappa


@checked
def agreement(
    traces: Trace | Sequence[Trace],
    behaviour: str | Behaviour,
    *,
    onset_words: OnsetWords,
    draws: Positive = DRAWS,
    seed: Seed = 0,
) -> Agreement:
    """Cohen's kappa of functional (first) and lexical (second) labels over the sentences of traces.

    `only_first` counts the sentences that do it without its word, `only_second` those that say the word and
    do not. The end-of-text token is no sentence here: both labellers would agree on it for nothing.

    Args:
        onset_words: of the task that the traces belong to, `tasks.get(rollouts.task).onset_words`.

    Raises:
        ArgumentError: no traces, or no behaviour. UnknownNameError: no such behaviour.
        DataError: no trace holds a sentence.
    """
    traces, labeller = as_traces(traces), find_behaviour(behaviour)
    does, says, problems = [], [], []
    for trace in traces:
        spans = [Span(s.start, s.stop) for s in trace.sentences if s.kind != STOP]
        doing, saying = set(labeller.spans(trace)), set(labeller.lexical_spans(trace, onset_words))
        does += [span in doing for span in spans]
        says += [span in saying for span in spans]
        problems += [trace.rollout.problem.id] * len(spans)
    if not problems:
        raise DataError(
            f"{len(traces)} traces hold no sentence to label {labeller.name!r} in", do="use longer rollouts"
        )
    return cohen_kappa(does, says, problems=problems, draws=draws, seed=seed)
