"""Comparing: what a rollout states beside the gold answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from reasonmech.door import checked
from reasonmech.rollout import Rollout
from reasonmech.tasks.base import Outcome
from reasonmech.tasks.questions.graders import graders
from reasonmech.tasks.questions.notation import is_number, is_words, plain_notation, plain_words
from reasonmech.tasks.questions.reading import Last, read_answer
from reasonmech.taxonomies.text import written_pieces

LONGEST: Final = 2000  # characters of an answer that are compared as mathematics


@checked
def stated_answer(rollout: Rollout, *, last: Last = "number") -> str | None:
    """The answer that a rollout states (`read_answer`); its end-of-text mark is no part of the text."""
    pieces = written_pieces(rollout)
    return read_answer("".join(pieces[:-1] if rollout.stop == "eos" else pieces), last=last)


def last_of(gold: str) -> Last:
    """What is read of a text that marks no answer, where answers are not compared as mathematics."""
    return "number" if is_number(gold) else "line"


def exact_outcomes(rollouts: Sequence[Rollout]) -> list[Outcome]:
    """Right where the text is the gold one, white space and a full stop at its ends aside."""
    outcomes: list[Outcome] = []
    for rollout in rollouts:
        gold = rollout.problem.answer
        answer = stated_answer(rollout, last=last_of(gold))
        if rollout.stop == "length":
            outcomes.append("truncated")
        elif answer is None:
            outcomes.append("unparsed")
        else:
            outcomes.append("right" if as_exact(answer) == as_exact(gold) else "wrong")
    return outcomes


@checked
def as_exact(answer: str) -> str:
    """What an exact comparison sees of an answer."""
    text = " ".join(unicodedata.normalize("NFC", answer).split())
    return text.removesuffix(".").removesuffix("。").rstrip() or text


def math_outcomes(rollouts: Sequence[Rollout], *, seconds: float) -> list[Outcome]:
    """Right where math-verify finds the answer equal to the gold one, or both are the same words."""
    outcomes: list[Outcome] = []
    jobs: dict[int, dict[str, str]] = {}
    for i, rollout in enumerate(rollouts):
        words = is_words(rollout.problem.answer)
        answer = stated_answer(rollout, last="line" if words else "number")
        decided = "truncated" if rollout.stop == "length" else _without_maths(rollout.problem.answer, answer)
        outcomes.append(decided or "timeout")
        if decided is None and answer is not None:
            gold = plain_notation(rollout.problem.answer)
            jobs[i] = {"do": "compare", "gold": gold, "answer": plain_notation(answer)}
    replies = graders().ask(list(jobs.values()), seconds=seconds)
    for i, reply in zip(jobs, replies, strict=True):
        outcomes[i] = "timeout" if reply is None else reply["outcome"]
    return outcomes


def _without_maths(gold: str, answer: str | None) -> Outcome | None:
    """What needs no mathematics to be told; None for the rest."""
    if answer is None or len(answer) > LONGEST:
        return "unparsed"
    if plain_notation(answer) == plain_notation(gold):
        return "right"
    if is_words(gold):
        return "right" if plain_words(answer) == plain_words(gold) else "wrong"
    return "unparsed" if is_words(answer) else None


def unparsable(golds: Iterable[str], *, seconds: float) -> list[bool]:
    """Which gold answers are no mathematics, words among them."""
    listed = list(golds)
    unknown = [gold for gold in listed if not (is_number(gold) or is_words(gold) or not gold.strip())]
    jobs = [{"do": "parsable", "gold": plain_notation(gold)} for gold in unknown]
    replies = graders().ask(jobs, seconds=seconds)
    known = {
        gold: reply is not None and reply["parsable"] for gold, reply in zip(unknown, replies, strict=True)
    }
    return [not (is_number(gold) or known.get(gold, False)) for gold in listed]
