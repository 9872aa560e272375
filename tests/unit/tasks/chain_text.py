"""Chain rollouts from hand-written text, for tests."""

from __future__ import annotations

from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks.chain import make_problem, word_tokenizer
from reasonmech.tasks.chain.parser import parse

TOKENIZER = word_tokenizer()
PROBLEM = make_problem(8, [("+", 4), ("*", 3), ("-", 1)], id="hand")  # 2, 6, 5


def rollout(text: str, *, problem: Problem = PROBLEM, stop: str | None = None) -> Rollout:
    """A rollout of `text`; words in brackets were written by the environment."""
    words = text.split()
    bare_words = [word.strip("[]") for word in words]
    ids = tuple(TOKENIZER.convert_tokens_to_ids(bare_words))
    ended = "eos" if bare_words[-1] == "<eos>" else "length"
    return Rollout(
        problem=problem,
        sample=0,
        prompt_ids=tuple(TOKENIZER.encode(problem.prompt)),
        ids=ids,
        by_environment=tuple(word.startswith("[") for word in words),
        steered=(False,) * len(ids),
        stop=stop or ended,  # type: ignore[arg-type]
        text=" ".join(bare_words),
    )


def trace(text: str) -> Trace:
    return parse(rollout(text))


CAREFUL = (
    "next one + 4 : 8 + 4 = [5] . check : 8 + 4 = 2 [,] [had] [5] [.] wait , redo : 8 + 4 = 2 . "
    "next two * 3 , we get 2 * 3 = 6 . check again , 2 * 3 = 6 [,] [had] [6] [.] "
    "next three - 1 : 6 - 1 = 5 . so the answer is 5 . <eos>"
)
CARELESS = (
    "next one + 4 : 8 + 4 = [5] . next two * 3 : 5 * 3 = 5 . hmm , maybe . next three - 1 : 5 - 1 = 4 . "
    "so it is 4 . <eos>"
)
GUESS = "so the answer is 5 . <eos>"
