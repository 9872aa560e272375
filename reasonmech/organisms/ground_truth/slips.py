"""What became of the environment's slips: the share undone before the next step."""

from __future__ import annotations

from collections.abc import Sequence

from reasonmech.behaviours.label import Rate
from reasonmech.rollout import Trace
from reasonmech.tasks.chain import ChainSentence, chain_trace


def slips_undone(traces: Sequence[Trace]) -> Rate:
    """Slipped steps whose item holds the right value again before the next step or the answer."""
    undone, slips = 0, 0
    for trace in map(chain_trace, traces):
        for i, step in enumerate(trace.sentences):
            if _has_slipped(trace, step):
                slips += 1
                undone += _is_undone(step, trace.sentences[i + 1 :])
    return Rate(undone, slips)


def _has_slipped(trace: Trace, sentence: ChainSentence) -> bool:
    at = sentence.value_at
    return at is not None and sentence.kind == "step" and trace.rollout.by_environment[at]


def _is_undone(step: ChainSentence, later: tuple[ChainSentence, ...]) -> bool:
    """Whether the item's equation has its right value when the next step, or the answer, begins."""
    undone = rechecked = False
    for sentence in later:
        # a repair without a word: the next step starts from what a check had found
        if sentence.adopts == step.item:
            undone = rechecked
        if sentence.relation in ("establishes", "concludes"):
            break
        if sentence.contradicts and sentence.item == step.item:
            rechecked = sentence.correct is True
        if sentence.relation == "revises" and sentence.item == step.item:
            undone = sentence.correct is True and sentence.equation == step.equation
    return undone
