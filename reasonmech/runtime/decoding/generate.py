"""generate: the one loop that writes text, for a host under a plan or any other Decoder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

import torch
from tqdm.auto import tqdm

from reasonmech.errors import BindError, DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.intervention import Intervention
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.decoding.batch import Batch
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder, RowInfo
from reasonmech.runtime.decoding.host_decoder import NO_LABELLERS, HostDecoder
from reasonmech.runtime.decoding.labelling import check_labellers
from reasonmech.runtime.decoding.noise import row_key
from reasonmech.runtime.memory import halving, undone_on_failure
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.receipt.receipt import ReceiptMode, check_receipt, label_text, make_receipt
from reasonmech.runtime.receipt.tally import Tally
from reasonmech.step import CausalLabeller

GREEDY: Final = Decode()


def generate(
    decoder: Host | Decoder,
    problems: ProblemSet | Sequence[str],
    plan: Sequence[Intervention] = (),
    *,
    decode: Decode = GREEDY,
    partner: Host | None = None,
    labellers: Mapping[str, CausalLabeller] = NO_LABELLERS,
    progress: bool = True,
    receipt: ReceiptMode = "sample",
) -> Rollouts:
    """Let a host (under a plan), or any other Decoder, answer every problem.

    Batched, left-padded and KV-cached; a row's tokens do not depend on the rows beside it. Rows that end
    leave the batch. Where the task has an environment, it sees every proposed token and may write another
    one.

    Args:
        problems: a task's problems, or plain prompts.
        plan: interventions on the host; empty for a Decoder that is not a host.
        partner: the other host of a pair, run clean beside this one over the same tokens, for gates that read
            it (`above(..., role="thinking")`, `disagree()`).
        labellers: causal labellers of the masks that say `labelled(name)`.
        progress: show a bar when it takes more than a second.
        receipt: how many rows the receipt replays for its KL: 16 at most, all, or none; with "none" it holds
            counts only, and None for the KL and for the size of the change.

    Returns:
        `decode.samples` rollouts per problem, in the order of the problems.

    Raises:
        DataError: no problem, a prompt that encodes to no token, or more tokens than the model has positions.
        NonFiniteError: NaN logits; the problem and position are named.
        BindError: the plan cannot run on this host.
        NeverFiredError: a mask matched no token in the whole run; the rollouts are on `.result`.
    """
    tasks = problems if isinstance(problems, ProblemSet) else as_problems(problems)
    if not isinstance(decoder, Host):
        _refuse_plan(plan, partner)
        return Rollouts(_write_all(decoder, tasks, decode=decode, progress=progress), task=tasks.task)
    bound = bind(plan, decoder, partner=partner, generating=True)
    if not bound.plan:
        return Rollouts(
            _write_all(HostDecoder(decoder), tasks, decode=decode, progress=progress), task=tasks.task
        )
    check_labellers(bound, labellers)
    tally = Tally(bound.plan, measure=receipt != "none")
    runner = HostDecoder(decoder, bound, labellers=labellers, tally=tally)
    written = _write_all(runner, tasks, decode=decode, progress=progress, tally=tally)
    wanted = runner.wanted_labellers()
    texts = [label_text(PassRow.of(rollout), wanted) for rollout in written] if receipt != "none" else []
    again = (
        HostDecoder(decoder, bound, labellers=labellers) if bound.reads_partner or bound.reconsiders else None
    )
    made = make_receipt(bound, tally, texts, mode=receipt, batch_size=decode.batch_size, decoder=again)
    rollouts = Rollouts(written, task=tasks.task, receipt=made)
    check_receipt(bound, made, result=rollouts)
    return rollouts


def _refuse_plan(plan: Sequence[Intervention], partner: Host | None) -> None:
    if len(plan) or partner is not None:
        raise BindError(
            f"a plan of {len(plan)} interventions{'' if partner is None else ' and a partner'} for a "
            "decoder that"
            " is no host",
            allowed="a plan, and a partner, of a Host",
            do="give the plan to the decoder when you make it",
        )


def as_problems(prompts: Sequence[str]) -> ProblemSet:
    """Plain prompts as problems of no task, with ids made from their text (and occurrence, where one is
    repeated)."""
    seen: Counter[str] = Counter()
    problems = []
    for prompt in prompts:
        digest = hashlib.sha256(prompt.encode()).hexdigest()[:12]
        problems.append(Problem(id=f"prompt/{digest}/{seen[digest]}", prompt=prompt, answer=""))
        seen[digest] += 1
    return ProblemSet(problems, task="")


def _write_all(
    decoder: Decoder, problems: ProblemSet, *, decode: Decode, progress: bool, tally: Tally | None = None
) -> list[Rollout]:
    if len(problems) == 0:
        raise DataError("no problem to answer", do="ask for at least one")
    prompts = {problem.id: _encode(decoder, problem) for problem in problems}
    _check_lengths(decoder, prompts, decode)
    rows = [
        RowInfo(
            index=i * decode.samples + sample,
            problem=problem,
            sample=sample,
            key=row_key(decode.seed, problem.id, sample),
            prompt_length=len(prompts[problem.id]),
            temperature=decode.temperature,
        )
        for i, problem in enumerate(problems)
        for sample in range(decode.samples)
    ]
    done: dict[int, Rollout] = {}

    def write(some: Sequence[RowInfo]) -> list[tuple[int, Rollout]]:
        found: list[tuple[int, Rollout]] = []
        with (
            undone_on_failure(tally),
            closing(Batch(decoder, list(some), prompts, decode=decode, problems=problems).run()) as written,
        ):
            found += written
        bar.update(len(found))
        return found

    with (
        tqdm(total=len(rows), desc="rollouts", unit="row", delay=1.0, disable=not progress) as bar,
        torch.no_grad(),
    ):
        by_length = sorted(
            rows, key=lambda row: row.prompt_length
        )  # little padding; results do not depend on it
        for start in range(0, len(rows), decode.batch_size):
            some = by_length[start : start + decode.batch_size]
            done |= dict(halving(some, write, what="row")[0])
    return [done[i] for i in range(len(rows))]


def _check_lengths(decoder: Decoder, prompts: Mapping[str, Sequence[int]], decode: Decode) -> None:
    """Before anything is written: past its last position a model was never trained, and says so by nonsense
    at best."""
    problem, longest = max(prompts.items(), key=lambda item: len(item[1]))
    if len(longest) + decode.max_new_tokens > decoder.n_positions:
        raise DataError(
            f"a prompt of {len(longest)} tokens (problem {problem!r}) and "
            f"max_new_tokens={decode.max_new_tokens}",
            allowed=f"{decoder.n_positions} tokens together: the model has no more positions",
            do="lower max_new_tokens, or cut the prompt",
        )


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
