"""Comparing: what a rollout states beside the gold answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from reasonmech.door import checked
from reasonmech.rollout import Rollout
from reasonmech.tasks.base import Outcome
from reasonmech.tasks.questions.graders import Reply, graders
from reasonmech.tasks.questions.notation import is_number, is_words, plain_notation, plain_words
from reasonmech.tasks.questions.reading import Last, read_answer
from reasonmech.taxonomies.text import written_pieces

_MARK: Final = re.compile(r"\s*(?:<[^<>]*>|\[[^\[\]]*\])\s*")
LONGEST: Final = 2000  # characters of an answer that are compared as mathematics


@checked
def stated_answer(rollout: Rollout, *, last: Last = "number") -> str | None:
    """The answer that a rollout states (`read_answer`); its end-of-text mark is no part of the text.

    A last piece that is no mark belongs to the text: what was imported may have none.
    """
    pieces = written_pieces(rollout)
    ends = rollout.stop == "eos" and bool(pieces) and _is_mark(pieces[-1])
    return read_answer("".join(pieces[:-1] if ends else pieces), last=last)


def _is_mark(piece: str) -> bool:
    """Whether a last token is the end of a text: in brackets, as tokenizers have it, or nothing to read."""
    return bool(_MARK.fullmatch(piece)) or not any(character.isalnum() for character in piece)


def last_of(gold: str) -> Last:
    """What is read of a text that marks no answer, where answers are not compared as mathematics."""
    return "number" if is_number(gold) else "line"


def exact_outcomes(rollouts: Sequence[Rollout]) -> list[Outcome]:
    """Right where the text is the gold one, white space and a full stop at its ends aside."""
    return ["truncated" if rollout.stop == "length" else _exact_outcome(rollout) for rollout in rollouts]


def _exact_outcome(rollout: Rollout) -> Outcome:
    gold = rollout.problem.answer
    answer = stated_answer(rollout, last=last_of(gold))
    if answer is None:
        return "unparsed"
    return "right" if as_exact(answer) == as_exact(gold) else "wrong"


@checked
def as_exact(answer: str) -> str:
    """What an exact comparison sees of an answer."""
    text = " ".join(unicodedata.normalize("NFC", answer).split())
    return text.removesuffix(".").removesuffix("。").rstrip() or text


def math_outcomes(rollouts: Sequence[Rollout], *, seconds: float) -> list[Outcome]:
    """Right where math-verify finds the answer equal to the gold one, or both are the same words."""
    return ask_graders(rollouts, _compared, lambda reply, _: reply["outcome"], seconds=seconds)


def _compared(rollout: Rollout) -> Outcome | Reply:
    """What needs no mathematics to be told; a job for the rest."""
    gold = rollout.problem.answer
    answer = stated_answer(rollout, last="line" if is_words(gold) else "number")
    if answer is None or len(answer) > LONGEST:
        return "unparsed"
    if plain_notation(answer) == plain_notation(gold):
        return "right"
    if is_words(gold):
        return "right" if plain_words(answer) == plain_words(gold) else "wrong"
    if is_words(answer):
        return "unparsed"
    return {"do": "compare", "gold": plain_notation(gold), "answer": plain_notation(answer)}


def ask_graders(
    rollouts: Sequence[Rollout],
    read: Callable[[Rollout], Outcome | Reply],
    outcome_of: Callable[[Reply, Rollout], Outcome],
    *,
    seconds: float,
) -> list[Outcome]:
    """An outcome for every rollout: truncated where it was cut off, timeout where a grader came to no end.

    Args:
        read: of a rollout that ended: its outcome, or the job that decides it.
        outcome_of: what a grader's reply to that job means.
        seconds: of computing time for each job.
    """
    first: list[Outcome | Reply] = [
        "truncated" if rollout.stop == "length" else read(rollout) for rollout in rollouts
    ]
    jobs = [one for one in first if not isinstance(one, str)]
    replies = iter(graders().ask(jobs, seconds=seconds))
    outcomes: list[Outcome] = []
    for one, rollout in zip(first, rollouts, strict=True):
        if isinstance(one, str):
            outcomes.append(one)
        else:
            reply = next(replies)
            outcomes.append("timeout" if reply is None else outcome_of(reply, rollout))
    return outcomes


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
