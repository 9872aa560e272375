"""generate: the one loop that writes text, for a host under a plan or any other Decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

import torch
from tqdm.auto import tqdm

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import BindError, DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import as_plan
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.recorder import Recorder
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.decoding.batch import DecodingBatch
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder, NamedWriter, RowInfo, writer_of
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.noise import row_key
from reasonmech.runtime.decoding.prompts import (
    as_problems,
    check_lengths,
    check_same_prompts,
    draw_starts,
    encode_prompts,
)
from reasonmech.runtime.decoding.stop_strings import check_stop_strings
from reasonmech.runtime.memory import Needs, halving, undone_on_failure
from reasonmech.runtime.pass_bytes import pass_bytes
from reasonmech.runtime.pass_rows import PassRow, check_row_count
from reasonmech.runtime.receipt.recorder import ReceiptMode, ReceiptRecorder

GREEDY: Final = Decode()


@checked
def generate(
    host: Host | Decoder,
    problems: ProblemSet | Problem | str | Sequence[Problem | str],
    plan: Intervention | Sequence[Intervention] = (),
    *,
    decode: Decode = GREEDY,
    receipt: ReceiptMode = "sample",
    progress: bool = True,
) -> Rollouts:
    """Let a host (under a plan), or any other Decoder, answer every problem.

    Batched, left-padded and KV-cached; in float32 a row's tokens do not depend on the rows beside it (in
    bfloat16 and float16 they may, where two tokens are nearly as likely; see `Decode`). Rows that end leave
    the batch. Where the task has an environment, it sees every proposed token and may write another
    one.

    Args:
        host: a model; or another Decoder, such as a hybrid, or `HostDecoder.of(host, plan, partner=,
            labellers=)` for a plan that reads the other model of a pair, or labels.
        problems: a task's problems, one or several problems, or plain prompts.
        plan: interventions on the host; empty for a Decoder, which has its own.
        receipt: how many rows the receipt replays for its KL: a quarter, 16 at most; all; or none; with
            "none" it holds counts only, and None for the KL and for the size of the change.
        progress: show a bar when it takes more than a second.

    Returns:
        `decode.samples` rollouts per problem, in the order of the problems.

    Raises:
        DataError: no problem, one problem or id twice, a prompt that encodes to no token, or more tokens than
            the model has positions.
        NonFiniteError: NaN logits; the problem and position are named.
        BindError: the plan cannot run on this host.
        UnknownNameError: a stop string that the tokenizer never writes.
        DataError: tokens are to be left out of a draw by a Decoder that is no host.
        NoChangeError: an intervention changed nothing in the whole run; the rollouts are on `.result`.
        ArgumentError: an argument of another type.
    """
    check_type(
        host, (Host, Decoder), name="host", allowed="a Host or a Decoder", do="generate(host, problems, plan)"
    )
    check_type(decode, Decode, name="decode", allowed="a Decode", do="decode=Decode(max_new_tokens=...)")
    tasks = as_problems(problems)
    decoder = HostDecoder.of(host, plan) if isinstance(host, Host) else _without_plan(host, as_plan(plan))
    if not isinstance(decoder, HostDecoder):
        together = _write_all(decoder, tasks, decode=decode, progress=progress)
        writer = decoder.writer if isinstance(decoder, NamedWriter) else ""
        return Rollouts(together, task=tasks.task, writer=writer)
    if decoder.bound.partner is not None and decoder.bound.partner_sites:
        check_same_prompts(decoder.host, decoder.bound.partner, tasks)
    recorder = ReceiptRecorder(decoder.bound, receipt, batch_size=decode.batch_size)
    recorded = replace(decoder, recorder=recorder, compiled=decode.compile)
    written = _write_all(recorded, tasks, decode=decode, progress=progress, recorder=recorder)
    rows = [PassRow.of(rollout) for rollout in written]
    return recorder.finish(rows, lambda receipt: Rollouts(written, task=tasks.task, receipt=receipt))


@checked
def continue_ids(
    host: Host, prefixes: Sequence[Sequence[int]], *, decode: Decode, progress: bool = True
) -> Rollouts:
    """Let a host write on behind texts that are given as token ids: they stay what they are.

    Returns:
        `decode.samples` rollouts per text, in their order; what they wrote is `ids`, the text `prompt_ids`.

    Raises:
        DataError: no text, an empty one, one longer than the model has positions for, an unknown token.
    """
    if not prefixes or not all(prefixes):
        raise DataError(
            f"{len(prefixes)} texts to write on, {sum(not p for p in prefixes)} of them empty",
            allowed="texts of at least one token",
            do="give the ids of prompt and answer so far",
        )
    prompts = {f"continued/{i}": [int(token) for token in ids] for i, ids in enumerate(prefixes)}
    for name, ids in prompts.items():
        host.check_ids(ids, name)
    check_lengths(host, prompts, decode)
    problems = ProblemSet([Problem(name, "", "") for name in prompts], task="")
    decoder = replace(HostDecoder.of(host, ()), compiled=decode.compile)
    return Rollouts(_write_all(decoder, problems, decode=decode, progress=progress, prompts=prompts))


def _without_plan(decoder: Decoder, plan: Sequence[Intervention]) -> Decoder:
    if len(plan):
        raise BindError(
            f"a plan of {len(plan)} interventions for a decoder that is no host",
            allowed="a plan of a Host",
            do="give the plan to the decoder when you make it",
        )
    return decoder


def _check_choice(decoder: Decoder, decode: Decode) -> None:
    """Raise DataError where a decoder of several models, or of other samplers, is to leave tokens out: what
    it asks itself (which token each model would write) is asked of whole distributions."""
    if not isinstance(decoder, HostDecoder) and (decode.truncation.cuts or decode.repetition_penalty != 1):
        raise DataError(
            f"top_k, top_p, min_p or repetition_penalty for {writer_of(decoder)}",
            allowed="a host under a plan; other decoders draw from the whole distribution at a temperature",
            do="leave them out of decode",
        )
    if not isinstance(decoder, HostDecoder) and decode.compile:
        raise DataError(
            f"compiled steps for {writer_of(decoder)}",
            allowed="a host under a plan; other decoders go back in what their models have read",
            do="leave compile out of decode",
        )


def _check_reach(plan: Sequence[Intervention], rows: Sequence[RowInfo], decode: Decode) -> None:
    """Raise DataError where a mask names rows that are not there, or a position that no row can come to."""
    for where in (intervention.where for intervention in plan):
        check_row_count(where, len(rows))
        for row in rows:
            longest = row.prompt_length + decode.max_new_tokens
            if (needed := where.reach(row.index)) > longest:
                raise DataError(
                    f"{where} names position {needed - 1}; row {row.index} ({row.problem.id}) has at most "
                    f"{longest} tokens, {row.prompt_length} of its prompt and {decode.max_new_tokens} "
                    "new ones",
                    allowed=f"0 .. {longest - 1}",
                    do="positions are absolute, prompt included; at(per_row=...) gives each row its own; or "
                    "raise max_new_tokens",
                )


def _write_all(
    decoder: Decoder,
    problems: ProblemSet,
    *,
    decode: Decode,
    progress: bool,
    recorder: Recorder | None = None,
    prompts: Mapping[str, Sequence[int]] | None = None,
) -> list[Rollout]:
    """Rollouts in the order of the problems; `prompts`: ids by problem, None: those of its prompt."""
    check_stop_strings(decode.stop_strings, decoder.tokenizer)
    _check_choice(decoder, decode)
    if prompts is None:
        prompts = encode_prompts(decoder, problems, decode)
        starts = draw_starts(decoder.readers[0], problems, prompts)
    else:
        starts = {name: len(ids) for name, ids in prompts.items()}
    rows = [
        RowInfo(
            index=i * decode.samples + sample,
            problem=problem,
            sample=sample,
            key=row_key(decode.seed, problem.id, sample),
            prompt_length=len(prompts[problem.id]),
            draw_start=starts[problem.id],
            temperature=decode.temperature,
        )
        for i, problem in enumerate(problems)
        for sample in range(decode.samples)
    ]

    if isinstance(decoder, HostDecoder):
        _check_reach(decoder.bound.plan, rows, decode)

    def write(batch: Sequence[RowInfo]) -> list[tuple[int, Rollout]]:
        rounds = DecodingBatch(decoder, batch, prompts, decode=decode, problems=problems).run()
        with undone_on_failure(recorder), closing(rounds):
            rollouts = list(rounds)
        bar.update(len(rollouts))
        return rollouts

    def n_bytes(batch: Sequence[RowInfo]) -> int:
        width = batch[-1].prompt_length
        return sum(
            pass_bytes(host, len(batch), width, cached=width + decode.max_new_tokens)
            for host in decoder.readers
        )

    do = "lower max_new_tokens, give shorter prompts, or load the model in a narrower dtype"
    needs = Needs(n_bytes, decoder.device, do=do)
    by_row: dict[int, Rollout] = {}
    by_length = sorted(rows, key=lambda row: row.prompt_length)  # little padding; results do not depend on it
    with (
        tqdm(total=len(rows), desc="rollouts", unit="row", delay=1.0, disable=not progress) as bar,
        torch.no_grad(),
    ):
        for start in range(0, len(rows), decode.batch_size):
            batch = by_length[start : start + decode.batch_size]
            by_row |= dict(halving(batch, write, what="row", needs=needs)[0])
    return [by_row[i] for i in range(len(rows))]
