"""What holds for every plan, on plans, prompts, paddings and cache modes drawn at random."""

from typing import NamedTuple

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from reasonmech.errors import DataError, NoChangeError
from reasonmech.hosts import Host
from reasonmech.interventions import (
    BoundPlan,
    Hooks,
    Intervention,
    Where,
    Whole,
    always,
    bind,
    patch,
    prompt,
    scale,
    steer,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import ForwardResult, forward
from reasonmech.site import Site
from reasonmech.step import Step
from tests.laws.plans import CLOSE
from tests.laws.random_plans import (
    AXES,
    HOSTS,
    MASKS,
    VERBS,
    axis_of,
    host_of,
    interventions,
    make,
    plans,
    texts,
)

NEW = 4
MARGIN = 1e-3  # between the two best logits: what is closer may round to another token
FAST = settings(max_examples=3, deadline=None, derandomize=True)


class Case(NamedTuple):
    host: Host
    plan: list[Intervention]
    prompts: list[str]


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    return Case(host_of(name), draw(plans(name)), draw(texts(3)))


def write(case: Case, **decode: object) -> Rollouts:
    try:
        settings_ = Decode(max_new_tokens=NEW).model_copy(update=decode)
        return generate(case.host, case.prompts, case.plan, decode=settings_, receipt="none", progress=False)
    except NoChangeError as silent:  # the texts hold nothing that some mask names: compared all the same
        return silent.result


def read(case: Case) -> ForwardResult:
    try:
        return forward(case.host, case.prompts, case.plan, receipt="none")
    except NoChangeError as silent:
        return silent.result


def whole(bound: BoundPlan, ids: list[int], *, prompt_length: int, row: int = 0) -> Tensor:
    """Logits of one text alone, recomputed from its beginning."""
    step = Step.of(torch.tensor([ids]), prompt_length=prompt_length)
    step.rows[:] = row
    with Hooks(bound) as hooks, torch.no_grad():
        hooks.begin(step)
        return bound.host.model(step.ids).logits[0]


def hooks_in(host: Host) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in host.model.modules())


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@FAST
def test_cached_and_batched_is_uncached_and_alone(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    bound = bind(case.plan, case.host)
    for row, rollout in enumerate(write(case)):
        ids = list(rollout.prompt_ids)
        for token in rollout.ids:
            logits = whole(bound, ids, prompt_length=len(rollout.prompt_ids), row=row)[-1]
            first, second = logits.topk(2).values.tolist()
            if first - second < MARGIN * max(1.0, abs(first)):
                break
            assert int(logits.argmax()) == token
            ids.append(token)
    assert hooks_in(case.host) == 0


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@FAST
def test_a_padded_batch_is_its_rows_alone(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    bound = bind(case.plan, case.host)
    for row, logits in enumerate(read(case).logits):
        ids = case.host.encode(case.prompts[row])
        alone = whole(bound, ids, prompt_length=len(ids), row=row)
        assert torch.allclose(logits, alone, **CLOSE)
    ends = tuple(range(6, 30))
    sampling = {"temperature": 1.0, "stop_tokens": ends, "seed": 3}
    together, apart = write(case, **sampling), write(case, **sampling, batch_size=1)
    assert [(r.ids, r.steered) for r in together] == [(r.ids, r.steered) for r in apart]
    counts = [[(line.n_masked, line.n_gated) for line in run.receipt.lines] for run in (together, apart)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@FAST
def test_what_comes_later_changes_nothing_before_it(name: str, data: st.DataObject) -> None:
    host, plan = host_of(name), data.draw(plans(name))
    ids = host.encode(data.draw(texts(1))[0]) + data.draw(
        st.lists(st.integers(3, 60), min_size=2, max_size=8)
    )
    cut = data.draw(st.integers(1, len(ids) - 1))
    length = data.draw(st.integers(1, cut))
    bound = bind(plan, host)
    longer, shorter = (whole(bound, text, prompt_length=length) for text in (ids, ids[:cut]))
    assert torch.allclose(longer[:cut], shorter, **CLOSE)


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@FAST
def test_identities_of_every_axis_mask_and_gate_keep_every_bit(name: str, data: st.DataObject) -> None:
    host, plan = host_of(name), []
    for drawn in data.draw(plans(name)):
        rest = {"where": drawn.where, "when": drawn.when}
        if drawn.axis.replaces:
            plan.append(steer(drawn.axis, torch.zeros(host.width(drawn.site)), **rest))
        else:
            plan.append(
                data.draw(st.sampled_from([scale(drawn.axis, 1.0, **rest), steer(drawn.axis, 0.0, **rest)]))
            )
    prompts = data.draw(texts(3))
    clean = forward(host, prompts).logits
    assert all(torch.equal(a, b) for a, b in zip(read(Case(host, plan, prompts)).logits, clean, strict=True))
    assert [r.ids for r in write(Case(host, plan, prompts))] == [
        r.ids for r in write(Case(host, [], prompts))
    ]


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@FAST
def test_a_list_at_one_site_is_its_parts_one_after_the_other(name: str, data: st.DataObject) -> None:
    host = host_of(name)
    site = Site(data.draw(st.sampled_from(host.kinds)), 1)
    parts = data.draw(st.lists(interventions(name, site, gated=False), min_size=2, max_size=4))
    step = Step.of(torch.tensor([host.encode("w1 w2 . <think> w3 w40 </think> w9")]), prompt_length=5)
    x = 2 * torch.randn(1, step.ids.shape[1], host.width(site), generator=torch.Generator().manual_seed(1))

    def apply(plan: list[Intervention], x: Tensor) -> Tensor:
        hooks = Hooks(bind(plan, host))
        hooks.begin(step)
        [stop] = hooks.bound.stops
        out = hooks.apply(stop, x)
        return x if out is None else out

    expected = x
    for part in parts:
        expected = apply([part], expected)
    assert torch.equal(apply(parts, x), expected)


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@settings(max_examples=3, deadline=None, derandomize=True)
def test_an_exception_anywhere_in_a_plan_leaves_the_host_itself(name: str, data: st.DataObject) -> None:
    host, plan = host_of(name), data.draw(plans(name))
    breaks = patch(Whole(Site("resid_post", 2)), torch.zeros(1, 32))  # its source ends before the text does
    plan.insert(data.draw(st.integers(0, len(plan))), breaks)
    ids = torch.tensor([host.encode("w1 w2 w3")])
    with torch.no_grad():
        clean = host.model(ids).logits
        for call in (lambda: forward(host, ["w1 w2 w3"], plan), lambda: generate(host, ["w1 w2 w3"], plan)):
            with pytest.raises(DataError, match="position"):
                call()
            assert hooks_in(host) == 0 and torch.equal(host.model(ids).logits, clean)


def test_the_draws_do_something() -> None:
    """The laws above would hold of plans that change nothing; these do."""
    host, changed = host_of("llama"), 0
    clean = forward(host, ["w1 w2 . w3"]).logits[0]
    for verb in VERBS:
        for kind in AXES:
            one = make(
                verb, axis_of("llama", kind, Site("resid_post", 1), 5), 32, 5, where=prompt(), when=always()
            )
            changed += not torch.allclose(read(Case(host, [one], ["w1 w2 . w3"])).logits[0], clean, atol=1e-2)
    assert changed >= 22  # of 24: a feature that is silent on this text cannot be ablated


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", AXES)
@given(
    site=st.sampled_from(["resid_post.1", "resid_mid.1", "z.1", "attn_out.1"]),
    seed=st.integers(0, 99),
    where=MASKS,
)
@settings(max_examples=4, deadline=None, derandomize=True)
def test_a_bfloat16_stream_is_edited_in_float32_and_rounded_once(
    verb: str, kind: str, site: str, seed: int, where: Where
) -> None:
    host = host_of("llama")
    plan = [make(verb, axis_of("llama", kind, Site.parse(site), seed), 32, seed, where=where, when=always())]
    hooks = Hooks(bind(plan, host))
    hooks.begin(Step.of(torch.tensor([host.encode("w1 w2 . <think> w3 w40 </think> w9")]), prompt_length=5))
    [stop] = hooks.bound.stops
    x = 2 * torch.randn(1, 8, 32, generator=torch.Generator().manual_seed(seed)).bfloat16()
    narrow, wide = hooks.apply(stop, x), hooks.apply(stop, x.float())
    assert (narrow is None) == (wide is None)
    if narrow is not None and wide is not None:
        assert narrow.dtype == torch.bfloat16 and torch.equal(narrow, wide.bfloat16())
