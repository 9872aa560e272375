"""Execution after a forced onset: does a model carry a behaviour out when it is made to begin it?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from reasonmech.behaviours import behaviours
from reasonmech.behaviours.backtrack import contradicted
from reasonmech.behaviours.check import unverified
from reasonmech.behaviours.label import Rate
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Trace
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks.base import tasks
from reasonmech.tasks.chain.environment import equation_before
from reasonmech.tasks.chain.grammar import DIGITS, evaluate

_ENOUGH: Final = 14  # tokens from any onset word to the digit it states, with room to spare


def forced_prompts(
    traces: Sequence[Trace], behaviour: str, *, n: int, seed: int = 0, task: str = "chain"
) -> ProblemSet:
    """Up to `n` texts cut at opportunities of `behaviour`, each continued by the behaviour's onset word.

    The answer of each is the equation that the sentence ought to state, with its true value ("8 + 4 = 2"):
    for a check or a backtrack the one that stands, as it was written; for a step the next operation on the
    value that stands.

    Raises:
        DataError: no opportunity in these traces.
    """
    found, word = behaviours.get(behaviour), tasks.get(task).onset_words[behaviour]
    problems = []
    for trace in traces:
        for o in found.opportunities(trace):
            if behaviour == "step" and _unfinished(trace, o.offset):
                continue
            text = " ".join([trace.rollout.problem.prompt, *trace.words[: o.offset], word])
            name = f"{trace.rollout.problem.id}#{trace.rollout.sample}@{o.offset}"
            due = _next_due(trace, o.offset) if behaviour == "step" else _due(trace, o.offset)
            problems.append(Problem(name, text, due))
    if not problems:
        raise DataError(
            f"no opportunity for {behaviour!r} in {len(traces)} traces",
            do="use rollouts that work step by step",
        )
    random.Random(seed).shuffle(problems)
    return ProblemSet(problems[:n], task="")


def _due(trace: Trace, offset: int) -> str:
    """The equation whose value stands at `offset`, as it was written, with its true value."""
    stands = [s for s in trace.sentences if s.start < offset and s.relation in ("establishes", "revises")][-1]
    assert stands.equation is not None
    left, operator, right = stands.equation.split()
    return f"{stands.equation} = {evaluate(int(left), operator, int(right))}"


def _unfinished(trace: Trace, offset: int) -> bool:
    """Whether a step is still unverified at `offset`, or a contradiction unresolved: a step then is off its
    time."""
    before = tuple(s for s in trace.sentences if s.start < offset)
    return unverified(before) or contradicted(before)


def _next_due(trace: Trace, offset: int) -> str:
    """The next operation of the problem on the value that stands at `offset`, with its true value."""
    data = trace.rollout.problem.data
    stated = [s for s in trace.sentences if s.start < offset and s.relation in ("establishes", "revises")]
    done = sum(s.relation == "establishes" for s in stated)
    left = int(data["start"]) if not stated else stated[-1].value
    assert left is not None
    operator, right = data["operations"][done]
    return f"{left} {operator} {right} = {evaluate(left, operator, right)}"


def forced_execution(host: Host, prompts: ProblemSet, *, samples: int = 1, seed: int = 0) -> Rate:
    """Sampled at T = 1 after the forced onset: how often the first equation stated is the due one, with its
    value."""
    decode = Decode(max_new_tokens=_ENOUGH, temperature=1.0, samples=samples, seed=seed, batch_size=256)
    rollouts = generate(host, prompts, decode=decode, progress=False, receipt="none")
    return Rate(sum(stated_equation(r.text.split()) == r.problem.answer for r in rollouts), len(rollouts))


def stated_equation(words: list[str]) -> str | None:
    """The first equation with its value in a list of words, "8 + 4 = 2"; None when none is complete."""
    for t in range(4, len(words)):
        if words[t] in DIGITS and equation_before(words[:t]):
            return " ".join(words[t - 4 : t + 1])
    return None
