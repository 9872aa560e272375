"""Prompts: what a caller calls problems as a ProblemSet, and its prompts as tokens."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from reasonmech.arguments import as_sequence
from reasonmech.errors import DataError
from reasonmech.problem import Problem, ProblemSet
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder

_PROBLEMS: Final = "a ProblemSet, problems, or prompts (texts)"


def as_problems(problems: ProblemSet | Problem | str | Sequence[Problem | str]) -> ProblemSet:
    """Problems as they are; one problem or prompt is a set of one.

    Plain prompts become problems of no task, with ids made from their text (and occurrence, where one is
    repeated). A list of problems has no task and no environment: every token is the model's own.

    Raises:
        ArgumentError: something that is neither a problem nor a text.
    """
    if isinstance(problems, ProblemSet):
        return problems
    occurrences: Counter[str] = Counter()
    listed = []
    for problem in as_sequence(problems, (Problem, str), name="problems", allowed=_PROBLEMS):
        if isinstance(problem, str):
            digest = hashlib.sha256(problem.encode()).hexdigest()[:12]
            occurrences[digest] += 1
            problem = Problem(f"prompt/{digest}/{occurrences[digest] - 1}", problem, answer="")
        listed.append(problem)
    return ProblemSet(listed, task="")


def encode_prompts(decoder: Decoder, problems: ProblemSet, decode: Decode) -> dict[str, list[int]]:
    """Tokens of every problem's prompt, by the problem's id.

    Raises:
        DataError: no problem, two prompts of one id, a prompt without tokens, or no room to answer it.
    """
    if len(problems) == 0:
        raise DataError("no problem to answer", do="ask for at least one")
    texts: dict[str, str] = {}
    for problem in problems:
        # the same problem twice gets the same noise and harms nothing; another text under its id is lost
        if texts.setdefault(problem.id, problem.prompt) != problem.prompt:
            raise DataError(
                f"2 problems are called {problem.id!r}",
                allowed="one prompt for each id, which keys the sampling noise and is the unit of intervals",
                do="give each problem an id of its own",
            )
    prompts = {problem.id: _encode(decoder, problem) for problem in problems}
    _check_lengths(decoder, prompts, decode)
    return prompts


def _encode(decoder: Decoder, problem: Problem) -> list[int]:
    bos = decoder.tokenizer.bos_token  # a BOS that the prompt has is not doubled
    has_bos = isinstance(bos, str) and problem.prompt.startswith(bos)
    ids = decoder.tokenizer.encode(problem.prompt, add_special_tokens=not has_bos)
    if not ids:
        raise DataError(
            f"the prompt of problem {problem.id!r} encodes to no token: {problem.prompt!r}",
            do="give a prompt with text that this tokenizer knows",
        )
    return list(ids)


def _check_lengths(decoder: Decoder, prompts: Mapping[str, Sequence[int]], decode: Decode) -> None:
    """Raise DataError before anything is written: past its last position a model was never trained."""
    problem, longest = max(prompts.items(), key=lambda item: len(item[1]))
    if len(longest) + decode.max_new_tokens > decoder.n_positions:
        raise DataError(
            f"a prompt of {len(longest)} tokens (problem {problem!r}) and "
            f"max_new_tokens={decode.max_new_tokens}",
            allowed=f"{decoder.n_positions} tokens together: the model has no more positions",
            do="lower max_new_tokens, or cut the prompt",
        )
