"""generate: the one loop that writes text, for a host under a plan or any other Decoder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import torch
from tqdm.auto import tqdm

from reasonmech.errors import BindError, DataError
from reasonmech.hosts.host import Host
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.batch import Batch
from reasonmech.runtime.decode import Decode
from reasonmech.runtime.decoder import Decoder, RowInfo
from reasonmech.runtime.host_decoder import NO_LABELLERS, HostDecoder
from reasonmech.runtime.noise import row_key
from reasonmech.step import CausalLabeller

ReceiptMode = Literal["sample", "full", "none"]
GREEDY: Final = Decode()


def generate(
    decoder: Host | Decoder,
    problems: ProblemSet | Sequence[str],
    plan: Sequence[object] = (),
    *,
    decode: Decode = GREEDY,
    labellers: Mapping[str, CausalLabeller] = NO_LABELLERS,
    progress: bool = True,
    receipt: ReceiptMode = "sample",
) -> Rollouts:
    """Let a host (under a plan), or any other Decoder, answer every problem.

    Batched, left-padded and KV-cached; a row's tokens do not depend on the rows beside it. Rows that end leave the
    batch. Where the task has an environment, it sees every proposed token and may write another one.

    Args:
        problems: a task's problems, or plain prompts.
        plan: interventions on the host; empty for a Decoder that is not a host.
        labellers: causal labellers of the masks that say `labelled(name)`.
        progress: show a bar when it takes more than a second.
        receipt: how many rows the receipt replays for its KL: 16 at most, all, or no receipt at all.

    Returns:
        `decode.samples` rollouts per problem, in the order of the problems.

    Raises:
        DataError: no problem, or a prompt that encodes to no token.
        NonFiniteError: NaN logits; the problem and position are named.
        BindError: the plan cannot run on this host.
        NeverFiredError: a mask matched no token in the whole run; the rollouts are on `.result`.
    """
    tasks = problems if isinstance(problems, ProblemSet) else as_problems(problems)
    if len(plan):
        raise BindError("this build runs empty plans only", do="update reasonmech")
    runner = HostDecoder(decoder) if isinstance(decoder, Host) else decoder
    written = _write_all(runner, tasks, decode=decode, progress=progress)
    return Rollouts(written, task=tasks.task)


def as_problems(prompts: Sequence[str]) -> ProblemSet:
    """Plain prompts as problems of no task, with ids made from their text (and occurrence, where one is repeated)."""
    seen: Counter[str] = Counter()
    problems = []
    for prompt in prompts:
        digest = hashlib.sha256(prompt.encode()).hexdigest()[:12]
        problems.append(Problem(id=f"prompt/{digest}/{seen[digest]}", prompt=prompt, answer=""))
        seen[digest] += 1
    return ProblemSet(problems, task="")


def _write_all(decoder: Decoder, problems: ProblemSet, *, decode: Decode, progress: bool) -> list[Rollout]:
    if len(problems) == 0:
        raise DataError("no problem to answer", do="ask for at least one")
    prompts = {problem.id: _encode(decoder, problem) for problem in problems}
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
    with tqdm(total=len(rows), desc="rollouts", unit="row", delay=1.0, disable=not progress) as bar, torch.no_grad():
        by_length = sorted(rows, key=lambda row: row.prompt_length)  # little padding; results do not depend on it
        for start in range(0, len(rows), decode.batch_size):
            some = by_length[start : start + decode.batch_size]
            for index, rollout in Batch(decoder, some, prompts, decode=decode, problems=problems).run():
                done[index] = rollout
                bar.update()
    return [done[i] for i in range(len(rows))]


def _encode(decoder: Decoder, problem: Problem) -> list[int]:
    tokenizer, bos = decoder.tokenizer, decoder.tokenizer.bos_token
    ids = tokenizer.encode(problem.prompt, add_special_tokens=bos is None or not problem.prompt.startswith(bos))
    if not ids:
        raise DataError(
            f"the prompt of problem {problem.id!r} encodes to no token: {problem.prompt!r}",
            do="give a prompt with text that this tokenizer knows",
        )
    return list(ids)
