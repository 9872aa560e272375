"""Execution after a forced onset: does a model carry a behaviour out when it is made to begin it?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from reasonmech.arguments import check_type
from reasonmech.behaviours import behaviours
from reasonmech.behaviours.label import Rate
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hosts.prompt import with_beginning
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Trace
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks.base import tasks
from reasonmech.tasks.chain.behaviours import contradicted, unverified
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace
from reasonmech.tasks.chain.value_task import ValueTask

_MAX_TOKENS: Final = 14  # tokens from any onset word to the digit it states, with room to spare


def can_force(task: str) -> bool:
    """Whether onsets can be forced in texts of a task: in those of chain and letters worlds."""
    return isinstance(tasks.get(task), ValueTask)


def forced_prompts(
    traces: Sequence[Trace], behaviour: str, *, n: int, seed: int = 0, task: str = "chain"
) -> ProblemSet:
    """Up to `n` texts cut at opportunities of `behaviour`, each continued by an onset word of the behaviour.

    Where the world has several such words they take turns; where they tell a value, the one that is due is
    said, for another one would force an error.

    The answer of each is the equation that the sentence ought to state, with its true value ("8 + 4 = 2"):
    for a check or a backtrack the one that stands, as it was written; for a step the next operation on the
    value that stands.

    Raises:
        ArgumentError: a task that is no chain world. DataError: no opportunity in these traces.
    """
    world = value_task(task)
    definition, words = behaviours.get(behaviour), world.world.words_of(behaviour)
    problems: list[Problem] = []
    named: dict[str, str] = {}  # id -> text
    for trace in traces:
        for opportunity in definition.opportunities(trace):
            offset = opportunity.offset
            if behaviour == "step" and _is_unfinished(trace, offset):
                continue
            equation = _next_equation if behaviour == "step" else _standing_equation
            due = equation(trace, offset, world)
            tells = behaviour == world.world.telling
            word = words[int(due.split()[-1]) if tells else len(problems) % len(words)]
            problem = trace.rollout.problem
            begun = trace.separator.join(["", *trace.words[:offset]]) + f" {word}"
            text = problem.prompt + begun
            name = f"{problem.id}#{trace.rollout.sample}@{offset}"
            while named.setdefault(name, text) != text:  # two writers got there by other words
                name += "'"
            problems.append(with_beginning(problem, name, begun, due))
    if not problems:
        raise DataError(
            f"no opportunity for {behaviour!r} in {len(traces)} traces",
            do="use rollouts that work step by step",
        )
    random.Random(seed).shuffle(problems)
    # Two models that wrote the same text have one question in it, which counts for either.
    most = max(Counter(problem.id for problem in problems[:n]).values())
    return ProblemSet(problems[:n], task="", repeats=most)


def value_task(task: str) -> ValueTask:
    """A chain or letters world by its name. Raises ArgumentError where it is none."""
    return check_type(
        tasks.get(task),
        ValueTask,  # pyright: ignore[reportAbstractUsage]
        name=f"task {task!r}",
        allowed="a chain world, or a letters world",
    )


def _stated(trace: Trace, offset: int) -> list[ChainSentence]:
    """The sentences before `offset` that leave a value standing."""
    previous = [s for s in chain_trace(trace).sentences if s.start < offset]
    return [s for s in previous if s.relation in ("establishes", "revises")]


def _standing_equation(trace: Trace, offset: int, world: ValueTask) -> str:
    """The equation whose value stands at `offset`, as it was written, with its true value."""
    latest = _stated(trace, offset)[-1]
    assert latest.equation is not None
    left, operator, right = latest.equation.split()
    return f"{latest.equation} = {world.evaluate(int(left), operator, int(right))}"


def _is_unfinished(trace: Trace, offset: int) -> bool:
    """Whether a step is unverified at `offset`, or a contradiction unresolved: no time for a step."""
    previous = tuple(s for s in chain_trace(trace).sentences if s.start < offset)
    return unverified(previous) or contradicted(previous)


def _next_equation(trace: Trace, offset: int, world: ValueTask) -> str:
    """The next operation of the problem on the value that stands at `offset`, with its true value."""
    data = trace.rollout.problem.data
    stated = _stated(trace, offset)
    done = sum(s.relation == "establishes" for s in stated)
    left = int(data["start"]) if not stated else stated[-1].value
    assert left is not None
    operator, right = data["operations"][done]
    return f"{left} {operator} {right} = {world.evaluate(left, operator, right)}"


def forced_execution(
    host: Host, prompts: ProblemSet, *, samples: int = 1, seed: int = 0, task: str = "chain"
) -> Rate:
    """How often the first equation after the forced onset is the right one, with its value, at T = 1."""
    rates = forced_rates(host, prompts, samples=samples, seed=seed, task=task).values()
    return Rate(sum(rate.hits for rate in rates), sum(rate.n for rate in rates))


def forced_rates(
    host: Host, prompts: ProblemSet, *, samples: int = 1, seed: int = 0, task: str = "chain"
) -> dict[str, Rate]:
    """`forced_execution` of every problem that the texts of `forced_prompts` came from, by its id."""
    world = value_task(task)
    decode = Decode(max_new_tokens=_MAX_TOKENS, temperature=1.0, samples=samples, seed=seed, batch_size=256)
    right: dict[str, list[bool]] = {}
    for rollout in generate(host, prompts, decode=decode, progress=False, receipt="none"):
        source, _, _ = rollout.problem.id.rpartition("#")  # as `forced_prompts` names its texts
        right.setdefault(source, []).append(world.first_equation(rollout.text) == rollout.problem.answer)
    return {source: Rate(sum(of_problem), len(of_problem)) for source, of_problem in right.items()}
