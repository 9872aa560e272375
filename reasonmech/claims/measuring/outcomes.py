"""What both models and their splices answer under one decoding, graded in every way that a verdict needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from reasonmech.claims.evidence import CELLS, Cells, Decoding, Outcomes
from reasonmech.claims.measuring.bench import ROLES, Bench, Role
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.tasks import ReadsNoSteps, WorksOut, parse, tasks


def measure_outcomes(bench: Bench, decoding: Decoding) -> Outcomes:
    """Free runs, the same with more room, and the four splices of one decoding."""
    free = {role: bench.free(role, decoding) for role in ROLES}
    cells = {name: bench.spliced(name, decoding) for name in CELLS}
    for role in ROLES:
        _say_cut_off(bench, f"{role}, {decoding}", free[role])
    for name in ("bt", "tb"):
        _say_cut_off(bench, f"splice {name}, {decoding}", cells[name])
    roomy = {role: _with_more_room(bench, role, decoding) for role in ROLES}
    return Outcomes(
        base=bench.right(free["base"]),
        thinking=bench.right(free["thinking"]),
        reached_base=_reached(bench, free["base"]),
        reached_thinking=_reached(bench, free["thinking"]),
        roomy_base=bench.right(roomy["base"]),
        roomy_thinking=bench.right(roomy["thinking"]),
        endless_base=_endless(bench, roomy["base"]),
        endless_thinking=_endless(bench, roomy["thinking"]),
        cells=Cells(**{name: bench.right(runs) for name, runs in cells.items()}),
        verified=_verified(bench, cells),
    )


def _verified(bench: Bench, cells: Mapping[str, Rollouts]) -> Cells | None:
    """The splices' answers that rest on right steps alone; None where nothing reads the steps of the task."""
    task = tasks.get(bench.problems.task)
    if isinstance(task, ReadsNoSteps):
        bench.note(f"nothing reads the steps of task {bench.problems.task!r}: guesses are not told from work")
        return None
    by_problem = {
        name: bench.by_problem([task.verified(trace) for trace in parse(runs)])
        for name, runs in cells.items()
    }
    return Cells(**by_problem)


def _reached(bench: Bench, rollouts: Rollouts) -> Float[np.ndarray, " problem"]:
    """Right, or worked out and not stated; of a task that can't tell, right."""
    task = tasks.get(rollouts.task)
    if not isinstance(task, WorksOut):
        bench.note(
            f"task {rollouts.task!r} does not tell what was worked out from what was stated: no format"
        )
        return bench.right(rollouts)
    worked_out = [task.reached(trace) for trace in parse(rollouts)]
    return bench.by_problem(np.logical_or(worked_out, bench.graded(rollouts)))


def _with_more_room(bench: Bench, role: Role, decoding: Decoding) -> Rollouts:
    """A model with twice the tokens. What was not cut off stays as it is, and is not written again."""
    free, host = bench.free(role, decoding), bench.host(role)
    cut = np.array([rollout.stop == "length" for rollout in free])
    if not cut.any():
        return free
    decode = bench.decode(decoding)
    room = host.n_positions - max(len(rollout.prompt_ids) for rollout in free)
    tokens = min(2 * decode.max_new_tokens, room)
    if tokens < 2 * decode.max_new_tokens:
        bench.note(f"{role} has {host.n_positions} positions: with more room it was given {tokens} tokens")
    roomy = Decode(**decode.model_dump() | {"max_new_tokens": tokens})
    written = bench.runs.rollouts(
        f"{decoding}.roomy.{'base' if bench.is_one_model else role}",
        lambda: bench.write_again(free, host, roomy, cut),
        rows=len(free),
    )
    still = float(np.mean([rollout.stop == "length" for rollout in written]))
    bench.note(
        f"{role}, {decoding}: {still:.1%} of texts are cut off at {tokens} tokens, too, and what they would "
        "answer is not known"
    )
    return written


def _endless(bench: Bench, rollouts: Rollouts) -> Float[np.ndarray, " problem"]:
    """Shares of texts that are cut off; none of two models that are one, which no more tokens part."""
    return bench.by_problem([rollout.stop == "length" and not bench.is_one_model for rollout in rollouts])


def _say_cut_off(bench: Bench, whose: str, rollouts: Rollouts) -> None:
    share = float(np.mean([rollout.stop == "length" for rollout in rollouts]))
    if share > 0:
        bench.note(
            f"{whose}: {share:.1%} of texts were cut off at {bench.extent.max_new_tokens} tokens, and "
            "count as wrong"
        )
