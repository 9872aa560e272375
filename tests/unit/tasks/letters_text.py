"""Letters rollouts from hand-written text, in any tokenizer, for tests."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.characters import token_pieces
from reasonmech.hosts.vocabulary import decode
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.tasks.letters import LettersEnvironment, make_problem

PROBLEM = make_problem(4, [("+", 3), ("-", 2)], id="hand")  # b is 7, c is 5
CAREFUL = (
    " Now b is 4 + 3 = 2. Check: 4 + 3 = 7, I had 2. Wait, b is 4 + 3 = 7."
    " Now c is 7 - 2 = 5. Check: 7 - 2 = 5, I had 5. So the answer is 5."
)
CARELESS = " Now b is 4 + 3 = 8. Now c is 8 - 2 = 6. So the answer is 6."
GUESS = " So the answer is 5."


def written(
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    world: LettersEnvironment | None = None,
    problem: Problem = PROBLEM,
    sample: int = 0,
    ended: bool = True,
) -> Rollout:
    """What is written where a model wants to write `text` in a world (None: without one)."""
    prompt = tokenizer(problem.prompt)["input_ids"]
    whole = tokenizer(problem.prompt + text)["input_ids"]
    assert whole[: len(prompt)] == prompt, "the answer begins with a token of its own"
    ids = [*whole[len(prompt) :], *([tokenizer.eos_token_id] if ended else [])]
    by = [False] * len(ids)
    if world is not None:
        scribe = world.scribe(problem, sample, tokenizer)
        answers = [scribe.write(token) for token in ids]
        ids, by = [a.token for a in answers], [a.by_environment for a in answers]
    return Rollout(
        problem=problem,
        sample=sample,
        prompt_ids=tuple(prompt),
        ids=tuple(ids),
        by_environment=tuple(by),
        steered=(False,) * len(ids),
        stop="eos" if ended else "length",
        text=decode(tokenizer, ids),
        pieces=tuple(token_pieces(tokenizer, ids)),
    )
