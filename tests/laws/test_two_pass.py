"""Gates that read the other host of a pair, or a position's clean logits, against a loop that recomputes
everything."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from reasonmech.errors import BindError, MismatchError, NoChangeError
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Vectors
from reasonmech.interventions import (
    Features,
    Gate,
    Intervention,
    Whole,
    above,
    always,
    as_hooks,
    below,
    bind,
    clamp,
    disagree,
    generated,
    inside,
    patch,
    prompt,
    ramp,
    scale,
    steer,
    uncertain_above,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.forward import forward
from reasonmech.step import Step
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import tiny_coder, tiny_host, tiny_pair
from tests.hosts import post_norm_host
from tests.laws.lockstep import lockstep
from tests.laws.plans import DECODE, PROMPTS, direction, ids_of
from tests.laws.random_plans import interventions, texts

PAIR: ModelPair = tiny_pair(change=0.3)
CODER = tiny_coder(PAIR.thinking, "resid_post.2")
FEW = 8  # tokens, where the reference reads a text again for every one of them


def plans() -> dict[str, list[Intervention]]:
    v, w = direction(1), direction(2, "resid_post.3")
    of_thinking = Features(CODER, (1, 2, 3, 4))
    return {
        "disagree": [steer(v, 20.0, when=disagree())],
        "disagree_after": [steer(v, 20.0, when=disagree(), where=generated(2))],
        "disagree_first": [steer(v, 40.0, when=disagree(), where=prompt(start=-1))],
        "uncertain": [steer(v, 6.0, when=uncertain_above(1.0))],
        "two_gates": [
            steer(v, 5.0, when=disagree()),
            steer(direction(3, "z.1.2"), 9.0, when=uncertain_above(1.0)),
        ],
        "beside_others": [
            steer(direction(5), 3.0),
            clamp(v, 8.0, when=disagree()),
            scale(direction(4, "resid_mid.2"), -2.0, when=above(direction(5, "resid_post.0"), 0.0)),
        ],
        "thinking": [steer(v, 6.0, when=above(direction(4, "resid_post.3"), 0.5, role="thinking"))],
        "thinking_below": [
            steer(w, 9.0, when=below(direction(4, "z.2.1"), 0.0, role="thinking"), where=generated())
        ],
        "thinking_features": [steer(v, 9.0, when=above(of_thinking, 0.1, role="thinking"))],
        "thinking_middle": [steer(v, 5.0, when=above(direction(6, "resid_mid.3"), 0.0, role="thinking"))],
        "both": [
            steer(v, 9.0, when=above(direction(4, "resid_pre.0"), 0.0, role="thinking")),
            steer(w, 9.0, when=disagree(), where=~inside("<think>", "</think>")),
        ],
        "patch": [
            patch(
                v,
                torch.randn(5, 40, 32, generator=torch.Generator().manual_seed(7)),
                when=uncertain_above(1.0),
            )
        ],
    }


PLANS = plans()


def write(
    plan: list[Intervention], *, pair: ModelPair = PAIR, prompts: list[str] = PROMPTS, **decode: object
) -> Rollouts:
    return generate(
        HostDecoder.of(pair.base, plan, partner=pair.thinking),
        prompts,
        decode=DECODE.model_copy(update=decode),
        receipt="none",
        progress=False,
    )


@pytest.mark.parametrize("name", PLANS)
def test_cached_and_batched_equals_a_loop_that_recomputes_everything(name: str) -> None:
    plan = PLANS[name]
    batch = write(plan, max_new_tokens=FEW)
    assert ids_of(batch) != ids_of(generate(PAIR.base, PROMPTS, decode=Decode(max_new_tokens=FEW)))
    if (
        name == "patch"
    ):  # its source is aligned with the rows of the run, those of the reference are always row 0
        assert ids_of(batch) == ids_of(write(plan, batch_size=2, max_new_tokens=FEW))
        return
    fired = [0] * len(plan)
    for rollout, text in zip(batch, PROMPTS, strict=True):
        ids, opened = lockstep(PAIR.base, text, plan, FEW, partner=PAIR.thinking)
        assert list(rollout.ids) == ids
        for i, positions in enumerate(opened):
            fired[i] += len(positions)
    for i, intervention in enumerate(plan):
        line = batch.receipt.lines[i]
        if str(intervention.where) == "everywhere()" and intervention.when.kind in (
            "disagree",
            "uncertain_above",
        ):
            assert line.n_gated == fired[i] and line.n_masked == sum(len(r.ids) for r in batch)
            assert 0 < line.n_gated < line.n_masked


@pytest.mark.parametrize("name", PLANS)
def test_a_row_does_not_depend_on_its_batch_nor_on_rows_that_leave(name: str) -> None:
    ends = tuple(range(6, 16))
    settings = {"temperature": 1.0, "stop_tokens": ends, "max_new_tokens": 8}
    plan = [intervention.allow_no_change() for intervention in PLANS[name]]  # some stay shut
    whole, alone = (write(plan, **settings, batch_size=size) for size in (64, 1))
    assert all(line.n_masked for line in whole.receipt.lines)
    assert len({len(r.ids) for r in whole}) > 1
    assert [(r.ids, r.steered) for r in whole] == [(r.ids, r.steered) for r in alone]
    assert [line.n_gated for line in whole.receipt.lines] == [line.n_gated for line in alone.receipt.lines]


@pytest.mark.parametrize("arch", ["gpt2", "gpt_neox", "qwen3", "gemma", "qwen2"])
def test_other_architectures_too(arch: str) -> None:
    pair = tiny_pair(arch, change=0.3)
    plan = [
        steer(direction(1), 6.0, when=disagree()),
        steer(direction(2), 4.0, when=above(direction(4, "resid_post.2"), 0.0, role="thinking")),
    ]
    batch = write(plan, pair=pair, max_new_tokens=FEW)
    assert ids_of(batch) != ids_of(generate(pair.base, PROMPTS, decode=Decode(max_new_tokens=FEW)))
    expected = [lockstep(pair.base, p, plan, FEW, partner=pair.thinking)[0] for p in PROMPTS]
    assert [list(r.ids) for r in batch] == expected


WHENS = [
    disagree(),
    uncertain_above(1.0),
    above(direction(4, "resid_post.3"), 0.3, role="thinking"),
    always(),
]


@given(
    st.lists(interventions("llama"), min_size=1, max_size=3),
    st.lists(st.sampled_from(WHENS), min_size=3),
    texts(3),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_every_verb_axis_and_mask_goes_with_gates_of_two_models(
    drawn: list[Intervention], whens: list[Gate], prompts: list[str]
) -> None:
    plan = [replace(one, when=when) for one, when in zip(drawn, whens, strict=False) if one.verb != "patch"]
    try:
        batch = write(plan, prompts=prompts, max_new_tokens=4)
    except NoChangeError as silent:  # the texts hold nothing that some mask names: compared all the same
        batch = silent.result
    for rollout, prompt_ in zip(batch, prompts, strict=True):
        assert list(rollout.ids) == lockstep(PAIR.base, prompt_, plan, 4, partner=PAIR.thinking)[0]


def hybrid(vector: torch.Tensor, site: str) -> Rollouts:
    kinds = OneWordKinds({"one": "w1"}, PAIR.base.tokenizer)
    every = torch.ones(len(kinds.names), dtype=torch.bool)
    executor = Vectors(PAIR.base, site, table=vector.expand(len(kinds.names), -1), trained=every)
    decoder = Hybrid(PAIR, gate=DisagreementGate(), selector=OfThinking(), executor=executor, kinds=kinds)
    return generate(decoder, PROMPTS, decode=DECODE, progress=False)


def test_at_the_last_site_the_gate_is_the_hybrids() -> None:
    """Nothing above the last stream is kept for later positions, so a steered past and a clean one are the
    same."""
    vector = 20 * direction(1).vector
    theirs = hybrid(vector, "resid_post.3")
    ours = write([steer(Whole("resid_post.3"), vector, when=disagree())])
    assert ids_of(ours) != ids_of(generate(PAIR.base, PROMPTS, decode=DECODE))
    assert [(r.ids, r.steered) for r in ours] == [(r.ids, r.steered) for r in theirs]
    assert ours.receipt.lines[0].n_gated == sum(sum(r.steered) for r in theirs) > 0


def test_below_the_last_site_the_first_steered_token_is_the_hybrids() -> None:
    vector = 20 * direction(1).vector
    theirs, ours = (
        hybrid(vector, "resid_post.1"),
        write([steer(Whole("resid_post.1"), vector, when=disagree())]),
    )
    firsts = 0
    for a, b in zip(ours, theirs, strict=True):
        until = min((r.steered.index(True) + 1 for r in (a, b) if True in r.steered), default=len(a.ids))
        assert a.ids[:until] == b.ids[:until] and a.steered[:until] == b.steered[:until]
        firsts += until < len(a.ids)
    assert firsts and ids_of(ours) != ids_of(theirs)  # a plan's edits stay in the past, a hybrid's do not


def test_a_gate_that_never_opens_leaves_every_bit_and_one_that_always_does_is_no_gate() -> None:
    v, clean = direction(1), generate(PAIR.base, PROMPTS, decode=DECODE)
    shut = write([steer(v, 20.0, when=uncertain_above(10.0)).allow_no_change()])
    assert ids_of(shut) == ids_of(clean) and shut.receipt.lines[0].n_gated == 0
    same = tiny_pair(change=0.0)
    agreeing = write([steer(v, 20.0, when=disagree()).allow_no_change()], pair=same)
    assert ids_of(agreeing) == ids_of(clean) and not any(any(r.steered) for r in agreeing)
    open_ = write([steer(v, 20.0, when=uncertain_above(0.0))])
    plain = write([steer(v, 20.0, where=prompt(start=-1) | generated())])
    assert ids_of(open_) == ids_of(plain) != ids_of(clean)
    assert (
        open_.receipt.lines == plain.receipt.lines
        or open_.receipt.lines[0].n_gated == plain.receipt.lines[0].n_gated
    )


def test_a_ramp_of_the_partner_weighs_the_edit() -> None:
    """A partner whose stream is zero everywhere has every coordinate at 0: half way up the ramp."""
    pair = tiny_pair(change=0.0)
    with torch.no_grad():
        for parameter in pair.thinking.model.parameters():
            parameter.zero_()
    zero = ramp(direction(2, "resid_post.3"), -1.0, 1.0, role="thinking")
    half = write([steer(direction(1), 16.0, when=zero)], pair=pair)
    less, whole = (write([steer(direction(1), amount)], pair=pair) for amount in (8.0, 16.0))
    assert ids_of(half) == ids_of(less) != ids_of(whole)


def test_the_receipt_replays_by_decoding() -> None:
    v = direction(1)
    for plan, same in (
        ([steer(v, 6.0, when=uncertain_above(0.0))], [steer(v, 6.0, where=prompt(start=-1) | generated())]),
        (PLANS["thinking"], None),
    ):
        run = generate(
            HostDecoder.of(PAIR.base, plan, partner=PAIR.thinking),
            PROMPTS,
            decode=DECODE,
            receipt="full",
            progress=False,
        )
        assert run.receipt.kl > 0.01 and run.receipt.n_kl_rows == len(PROMPTS)
        assert run.receipt.n_kl_tokens == sum(len(r.ids) for r in run)
        if same is not None:
            plain = generate(PAIR.base, PROMPTS, same, decode=DECODE, receipt="full", progress=False)
            assert run.receipt.kl == pytest.approx(plain.receipt.kl, rel=1e-4)
    shut = generate(
        PAIR.base,
        PROMPTS,
        [steer(v, 6.0, when=uncertain_above(9.0)).allow_no_change()],
        decode=DECODE,
        progress=False,
    )
    assert shut.receipt.kl == pytest.approx(0, abs=1e-6)


def test_what_a_run_has_not_is_refused_when_the_plan_is_bound() -> None:
    v = direction(1)
    reading = steer(v, 1.0, when=above(direction(2, "resid_post.3"), 0.0, role="thinking"))
    for plan in ([reading], [steer(v, 1.0, when=disagree())]):
        with pytest.raises(BindError, match=r"partner=pair\.thinking"):
            generate(PAIR.base, PROMPTS, plan, decode=DECODE)
    two_pass = [steer(v, 1.0, when=uncertain_above(0.1))]
    for plan in ([reading], two_pass):
        for call in (
            lambda plan=plan: forward(PAIR.base, PROMPTS, plan),
            lambda plan=plan: as_hooks(plan, PAIR.base, Step.of(torch.tensor([[6, 7]]))),
            lambda plan=plan: bind(plan, PAIR.base, partner=PAIR.thinking),
        ):
            with pytest.raises(BindError, match="only a run that decodes has"):
                call()
    own_later = steer(v, 1.0, when=above(direction(2, "resid_post.3"), 0.0))
    with pytest.raises(BindError, match="comes later"):
        bind([own_later], PAIR.base, partner=PAIR.thinking, generating=True)
    other = steer(v, 1.0, when=above(v, 0.0, role="base"))
    with pytest.raises(BindError, match="one role"):
        bind([reading, other], PAIR.base, partner=PAIR.thinking, generating=True)
    with pytest.raises(BindError, match="role='other'"):
        above(v, 0.0, role="other")
    with pytest.raises(BindError, match=">= 0"):
        uncertain_above(-1.0)
    with pytest.raises(MismatchError, match="differ: logits"):
        HostDecoder.of(PAIR.base, [reading], partner=tiny_host(vocab_size=70))
    with pytest.raises(MismatchError, match="trained on weights"):
        bind([steer(v, 1.0, when=above(Features(CODER, (1,)), 0.0))], PAIR.base)
    foreign = steer(v, 1.0, when=above(Features(tiny_coder(PAIR.base), (1,)), 0.0, role="thinking"))
    with pytest.raises(MismatchError, match="trained on weights"):
        bind([foreign], PAIR.base, partner=PAIR.thinking, generating=True)


def test_a_two_pass_gate_on_positions_that_choose_nothing_is_an_error() -> None:
    with pytest.raises(NoChangeError, match="touched nothing"):
        write([steer(direction(1), 9.0, when=disagree(), where=prompt(stop=-1))])
    with pytest.raises(NoChangeError, match="gate was open at 0"):
        write([steer(direction(1), 9.0, when=uncertain_above(9.0), require_gated=1)])


def test_a_cache_that_forgets_is_refused() -> None:
    host = post_norm_host(2)
    host.model.config.sliding_window = 4
    for layer in host.model.config.layer_types:
        assert layer in ("sliding_attention", "full_attention")
    with pytest.raises(BindError, match="full attention"):
        generate(host, PROMPTS, [steer(direction(1), 9.0, when=uncertain_above(0.0))], decode=DECODE)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in host.model.modules())


def test_both_hosts_are_themselves_afterwards_and_after_an_exception() -> None:
    pair = tiny_pair(change=0.3)
    before = [{k: t.clone() for k, t in h.model.state_dict().items()} for h in (pair.base, pair.thinking)]
    write(PLANS["both"], pair=pair)
    short = patch(Whole("resid_post.1"), torch.randn(3, 32), when=uncertain_above(0.0))
    with pytest.raises(Exception, match="position"):
        write([short, *PLANS["both"]], pair=pair)
    for host, state in zip((pair.base, pair.thinking), before, strict=True):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in host.model.modules())
        assert all(torch.equal(t, state[k]) for k, t in host.model.state_dict().items())


def test_a_role_is_part_of_what_an_intervention_is_and_none_changes_nothing() -> None:
    v = direction(1)
    whens = [
        above(v, 0.5),
        above(v, 0.5, role="thinking"),
        above(v, 0.5, role="base"),
        disagree(),
        uncertain_above(1),
    ]
    assert len({steer(v, 1.0, when=when).fingerprint for when in whens}) == len(whens)
    assert "role" not in above(v, 0.5).to_json() and above(v, 0.5, role="base").to_json()["role"] == "base"
