"""Execution after a forced onset: does a model carry a behaviour out when it is made to begin it?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from reasonmech.behaviours import behaviours
from reasonmech.behaviours.label import Rate
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Trace
from reasonmech.runtime.decode import Decode
from reasonmech.runtime.generate import generate
from reasonmech.tasks.base import tasks
from reasonmech.tasks.chain.environment import equation_before
from reasonmech.tasks.chain.grammar import DIGITS, evaluate

_ENOUGH: Final = 14  # tokens from any onset word to the digit it states, with room to spare


def forced_prompts(traces: Sequence[Trace], behaviour: str, *, n: int, seed: int = 0) -> ProblemSet:
    """Up to `n` texts cut at opportunities of `behaviour`, each continued by the behaviour's onset word.

    The answer of each is the equation that the sentence ought to state, "8 + 4 = 2", from the problem itself.

    Raises:
        DataError: no opportunity in these traces.
    """
    found, word = behaviours.get(behaviour), tasks.get("chain").onset_words[behaviour]
    problems = []
    for trace in traces:
        for o in found.opportunities(trace):
            due = _due(trace, o.offset)
            if due is not None:
                text = " ".join([trace.rollout.problem.prompt, *trace.words[: o.offset], word])
                problems.append(Problem(f"{trace.rollout.problem.id}#{trace.rollout.sample}@{o.offset}", text, due))
    if not problems:
        raise DataError(
            f"no opportunity for {behaviour!r} in {len(traces)} traces", do="use rollouts that work step by step"
        )
    random.Random(seed).shuffle(problems)
    return ProblemSet(problems[:n], task="")


def _due(trace: Trace, offset: int) -> str | None:
    """The equation of the item that stands at `offset`, with its true value; None where an operation was skipped."""
    before = [s for s in trace.sentences if s.start < offset and s.item is not None]
    item, data = before[-1].item, trace.rollout.problem.data
    assert item is not None
    earlier = [data["start"]] if item == 0 else []
    earlier += [s.value for s in before if s.item == item - 1 and s.relation in ("establishes", "revises")]
    if item >= len(data["operations"]) or not earlier:
        return None
    operator, operand = data["operations"][item]
    left = earlier[-1]
    return f"{left} {operator} {operand} = {evaluate(left, operator, operand)}"


def forced_execution(host: Host, prompts: ProblemSet, *, seed: int = 0) -> Rate:
    """Sampled at T = 1 after the forced onset: how often the first equation stated is the due one, with its value."""
    decode = Decode(max_new_tokens=_ENOUGH, temperature=1.0, seed=seed, batch_size=256)
    rollouts = generate(host, prompts, decode=decode, progress=False, receipt="none")
    return Rate(sum(stated_equation(r.text.split()) == r.problem.answer for r in rollouts), len(rollouts))


def stated_equation(words: list[str]) -> str | None:
    """The first equation with its value in a list of words, "8 + 4 = 2"; None when none is complete."""
    for t in range(4, len(words)):
        if words[t] in DIGITS and equation_before(words[:t]):
            return " ".join(words[t - 4 : t + 1])
    return None
