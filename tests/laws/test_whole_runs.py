"""A plan is a torch hook at the named place; order, caches and batches change nothing (semantics 1 to 3)."""

from functools import cache

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from reasonmech.errors import BindError, NoChangeError, UnknownNameError
from reasonmech.interventions import (
    Direction,
    Hooks,
    Whole,
    ablate,
    above,
    below,
    bind,
    generated,
    labelled,
    patch,
    prompt,
    scale,
    steer,
    tokens,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import LabelledTexts
from reasonmech.runtime.passes import full_logits
from reasonmech.step import Step
from reasonmech.testing import tiny_host
from tests.laws.plans import CLOSE, DECODE, HOST, PLANS, PROMPTS, direction, ids_of, uncached

N_SHORT = 8  # new tokens, where each is recomputed from the whole text
SHORT = Decode(max_new_tokens=N_SHORT)
FEW = PROMPTS[1:4]  # of one token, of seven, and one that opens a tag


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
    plan = [
        steer(v, 5.0),
        steer(direction(1), 1.0, when=above(v, 1.0)),
        steer(direction(2), 1.0, when=below(v, 1.0)),
    ]
    hooks = Hooks(bind(plan, HOST))
    hooks.begin(Step.of(torch.ones(1, 2, dtype=torch.long)))
    [stop] = hooks.bound.stops
    expected = 5.0 * v.vector + direction(2).vector
    assert torch.allclose(hooks.apply(stop, x), expected.expand(1, 2, 32), atol=1e-5)


@cache
def clean_ids() -> list[tuple[int, ...]]:
    return ids_of(generate(HOST, FEW, decode=SHORT))


@pytest.mark.parametrize("name", PLANS)
def test_cached_and_batched_equals_uncached_single_rows(name: str) -> None:
    plan = PLANS[name]
    batch = generate(HOST, FEW, plan, decode=SHORT, receipt="none")
    assert ids_of(batch) != clean_ids()
    assert ids_of(batch) == [uncached(HOST, HOST.encode(p), plan, N_SHORT) for p in FEW]


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
    plan = [
        steer(direction(1), 4.0, where=generated(1) | prompt(start=-1)),
        ablate(direction(2, "attn_out.2")),
    ]
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
        except NoChangeError as silent:  # the sample holds nothing that the mask names: compared all the same
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

    rollouts = generate(HostDecoder.of(HOST, plan, labellers={"odd": odd}), PROMPTS, decode=DECODE)
    same = generate(HOST, PROMPTS, [steer(direction(1), 9.0, where=tokens(*range(1, 64, 2)))], decode=DECODE)
    assert ids_of(rollouts) == ids_of(same) != ids_of(generate(HOST, PROMPTS, decode=DECODE))
    assert [r.steered for r in rollouts] == [r.steered for r in same]
    assert rollouts.receipt.kl == pytest.approx(same.receipt.kl, rel=1e-3)
    marks = [{i for i, token in enumerate(r.all_ids) if token % 2} for r in rollouts]
    read = forward(HOST, LabelledTexts(list(rollouts), {"odd": marks}), plan)
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
        generate(HostDecoder.of(HOST, plan, labellers={"last": last}), PROMPTS, decode=DECODE)
    with pytest.raises(BindError, match="one mark for every token"):
        generate(
            HostDecoder.of(HOST, plan, labellers={"last": lambda ids, n: [True]}), PROMPTS, decode=DECODE
        )


def test_in_bfloat16_the_agreement_is_printed_and_not_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    host = tiny_host(dtype=torch.bfloat16)
    batch = generate(host, PROMPTS, PLANS["window"], decode=DECODE, receipt="none")
    single = [uncached(host, host.encode(p), PLANS["window"], 14) for p in PROMPTS]
    agree = [
        a == b for one, two in zip(ids_of(batch), single, strict=True) for a, b in zip(one, two, strict=False)
    ]
    with capsys.disabled():
        print(
            f"\nbfloat16: {sum(agree)} of {len(agree)} tokens equal, cached and batched against uncached "
            "single rows"
        )
    assert ids_of(batch) != ids_of(generate(host, PROMPTS, decode=DECODE))


def test_what_breaks_inside_a_run_leaves_no_hook_behind() -> None:
    host = tiny_host()

    def breaks(ids: list[int], prompt_length: int) -> list[bool]:
        if len(ids) > prompt_length + 2:
            raise KeyboardInterrupt
        return [True] * len(ids)

    plan = [steer(direction(0), 1.0, where=labelled("x"))]
    with pytest.raises(KeyboardInterrupt) as caught:
        generate(HostDecoder.of(host, plan, labellers={"x": breaks}), PROMPTS, decode=DECODE)
    assert caught.value is not None  # the traceback, and with it every frame, is still alive
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in host.model.modules())
    one = steer(direction(0), 9.0)  # one intervention is a plan of one
    assert ids_of(generate(host, PROMPTS, one, decode=DECODE)) == ids_of(
        generate(host, PROMPTS, [one], decode=DECODE)
    )
