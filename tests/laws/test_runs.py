"""Semantics of 2-interventions in whole runs: order, caches, batches, identities, silence, receipts, gradients."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from reasonmech.errors import BindError, NeverFiredError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions import (
    Direction,
    Features,
    Hooks,
    Intervention,
    Whole,
    ablate,
    above,
    below,
    bind,
    clamp,
    generated,
    inside,
    labelled,
    patch,
    prompt,
    scale,
    sentence_starts,
    steer,
    tokens,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decode import Decode
from reasonmech.runtime.forward import forward
from reasonmech.runtime.generate import generate
from reasonmech.runtime.passes import full_logits
from reasonmech.step import Step
from reasonmech.testing import tiny_coder, tiny_host

HOST: Host = tiny_host("llama")
CODER = tiny_coder(HOST)
PROMPTS = ["w1 w2 . w3", "w5", "w9 w1 . w4 w2 w40 w3", "<think> w7 w7", "w1 . w2 w3 ."]
DECODE = Decode(max_new_tokens=14)
CLOSE = {"atol": 1e-4, "rtol": 1e-5}  # logits of a head scaled by 30: 1e-5 of their range


def direction(seed: int, site: str = "resid_post.1") -> Direction:
    return Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(seed)), site)


def plans() -> dict[str, list[Intervention]]:
    """One plan per mask and verb, at every kind of site."""
    v = direction(0)
    return {
        "steer_everywhere": [steer(v, 2.0)],
        "steer_generated": [steer(direction(1, "attn_out.2"), 3.0, where=generated())],
        "steer_prompt_end": [steer(direction(1, "mlp_out.0"), 3.0, where=prompt(start=-1))],
        "window": [steer(direction(2, "resid_pre.2"), 4.0, where=generated(2, 5))],
        "clamp_sentence_starts": [clamp(Features(CODER, (3, 9)), 5.0, where=sentence_starts())],
        "ablate_tokens": [ablate(v, where=tokens("w1", ".", "w2") | generated(3))],
        "inside": [scale(v, -2.0, where=inside("<think>", "</think>") | generated(1))],
        "gated": [steer(direction(3, "resid_post.2"), 5.0, when=above(v, 0.5))],
        "gated_features": [steer(direction(3, "resid_post.2"), 5.0, when=above(Features(CODER, (1, 2, 3, 4)), 0.1))],
        "several": [steer(v, 2.0), ablate(direction(4)), clamp(Features(CODER, (7,)), 3.0, when=below(v, 1.0))],
        "whole": [ablate(Whole("mlp_out.3"), where=generated(stop=4)), steer(Whole("resid_pre.0"), torch.ones(32))],
        "patch": [patch(v, torch.randn(40, 32, generator=torch.Generator().manual_seed(7)))],
    }


PLANS = plans()


def ids_of(rollouts: Rollouts) -> list[tuple[int, ...]]:
    return [rollout.ids for rollout in rollouts]


def uncached(host: Host, prompt_ids: list[int], plan: list[Intervention], new: int) -> tuple[int, ...]:
    """Ten lines without a cache, a batch or a resident hook: the whole text again for every token."""
    ids = list(prompt_ids)
    for _ in range(new):
        step = Step.of(torch.tensor([ids]), prompt_length=len(prompt_ids))
        with Hooks(bind(plan, host)) as hooks, torch.no_grad():
            hooks.begin(step)
            ids.append(int(host.model(step.ids).logits[0, -1].argmax()))
        if ids[-1] == host.eos_id:
            break
    return tuple(ids[len(prompt_ids) :])


# --- a plan is no more than a torch hook at the named place


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("site", ["resid_pre.1", "attn_out.2", "mlp_out.0", "resid_post.1"])
def test_a_plan_is_a_plain_torch_hook_at_the_named_place(arch: str, site: str) -> None:
    host, v = tiny_host(arch), direction(1, site).vector
    kind, _, layer = site.partition(".")
    block = host.layers[int(layer)]
    halves = {
        "llama": {"attn_out": "self_attn", "mlp_out": "mlp"},
        "gpt2": {"attn_out": "attn", "mlp_out": "mlp"},
        "gpt_neox": {"attn_out": "attention", "mlp_out": "mlp"},
    }[arch]
    if kind == "resid_pre":
        handle = block.register_forward_pre_hook(lambda m, args: (args[0] + 4.0 * v, *args[1:]))
    else:
        module = block.get_submodule(halves[kind]) if kind in halves else block
        handle = module.register_forward_hook(
            lambda m, args, out: out + 4.0 * v if torch.is_tensor(out) else (out[0] + 4.0 * v, *out[1:])
        )
    ids = torch.tensor([host.encode(PROMPTS[2])])
    with torch.no_grad():
        expected = host.model(ids).logits[0]
        handle.remove()
        clean = host.model(ids).logits[0]
    [got] = forward(host, [PROMPTS[2]], [steer(direction(1, site), 4.0)], receipt="none").logits
    assert not torch.allclose(got, clean, atol=1e-2) and torch.allclose(got, expected, **CLOSE)


# --- 1: order


def test_a_list_applies_in_order_at_one_site_and_reads_the_edited_stream() -> None:
    v, w = direction(0), Direction(direction(0).vector, "resid_pre.2")  # the same tensor under its two names
    x = torch.randn(1, 3, 32)
    for first, second in ((v, v), (v, w), (w, v)):
        hooks = Hooks(bind([steer(first, 5.0), scale(second, 2.0)], HOST))
        hooks.begin(Step.of(torch.ones(1, 3, dtype=torch.long)))
        [stop] = hooks.bound.stops
        c = x @ v.vector
        assert torch.allclose(hooks.apply(stop, x) @ v.vector, 2 * (c + 5.0), atol=1e-4)


def test_a_gate_reads_its_site_before_any_edit_of_the_plan() -> None:
    v = direction(0)
    x = torch.zeros(1, 2, 32)
    plan = [steer(v, 5.0), steer(direction(1), 1.0, when=above(v, 1.0)), steer(direction(2), 1.0, when=below(v, 1.0))]
    hooks = Hooks(bind(plan, HOST))
    hooks.begin(Step.of(torch.ones(1, 2, dtype=torch.long)))
    [stop] = hooks.bound.stops
    expected = 5.0 * v.vector + direction(2).vector
    assert torch.allclose(hooks.apply(stop, x), expected.expand(1, 2, 32), atol=1e-5)


# --- 2: caches, batches


@pytest.mark.parametrize("name", PLANS)
def test_cached_and_batched_equals_uncached_single_rows(name: str) -> None:
    plan = PLANS[name]
    batch = generate(HOST, PROMPTS, plan, decode=DECODE, receipt="none")
    clean = generate(HOST, PROMPTS, decode=DECODE)
    assert ids_of(batch) != ids_of(clean)
    assert ids_of(batch) == [uncached(HOST, HOST.encode(p), plan, 14) for p in PROMPTS]


def test_rows_that_leave_the_batch_do_not_disturb_the_masks_of_the_others() -> None:
    plan, several = PLANS["window"], [p for p in PROMPTS for _ in range(3)]
    decode = Decode(max_new_tokens=12, temperature=1.0, stop_tokens=tuple(range(6, 16)))
    whole = generate(HOST, several, plan, decode=decode, receipt="none")
    alone = generate(HOST, several, plan, decode=decode.model_copy(update={"batch_size": 1}), receipt="none")
    assert len({len(r.ids) for r in whole}) > 3
    assert [(r.ids, r.steered) for r in whole] == [(r.ids, r.steered) for r in alone]
    assert all(r.steered == tuple(2 <= t - 1 < 5 for t in range(len(r.ids))) for r in whole)


@pytest.mark.parametrize("arch", ["gpt2", "gpt_neox", "qwen3", "gemma"])
def test_other_architectures_too(arch: str) -> None:
    host = tiny_host(arch)
    plan = [steer(direction(1), 4.0, where=generated(1) | prompt(start=-1)), ablate(direction(2, "attn_out.2"))]
    batch = generate(host, PROMPTS, plan, decode=DECODE, receipt="none")
    assert ids_of(batch) != ids_of(generate(host, PROMPTS, decode=DECODE))
    assert ids_of(batch) == [uncached(host, host.encode(p), plan, 14) for p in PROMPTS]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.sampled_from(sorted(PLANS)), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_a_row_does_not_depend_on_its_batch(which: list[int], name: str, batch_size: int) -> None:
    prompts, plan = [PROMPTS[i] for i in which], PLANS[name]
    ends = tuple(range(6, 16))  # so that rows leave the batch at different times
    decode = Decode(max_new_tokens=8, temperature=1.0, batch_size=batch_size, stop_tokens=ends)

    def write(decode: Decode) -> Rollouts:
        try:
            return generate(HOST, prompts, plan, decode=decode, receipt="none")
        except NeverFiredError as silent:  # the sample holds nothing that the mask names: compared all the same
            return silent.result

    whole, parts = write(decode.model_copy(update={"batch_size": 64})), write(decode)
    assert [(r.ids, r.steered) for r in whole] == [(r.ids, r.steered) for r in parts]


@pytest.mark.parametrize("name", PLANS)
def test_forward_of_a_padded_batch_equals_its_rows_and_the_decoding_pass(name: str) -> None:
    rollouts = generate(HOST, PROMPTS, PLANS[name], decode=DECODE, receipt="none")
    whole = forward(HOST, list(rollouts), PLANS[name], receipt="none")
    for row, rollout in enumerate(rollouts):
        step = Step.of(torch.tensor([rollout.all_ids]), prompt_length=len(rollout.prompt_ids))
        with Hooks(bind(PLANS[name], HOST)) as hooks, torch.no_grad():
            hooks.begin(step)
            alone = full_logits(HOST, step)[0]
        assert torch.allclose(whole.logits[row], alone, **CLOSE)
        chosen = whole.logits[row][len(rollout.prompt_ids) - 1 : -1].argmax(-1)
        assert chosen.tolist() == list(rollout.ids)  # teacher forcing sees what decoding saw


def test_a_patch_is_aligned_with_rows_of_the_run_whatever_the_batch() -> None:
    source = torch.randn(len(PROMPTS), 32, 32, generator=torch.Generator().manual_seed(3))
    plan = [patch(Whole("resid_post.1"), source, where=prompt())]
    whole = generate(HOST, PROMPTS, plan, decode=DECODE, receipt="none")
    parts = generate(HOST, PROMPTS, plan, decode=DECODE.model_copy(update={"batch_size": 2}), receipt="none")
    single = [
        uncached(HOST, HOST.encode(p), [patch(Whole("resid_post.1"), source[i], where=prompt())], 14)
        for i, p in enumerate(PROMPTS)
    ]
    assert ids_of(whole) == ids_of(parts) == single != ids_of(generate(HOST, PROMPTS, decode=DECODE))


# --- 3: tokens, not phases


def test_generated_cannot_change_the_first_token_and_the_prompts_end_can() -> None:
    clean = generate(HOST, PROMPTS, decode=DECODE)
    late = generate(HOST, PROMPTS, [steer(direction(1), 30.0, where=generated())], decode=DECODE)
    first = generate(HOST, PROMPTS, [steer(direction(1), 30.0, where=prompt(start=-1))], decode=DECODE)
    assert [r.ids[0] for r in late] == [r.ids[0] for r in clean] and ids_of(late) != ids_of(clean)
    assert [r.ids[0] for r in first] != [r.ids[0] for r in clean]
    assert [r.steered[:2] for r in late] == [(False, True)] * 5
    assert [r.steered[:2] for r in first] == [(True, False)] * 5


def test_labels_are_given_in_forward_and_made_causally_in_generation() -> None:
    plan = [steer(direction(1), 9.0, where=labelled("odd"))]

    def odd(ids: list[int], prompt_length: int) -> list[bool]:
        return [token % 2 == 1 for token in ids]

    rollouts = generate(HOST, PROMPTS, plan, decode=DECODE, labellers={"odd": odd})
    same = generate(HOST, PROMPTS, [steer(direction(1), 9.0, where=tokens(*range(1, 64, 2)))], decode=DECODE)
    assert ids_of(rollouts) == ids_of(same) != ids_of(generate(HOST, PROMPTS, decode=DECODE))
    assert [r.steered for r in rollouts] == [r.steered for r in same]
    assert rollouts.receipt.kl == pytest.approx(same.receipt.kl, rel=1e-3)
    marks = [{i for i, token in enumerate(r.all_ids) if token % 2} for r in rollouts]
    read = forward(HOST, list(rollouts), plan, labels={"odd": marks})
    again = forward(HOST, list(rollouts), [steer(direction(1), 9.0, where=tokens(*range(1, 64, 2)))])
    assert all(torch.equal(a, b) for a, b in zip(read.logits, again.logits, strict=True))
    with pytest.raises(UnknownNameError, match="labellers="):
        generate(HOST, PROMPTS, plan, decode=DECODE)
    with pytest.raises(UnknownNameError, match="label 'odd'"):
        forward(HOST, PROMPTS, plan)


def test_a_labeller_that_looks_ahead_is_refused() -> None:
    def last(ids: list[int], prompt_length: int) -> list[bool]:
        return [i == len(ids) - 1 for i in range(len(ids))]

    plan = [steer(direction(1), 9.0, where=labelled("last"))]
    with pytest.raises(BindError, match="not causal"):
        generate(HOST, PROMPTS, plan, decode=DECODE, labellers={"last": last})
    with pytest.raises(BindError, match="one mark for every token"):
        generate(HOST, PROMPTS, plan, decode=DECODE, labellers={"last": lambda ids, n: [True]})


# --- 6: identities, restoration


IDENTITIES = {
    "scale_direction": lambda: scale(direction(0), 1.0),
    "steer_direction": lambda: steer(direction(0), 0.0),
    "scale_features": lambda: scale(Features(CODER, (3, 5)), 1.0),
    "steer_features": lambda: steer(Features(CODER, (3, 5)), 0.0),
    "steer_whole": lambda: steer(Whole("attn_out.1"), torch.zeros(32)),
    "gated_shut": lambda: clamp(direction(0), 9.0, when=above(direction(0), 1e9)),
    "masked_part": lambda: scale(direction(0), 1.0, where=tokens("w1")),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_are_bit_exact(name: str) -> None:
    plan = [IDENTITIES[name]()]
    clean, edited = forward(HOST, PROMPTS), forward(HOST, PROMPTS, plan)
    assert all(torch.equal(a, b) for a, b in zip(clean.logits, edited.logits, strict=True))
    assert edited.receipt.kl == 0 and edited.receipt.lines[0].max_relative == 0
    decode = Decode(max_new_tokens=12, temperature=1.0)
    assert ids_of(generate(HOST, PROMPTS, plan, decode=decode)) == ids_of(generate(HOST, PROMPTS, decode=decode))


def hooks_in(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_the_host_is_itself_after_a_run_and_after_an_exception() -> None:
    host = tiny_host()
    before = {name: value.clone() for name, value in host.model.state_dict().items()}
    ids = torch.tensor([host.encode("w1 w2 w3")])
    logits = host.model(ids).logits
    generate(host, PROMPTS, PLANS["several"], decode=DECODE)
    forward(host, PROMPTS, PLANS["whole"][1:])
    short = patch(Whole("resid_post.1"), torch.randn(3, 32))
    with pytest.raises(Exception, match="position"):
        forward(host, PROMPTS, [short])
    with pytest.raises(Exception, match="position"):
        generate(host, PROMPTS, [short], decode=DECODE)
    with pytest.raises(UnknownNameError):
        generate(host, PROMPTS, [steer(direction(0), 1.0), steer(direction(0, "resid_post.9"), 1.0)])
    assert hooks_in(host.model) == 0
    assert all(torch.equal(before[name], value) for name, value in host.model.state_dict().items())
    assert torch.equal(host.model(ids).logits, logits)
    assert all(p.requires_grad and p.grad is None for p in host.model.parameters())


# --- 7: silence is an error


def test_a_mask_that_matched_nothing_in_the_whole_run_is_an_error_with_the_result() -> None:
    with pytest.raises(NeverFiredError, match=r"steer at resid_post\.1.*touched nothing.*w50") as caught:
        forward(HOST, PROMPTS, [steer(direction(0), 1.0, where=tokens("w50"))])
    assert len(caught.value.result.logits) == len(PROMPTS)
    with pytest.raises(NeverFiredError, match="generated") as caught:
        generate(HOST, PROMPTS, [steer(direction(0), 1.0, where=generated(500))], decode=DECODE)
    assert ids_of(caught.value.result) == ids_of(generate(HOST, PROMPTS, decode=DECODE))


def test_one_row_that_matches_is_enough_whatever_the_batch() -> None:
    plan = [steer(direction(0), 1.0, where=tokens("w40") & prompt())]
    for batch_size in (1, 64):
        receipt = forward(HOST, PROMPTS, plan, batch_size=batch_size).receipt
        assert receipt.lines[0].n_masked == receipt.lines[0].n_fired == 1


def test_a_gate_that_never_opened_is_a_finding_unless_firing_is_required() -> None:
    shut = {"where": prompt(), "when": above(direction(0), 1e6)}
    out = generate(HOST, PROMPTS, [steer(direction(0), 1.0, **shut)], decode=DECODE)
    [line] = out.receipt.lines
    assert line.n_masked == sum(len(r.prompt_ids) for r in out) and line.n_fired == 0 and line.mean_relative == 0
    with pytest.raises(NeverFiredError, match=f"fired at 0 of {line.n_masked} masked tokens") as caught:
        generate(HOST, PROMPTS, [steer(direction(0), 1.0, require_fired=1, **shut)], decode=DECODE)
    assert len(caught.value.result) == len(PROMPTS)


# --- 8: the receipt


def stream_at(host: Host, ids: tuple[int, ...], layer: int) -> Tensor:
    seen = []
    handle = host.layers[layer].register_forward_hook(
        lambda m, a, out: seen.append(out if torch.is_tensor(out) else out[0])
    )
    with torch.no_grad():
        host.model(torch.tensor([ids]))
    handle.remove()
    return seen[0][0]


def test_the_receipt_counts_what_a_recount_finds() -> None:
    v, a = direction(0), 2.0
    plan = [steer(v, a, where=generated(), when=above(v, 0.3))]
    out = generate(HOST, PROMPTS, plan, decode=DECODE, receipt="full")
    masked = fired = 0
    relative, kls = [], []
    for r in out:
        n, x = len(r.prompt_ids), stream_at(HOST, r.all_ids, 1)  # generated() leaves the prompt, and layer 1 reads 0..1
        clean = HOST.model(torch.tensor([r.all_ids])).logits[0].log_softmax(-1)
        edited = forward(HOST, [r], plan, receipt="none").logits[0].log_softmax(-1)
        kls += (edited.exp() * (edited - clean)).sum(-1)[n - 1 : -1].tolist()
        opened = (x @ v.vector > 0.3)[n:-1]  # the last token is never fed back
        masked, fired = masked + len(opened), fired + int(opened.sum())
        relative += (a / x[n:-1][opened].norm(dim=-1)).tolist()
        assert list(r.steered[1:]) == opened.tolist() and not r.steered[0]
    [line] = out.receipt.lines
    assert (line.n_masked, line.n_fired) == (masked, fired) and 0 < fired < masked
    assert line.n_tokens == sum(len(r.all_ids) - 1 for r in out)
    assert line.mean_relative == pytest.approx(sum(relative) / len(relative), rel=1e-4)
    assert line.max_relative == pytest.approx(max(relative), rel=1e-4)
    assert out.receipt.kl == pytest.approx(sum(kls) / len(kls), rel=1e-3) and out.receipt.kl > 0
    assert out.receipt.n_kl_tokens == len(kls) and out.receipt.noop_parity == 0
    assert (line.verb, line.site, line.where) == ("steer", "resid_post.1", "generated()")
    assert line.fingerprint == plan[0].fingerprint and len(out.receipt.table()) == 1


def test_a_clamp_prints_what_a_second_reading_finds() -> None:
    features, ids = Features(CODER, (3, 5)), tuple(HOST.encode(PROMPTS[2]))
    receipt = forward(HOST, [ids], [clamp(features, 4.0)]).receipt
    x = stream_at(HOST, ids, 1)
    f = CODER.encode(x)
    edited = x + (4.0 - f[:, [3, 5]]) @ CODER.rows((3, 5))
    again = CODER.encode(edited)[:, [3, 5]].mean()
    assert receipt.lines[0].reread == pytest.approx(float(again), rel=1e-4)
    assert abs(receipt.lines[0].reread - 4.0) > 1e-3  # decoder rows overlap: not the clamped value


def test_receipt_modes_and_json() -> None:
    plan = [steer(direction(0), 1.0)]
    many = [f"w{i}" for i in range(20)]
    assert forward(HOST, many, plan).receipt.n_kl_rows == 16
    assert forward(HOST, many, plan, receipt="full").receipt.n_kl_rows == 20
    none = forward(HOST, many, plan, receipt="none").receipt
    assert none.kl is None and none.lines[0].n_fired == 20
    assert set(none.to_json()) >= {"lines", "kl", "noop_parity"}


# --- 9: gradients, purity


def test_edits_are_differentiable_and_never_in_place() -> None:
    for name, plan in PLANS.items():
        hooks = Hooks(bind(plan, HOST))
        hooks.begin(Step.of(torch.tensor([HOST.encode(PROMPTS[0])]), prompt_length=2))
        for stop in hooks.bound.stops:
            x = torch.randn(1, 4, 32, requires_grad=True)
            kept = x.detach().clone()
            out = hooks.apply(stop, x)
            assert torch.equal(x.detach(), kept), name
            if out is not None:
                [gradient] = torch.autograd.grad(out.sum(), x, allow_unused=True)
                assert gradient is not None or name == "whole", name


def test_gradients_are_off_at_the_runtimes_door() -> None:
    out = forward(HOST, PROMPTS, [steer(direction(0), 1.0)])
    assert not any(logits.requires_grad for logits in out.logits)


# --- 10: fingerprints


def test_a_fingerprint_is_the_content() -> None:
    v = direction(0)
    same = Direction(v.vector.clone(), "resid_post.1", name="another name")
    assert steer(v, 1.0).fingerprint == steer(same, 1).fingerprint
    different = [
        steer(v, 1.0),
        steer(v, 1.5),
        clamp(v, 1.0),
        steer(direction(1), 1.0),
        steer(Direction(v.vector, "resid_post.2"), 1.0),
        steer(v, 1.0, where=generated()),
        steer(v, 1.0, where=generated(1)),
        steer(v, 1.0, when=above(v, 0.0)),
        clamp(Features(CODER, (1,)), 1.0),
        clamp(Features(CODER, (2,)), 1.0),
        clamp(Features(CODER, (1,)), 1.0, error="drop"),
        clamp(Features(CODER, (1,)), torch.tensor([1.0])),
        patch(v, torch.zeros(32)),
        patch(v, torch.ones(32)),
    ]
    assert len({intervention.fingerprint for intervention in different}) == len(different)
