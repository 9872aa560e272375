"""Rollouts of written answers, as a model that writes word by word would leave them."""

import re

import reasonmech as rm
from reasonmech.rollout import Rollout, Rollouts, Stop
from reasonmech.tasks import GradesByOutcome, tasks


def rolled(text, answer, *, stop: Stop = "eos", id="q/0"):
    pieces = re.findall(r"\s*\S+|\s+\Z", text) + ["<|end|>"] * (stop == "eos")
    no = (False,) * len(pieces)
    problem = rm.Problem(id, "Q", answer)
    return Rollout(problem, 0, (1,), tuple(range(len(pieces))), no, no, stop, "".join(pieces), tuple(pieces))


def rollouts_of(task, texts, answers):
    """One rollout per text, which ends by itself."""
    pairs = enumerate(zip(texts, answers, strict=True))
    return Rollouts([rolled(text, answer, id=f"q/{i}") for i, (text, answer) in pairs], task=task)


def outcomes_of(task, *rollouts):
    grader = tasks.get(task)
    assert isinstance(grader, GradesByOutcome)
    return grader.outcomes(rollouts)
