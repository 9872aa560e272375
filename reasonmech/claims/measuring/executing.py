"""Execution: does a model carry out a sentence as well as the other, once both are made to begin it?"""

from __future__ import annotations

from typing import Final

import numpy as np

from reasonmech.behaviours import onset_rate
from reasonmech.claims.evidence import Execution
from reasonmech.claims.measuring.bench import ROLES, Bench, Role
from reasonmech.organisms.ground_truth.forced import can_force, forced_prompts, forced_rates
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Trace
from reasonmech.tasks import parse

FORCED: Final = ("step", "check", "backtrack")
FEWEST: Final = 30  # problems; of fewer a rate says nothing
_MANY: Final = 1000  # places per text: all of them


def measure_execution(bench: Bench) -> dict[str, Execution]:
    """By behaviour: the first sentence after a forced onset, in one text per problem, by problem.

    The text is one of either model in turn, or of the other one where the first has no place to begin the
    behaviour: as many onsets on every problem, so that the interval of their difference is as narrow as so
    many problems warrant. A behaviour that can be begun on fewer than 30 problems is left out, and said.
    """
    if not can_force(bench.problems.task):
        bench.note(f"no onset can be forced in task {bench.problems.task!r}: execution was not tested")
        return {}
    traces: dict[Role, list[Trace]] = {role: parse(bench.free(role, "sampled")) for role in ROLES}
    measured = {}
    for behaviour in FORCED:
        prompts = _one_per_problem(bench, traces, behaviour)
        if len(prompts) < FEWEST:
            bench.note(
                f"{behaviour}: the models' texts on {len(prompts)} problems have a place to begin one, fewer "
                f"than {FEWEST}: how well it is carried out was not tested"
            )
            continue
        arrays = bench.runs.arrays(
            f"forced.{behaviour}",
            lambda prompts=prompts: _force(bench, prompts),
            rows=len(ROLES) * bench.extent.n * bench.extent.forced,
        )
        measured[behaviour] = Execution(**arrays)
    return measured


def _one_per_problem(bench: Bench, traces: dict[Role, list[Trace]], behaviour: str) -> ProblemSet:
    """A text cut where the behaviour could begin, and made to begin it, for every problem that has one."""
    prompts: dict[Role, dict[str, Problem]] = {role: {} for role in ROLES}
    for role, of_role in traces.items():
        if not onset_rate(of_role, behaviour).n:
            continue
        for prompt in forced_prompts(
            of_role, behaviour, task=bench.problems.task, n=len(of_role) * _MANY, seed=bench.questions.seed
        ):
            source, _, _ = prompt.id.rpartition("#")  # as `forced_prompts` names its texts
            prompts[role].setdefault(source, prompt)
    chosen = []
    for i, problem in enumerate(bench.problems):
        in_turn = ROLES if i % 2 == 0 else ROLES[::-1]
        chosen += [prompts[role][problem.id] for role in in_turn if problem.id in prompts[role]][:1]
    return ProblemSet(chosen, task="")


def _force(bench: Bench, prompts: ProblemSet) -> dict[str, np.ndarray]:
    """Onsets forced, and carried out by either model, with the same noise [problem]."""
    index = {problem.id: i for i, problem in enumerate(bench.problems)}
    counts = {name: np.zeros(len(index)) for name in ("n", *ROLES)}
    for role in ROLES:
        rates = forced_rates(
            bench.host(role),
            prompts,
            samples=bench.extent.forced,
            seed=bench.questions.seed,
            task=bench.problems.task,
        )
        for problem, rate in rates.items():
            counts[role][index[problem]] = rate.hits
            counts["n"][index[problem]] = rate.n
    return counts | {"n": counts["n"].astype(int)}
