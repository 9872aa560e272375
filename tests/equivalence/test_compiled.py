"""Compiled steps write what the others write, under any plan, and see what acts in the model.

The graphs are traced and run by torch.compile's own interpreter (backend "eager"): what a plan meets is the
same, and compiling takes a second. One test, a slow one, has the machine code.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.errors import DataError, NoChangeError
from reasonmech.hosts import Host
from reasonmech.hybrid import DisagreementGate, OfThinking, Takeover
from reasonmech.interventions import Hooks, Intervention
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding import compiled
from reasonmech.testing import ARCHITECTURES, tiny_host
from tests.chain_models import random_pair
from tests.hosts import post_norm_host
from tests.laws.random_plans import plans

PROMPTS = ["w1 w2 w3", "w5", "w9 w1 w22 w4 w2 w40 w3", "w7 w7"]
VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(0)) * 3
STEER = rm.steer(rm.Whole("resid_post.1"), VECTOR)


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "decoding steps of")  # what is not compiled says so
        yield
    torch._dynamo.reset()


def write(host: Host, plan: object = (), *, compile: bool, **changes: object) -> Rollouts:
    decode = rm.Decode(**{"max_new_tokens": 12, "compile": compile} | changes)
    try:
        return rm.generate(host, PROMPTS, plan, decode=decode, progress=False)  # type: ignore[arg-type]
    except NoChangeError as error:
        return error.result


def check_equal(one: Rollouts, other: Rollouts) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.ids, a.steered, a.stop) == (b.ids, b.steered, b.stop)
    if one.receipt is None or other.receipt is None:  # of no plan
        assert one.receipt is other.receipt
        return
    for a, b in zip(one.receipt.lines, other.receipt.lines, strict=True):
        assert (a.n_tokens, a.n_masked, a.n_gated) == (b.n_tokens, b.n_masked, b.n_gated)


@pytest.mark.parametrize("arch", sorted({*ARCHITECTURES} - {"llama", "qwen2"}))  # which the other tests have
def test_every_architecture_writes_the_same(arch: str) -> None:
    host = tiny_host(arch)
    plain, steered = write(host, compile=False), write(host, STEER, compile=False)
    assert [r.ids for r in plain] != [r.ids for r in steered]
    check_equal(write(host, STEER, compile=True), steered)


def test_without_a_plan_it_is_the_model() -> None:
    host = tiny_host("llama")
    check_equal(write(host, compile=True), write(host, compile=False))


@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    plan=plans("llama"),
    changes=st.fixed_dictionaries(
        {
            "max_new_tokens": st.integers(1, 12),
            "batch_size": st.sampled_from([1, 3, 8]),
            "temperature": st.sampled_from([0.0, 1.0]),
            "samples": st.sampled_from([1, 2]),
        }
    ),
)
def test_every_plan_acts_in_it(plan: list[Intervention], changes: dict[str, object]) -> None:
    """Whatever it reads and writes, and whichever rows have left."""
    host = tiny_host("llama")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "decoding steps of .* a gate of its plan weighs")
        check_equal(write(host, plan, compile=True, **changes), write(host, plan, compile=False, **changes))


def test_rows_that_end_leave_and_a_smaller_batch_uses_the_graph_that_is_there() -> None:
    host = tiny_host("qwen2")
    drawn = {"max_new_tokens": 20, "temperature": 1.0}
    written = write(host, STEER, compile=False, **drawn)
    ends = {
        token: {r.ids.index(token) for r in written if token in r.ids} for r in written for token in r.ids
    }
    stop = max(sorted(ends), key=lambda token: len(ends[token]))
    changes = drawn | {"stop_tokens": (stop,)}
    plain = write(host, STEER, compile=False, **changes)
    assert len({len(r.ids) for r in plain}) > 1, "rows end at different times"
    check_equal(write(host, STEER, compile=True, **changes), plain)
    check_equal(write(host, STEER, compile=True, batch_size=3, **changes), plain)
    graphs = [step for step in compiled._steps if step.model is host.model]
    assert {step.shape.rows for step in graphs} == {4} and not any(step.taken for step in graphs)


@pytest.mark.slow
def test_the_machine_code_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    host, plan = tiny_host("llama", n_layers=1), rm.steer(rm.Whole("resid_post.0"), VECTOR)
    check_equal(write(host, plan, compile=True), write(host, plan, compile=False))


def test_a_hook_of_somebody_else_is_seen() -> None:
    """One that comes after the graph was made, too: it runs eagerly then."""
    host = tiny_host("llama")
    before = write(host, STEER, compile=True)
    handle = host.layers[2].register_forward_hook(lambda module, args, x: x - 5 * VECTOR)
    with_it, expected = write(host, STEER, compile=True), write(host, STEER, compile=False)
    handle.remove()
    check_equal(with_it, expected)
    assert [r.ids for r in with_it] != [r.ids for r in before]
    check_equal(write(host, STEER, compile=True), before)


def test_a_compiler_that_fails_is_named_once_and_costs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compiled, "BACKEND", fails)
    host = tiny_host("llama")
    expected = write(host, STEER, compile=False)
    with pytest.warns(UserWarning, match=r"cannot be compiled.*no compiler here"):
        check_equal(write(host, STEER, compile=True), expected)
    check_equal(write(host, STEER, compile=True), expected)  # without another word


def test_what_a_plan_raises_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    apply, passes = Hooks.apply, []

    def breaks_later(self: Hooks, *args: object) -> object:
        passes.append(1)
        if len(passes) == 5:
            raise ZeroDivisionError("mine")
        return apply(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Hooks, "apply", breaks_later)
    host = tiny_host("llama")
    with pytest.raises(ZeroDivisionError, match="mine"):
        write(host, STEER, compile=True)
    monkeypatch.setattr(Hooks, "apply", apply)
    check_equal(write(host, STEER, compile=True), write(host, STEER, compile=False))


def test_what_cannot_be_compiled_says_why() -> None:
    pair = random_pair()
    hybrid = rm.Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover())
    problems = rm.load_task("chain", n=2, seed=0)
    with pytest.raises(DataError, match="leave compile out of decode"):
        rm.generate(hybrid, problems, decode=rm.Decode(compile=True), progress=False)
    host = tiny_host("llama")
    weighed = rm.steer(rm.Whole("resid_post.1"), VECTOR, when=rm.interventions.uncertain_above(0.1))
    with pytest.warns(UserWarning, match="weighs what a clean pass says"):
        check_equal(write(host, weighed, compile=True), write(host, weighed, compile=False))
    forgets = post_norm_host(2)
    with pytest.warns(UserWarning, match="sliding windows"):
        rm.generate(forgets, ["w1 w2"], decode=rm.Decode(compile=True, max_new_tokens=3), progress=False)


def test_records_made_before_it_stay_the_same() -> None:
    assert "compile" not in rm.Decode().model_dump() and rm.Decode(compile=True).model_dump()["compile"]
