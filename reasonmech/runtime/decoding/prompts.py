"""Prompts: what a caller calls problems as a ProblemSet, and its prompts as tokens."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch

from reasonmech.arguments import as_sequence, check_type
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.hosts.vocabulary import check_characters, encode_texts
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder, RowInfo
from reasonmech.shapes import Mask, Tokens

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
            digest = hashlib.sha256(check_characters(problem).encode()).hexdigest()[:12]
            occurrences[digest] += 1
            problem = Problem(f"prompt/{digest}/{occurrences[digest] - 1}", problem, answer="")
        listed.append(problem)
    return ProblemSet(listed, task="")


def encode_prompts(decoder: Decoder, problems: ProblemSet, decode: Decode) -> dict[str, list[int]]:
    """Tokens of every problem's prompt, by the problem's id, as the decoder's first model reads it.

    Raises:
        DataError: no problem, one id twice; a prompt without tokens, or no room to answer it, in any
            model that reads it.
    """
    if len(problems) == 0:
        raise DataError("no problem to answer", do="ask for at least one")
    _check_ids(problems)
    read = [_encode(host, problems) for host in decoder.readers]
    for host, prompts in zip(decoder.readers, read, strict=True):
        check_lengths(host, prompts, decode)
    return read[0]


def draw_starts(host: Host, problems: ProblemSet, prompts: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Position from which the sampling noise of each problem is counted: the length of the task's own prompt,
    whatever this host's prompt puts around it. So answers behind other prompts share their noise."""
    if host.prompt.is_plain:
        return {name: len(ids) for name, ids in prompts.items()}
    of_id = {problem.id: problem.prompt for problem in problems}
    plain = encode_texts(host.tokenizer, of_id.values())
    return {name: len(ids) for name, ids in zip(of_id, plain, strict=True)}


def _check_ids(problems: ProblemSet) -> None:
    """Raise DataError where an id stands twice: it keys the sampling noise and is the unit of intervals."""
    of_id: dict[str, list[Problem]] = {}
    for problem in problems:
        of_id.setdefault(problem.id, []).append(problem)
    for name, those in of_id.items():
        if any(one != those[0] for one in those):
            raise DataError(
                f"{len(those)} problems are called {name!r}",
                allowed="one prompt and answer for each id, which keys the sampling noise and is the unit of "
                "intervals",
                do="give each problem an id of its own",
            )
        if len(those) > problems.repeats:
            raise DataError(
                f"problem {name!r} stands {len(those)} times among the problems",
                allowed="each once: its id keys the sampling noise, so its answers would all be the same, "
                "and is the unit of intervals, which would count it several times",
                do=f"give it once, and Decode(samples={len(those)}, temperature=1.0) for several answers",
            )


def check_same_prompts(host: Host, partner: Host, problems: ProblemSet) -> None:
    """Raise DataError where a prompt is other tokens to a partner, whose readings stand token by token."""
    listed = list(problems)
    read = zip(host.prompt_ids(listed), partner.prompt_ids(listed), strict=True)
    for problem, (ours, theirs) in zip(problems, read, strict=True):
        if ours != theirs:
            raise DataError(
                f"the prompt of problem {problem.id!r} is {len(ours)} tokens to {host.name!r} "
                f"({ours[:8]}...), and others, {len(theirs)}, to {partner.name!r} ({theirs[:8]}...)",
                allowed="prompts that both encode alike: a gate reads the partner's stream token by token",
                do="leave out of the prompt what only one of the two tokenizers has a token for",
            )


def read_by(
    host: Host, prompts: Tokens, mask: Mask, rows: Sequence[RowInfo]
) -> tuple[Tokens, Mask, list[RowInfo]]:
    """A batch of prompts, left-padded, as another model reads it: each problem behind the prompt that this
    host has for it, in its own tokens.

    Siblings may give an id another name (R1-Distill calls `<think>` what Qwen2.5 calls `<|box_start|>`), so
    that one text is other tokens to each. What is generated are ids that both share.
    """
    here = [ids[real].tolist() for ids, real in zip(prompts, mask, strict=True)]
    read = host.prompt_ids([row.problem for row in rows])
    there = [new if row.problem.prompt else ids for row, ids, new in zip(rows, here, read, strict=True)]
    if here == there:
        return prompts, mask, list(rows)
    ids, real = left_padded(there, host.pad_id)
    return ids, real, [row._replace(prompt_length=len(t)) for row, t in zip(rows, there, strict=True)]


def as_read_by(host: Host, rollouts: Sequence[Rollout]) -> Rollouts:
    """Rollouts of a sibling as this model reads them: each problem behind its own prompt, in its own tokens,
    the answers token by token as they are.

    Where both encode a prompt alike, which is the rule, they are the same rollouts. Positions of labels
    follow the prompts: make labels from what this returns.

    Raises:
        ArgumentError: no host, or no rollouts. DataError: a token that the model does not have.
    """
    check_type(host, Host, name="host", allowed="a host, such as pair.base")
    listed = as_sequence(rollouts, Rollout, name="rollouts", allowed="rollouts: rm.generate(...)")
    prompts = host.prompt_ids([rollout.problem for rollout in listed])
    read = [_as_read_by(host, one, ids) for one, ids in zip(listed, prompts, strict=True)]
    if isinstance(rollouts, Rollouts):
        return Rollouts(read, task=rollouts.task, receipt=rollouts.receipt, writer=rollouts.writer)
    return Rollouts(read)


def _as_read_by(host: Host, rollout: Rollout, prompt: Sequence[int]) -> Rollout:
    host.check_ids(rollout.ids, f"the answer to problem {rollout.problem.id!r}")
    ids = tuple(prompt) if rollout.problem.prompt else rollout.prompt_ids
    return rollout if ids == rollout.prompt_ids else replace(rollout, prompt_ids=ids)


def left_padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tokens, Mask]:
    """Rows of ids side by side [row, longest], filled up in front, and where they are real."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    return ids, torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows])


def _encode(host: Host, problems: ProblemSet) -> dict[str, list[int]]:
    """Tokens of every prompt, by the problem's id; one that stands several times is read once."""
    of_id = {problem.id: problem for problem in problems}
    read = dict(zip(of_id, host.prompt_ids(list(of_id.values())), strict=True))
    for name, ids in read.items():
        if not ids:
            raise DataError(
                f"the prompt of problem {name!r} encodes to no token: {of_id[name].prompt!r}",
                do="give a prompt with text that this tokenizer knows",
            )
    return read


def check_lengths(host: Host, prompts: Mapping[str, Sequence[int]], decode: Decode) -> None:
    """Raise DataError before anything is written: past its last position a model was never trained."""
    problem, longest = max(prompts.items(), key=lambda item: len(item[1]))
    if len(longest) + decode.max_new_tokens > host.n_positions:
        raise DataError(
            f"a prompt of {len(longest)} tokens (problem {problem!r}) and "
            f"max_new_tokens={decode.max_new_tokens}",
            allowed=f"{host.n_positions} tokens together: {host.name!r} has no more positions"
            + host.length_note,
            do="lower max_new_tokens, or cut the prompt",
        )
