"""Masks: absolute pad-free positions, half-open windows, causal, combined with & | ~ (semantics 2 and 3)."""

import warnings
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from reasonmech.errors import BindError, DataError, UnknownNameError
from reasonmech.interventions import (
    Whole,
    at,
    everywhere,
    generated,
    inside,
    labelled,
    prompt,
    sentence_starts,
    steer,
    tokens,
)
from reasonmech.interventions.masks import Where
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Decode, Keep, capture, generate
from reasonmech.runtime.forward import forward
from reasonmech.step import Step
from reasonmech.testing import assert_causal, tiny_host, tiny_step, tiny_tokenizer

WORDS = tiny_tokenizer()
bounds = st.none() | st.integers(-6, 12)
windows = st.none() | st.integers(0, 12)
leaves = st.one_of(
    st.just(everywhere()),
    st.builds(prompt, bounds, bounds),
    st.builds(lambda items: at(*items), st.lists(st.integers(0, 12), min_size=1, max_size=5)),
    st.builds(generated, windows, windows),
    st.builds(lambda items: tokens(*items), st.lists(st.integers(1, 63), min_size=1, max_size=30)),
    st.builds(inside, st.integers(1, 30), st.integers(31, 63)),
    st.just(sentence_starts(ends=(".", "w1", "w2", "w3"))),
)
masks = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        inner.map(lambda a: ~a),
    ),
    max_leaves=4,
)


@given(masks)
@settings(max_examples=60, deadline=None)
def test_masks_are_causal_and_blind_to_padding(where: Where) -> None:
    assert_causal(where, seeds=3)


@given(masks, masks, st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_masks_form_a_boolean_algebra(a: Where, b: Where, seed: int) -> None:
    step = tiny_step(seed=seed)
    a, b = a.resolve(WORDS), b.resolve(WORDS)
    x, y = step.computed(a.mask(step)), step.computed(b.mask(step))
    assert torch.equal(step.computed((a & b).mask(step)), x & y)
    assert torch.equal(step.computed((a | b).mask(step)), x | y)
    assert torch.equal(step.computed((~a).mask(step)), ~x & step.mask)


@given(st.integers(1, 9), st.integers(0, 9), bounds, bounds)
def test_prompt_windows_are_python_slices_of_the_prompt(
    length: int, more: int, start: int | None, stop: int | None
) -> None:
    step = Step.of(torch.ones(1, length + more, dtype=torch.long), prompt_length=length)
    expected = set(range(length)[start:stop])
    assert set(prompt(start, stop).mask(step)[0].nonzero().flatten().tolist()) == expected


@given(st.integers(1, 5), st.integers(0, 9), windows, windows)
def test_generated_windows_are_python_slices_of_the_answer(
    length: int, more: int, start: int | None, stop: int | None
) -> None:
    step = Step.of(torch.ones(1, length + more, dtype=torch.long), prompt_length=length)
    expected = {length + offset for offset in range(more)[start:stop]}
    assert set(generated(start, stop).mask(step)[0].nonzero().flatten().tolist()) == expected


@given(st.integers(0, 50), st.integers(1, 12))
def test_only_the_computed_tail_is_returned(seed: int, new: int) -> None:
    step = tiny_step(seed=seed)
    tail = replace(step, new=new)
    where = generated(start=1)
    assert torch.equal(tail.computed(where.mask(tail)), step.computed(where.mask(step))[:, -new:])


def step_of(text: str, prompt_words: int = 1) -> Step:
    ids = WORDS.encode(text)
    return Step.of(torch.tensor([ids]), prompt_length=prompt_words)


def marks(where: Where, text: str, prompt_words: int = 1) -> str:
    step = step_of(text, prompt_words)
    return "".join("x" if mark else "-" for mark in where.resolve(WORDS).mask(step)[0].tolist())


def test_masks_that_read_the_text() -> None:
    text = "w1 w2 . w3 <think> w1 w2 </think> w4 . . w5 <think> w6"
    assert marks(tokens("w1", "."), text) == "x-x--x---xx---"
    assert marks(tokens("w1 w2"), text) == "-x----x-------"
    assert marks(inside("<think>", "</think>"), text) == "----xxx-----xx"
    assert marks(sentence_starts(), text) == "xx-x-------x--"
    assert marks(sentence_starts(), text, prompt_words=6) == "x--x--x----x--"
    assert marks(tokens(7) & generated(), text, prompt_words=2) == "-----x--------"


def test_labels_come_with_the_step() -> None:
    step = replace(tiny_step(), labels={"hot": tiny_step(seed=1).mask})
    assert torch.equal(labelled("hot").mask(step), tiny_step(seed=1).mask)
    with pytest.raises(UnknownNameError, match=r"label 'cold'\n.*hot"):
        labelled("cold").mask(step)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(BindError, match="growing text"):
        generated(start=-1)
    with pytest.raises(BindError, match="without a token"):
        tokens()
    with pytest.raises(UnknownNameError, match="word 'unheard'"):
        tokens("unheard").resolve(WORDS)
    with pytest.raises(BindError, match="turns words into tokens"):
        tokens("w1").mask(tiny_step())


def test_a_mask_that_looks_ahead_is_caught() -> None:
    class Ahead(Where):
        kind = "ahead"

        def mask(self, step: Step) -> torch.Tensor:
            return step.ids == step.ids[:, -1:]

    with pytest.raises(AssertionError, match="changes its mind"):
        assert_causal(Ahead())


def test_masks_say_what_they_are() -> None:
    where = (generated(2) & ~tokens("w1")) | prompt(start=-1)
    assert str(where) == "((generated(start=2) & ~tokens(items=('w1',))) | prompt(start=-1))"
    assert where.to_json() == where.to_json() != (~where).to_json()


@pytest.mark.parametrize("items", [(), ("",), (["w1"],), (("w1", "w2"),), ((),), (1.5,)])
def test_tokens_that_could_match_nothing_are_refused(items: tuple[Any, ...]) -> None:
    with pytest.raises(BindError, match="tokens"):
        tokens(*items)


@pytest.mark.parametrize("n", [1, 3])
def test_rows_of_at_are_the_rows_of_the_run_no_more_and_no_fewer(n: int) -> None:
    host, texts = tiny_host(), ["w1 w2 w3 w4", "w9 w1"]
    for where in (at(per_row=[(1,)] * n), everywhere() & ~at(per_row=[(1,)] * n)):
        plan = [steer(Whole("resid_post.1"), torch.ones(host.d_model), where=where)]
        text = f"has positions for {n} rows, the run has 2"
        with pytest.raises(DataError, match=text):
            forward(host, texts, plan)
        with pytest.raises(DataError, match=text):
            generate(host, texts, plan, decode=Decode(max_new_tokens=2), progress=False)
        with pytest.raises(DataError, match=text):
            generate(
                host,
                texts[:1],
                plan,
                decode=Decode(max_new_tokens=2, samples=2, temperature=1.0),
                progress=False,
            )
        with pytest.raises(DataError, match=text):
            capture(host, texts, ["resid_post.1"], keep=Keep(where=where), progress=False)


def test_positions_that_a_text_does_not_come_to_are_refused_or_said() -> None:
    host, texts = tiny_host(), ["w1 w2 w3 w4", "w9 w1"]

    def write(where: Where, n_new: int = 6) -> Rollouts:
        plan = [steer(Whole("resid_post.1"), 5 * torch.ones(host.d_model), where=where)]
        return generate(host, texts, plan, decode=Decode(max_new_tokens=n_new), progress=False)

    with pytest.raises(
        DataError, match=r"names position 8; row 1 .*has at most 8 tokens, 2 of its prompt and 6"
    ):
        write(at(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = write(at(per_row=[(1,), (6,)]))
    assert [len(rollout.ids) for rollout in whole] == [6, 6]
    (end,) = {whole[1].ids[2]}
    host.model.generation_config.eos_token_id = int(end)  # pyright: ignore
    with pytest.warns(UserWarning, match=r"1 of 2 texts ended before \(row 1 has 5 tokens, position 6 is"):
        short = write(at(per_row=[(1,), (6,)]))
    assert short[1].stop == "eos" and len(short[1].ids) == 3


def test_at_names_absolute_positions_whatever_the_padding() -> None:
    host = tiny_host()
    texts, vector = ["w1 w2 w3 w4", "w9 w1"], torch.ones(host.d_model)
    clean = forward(host, texts).logits
    same = forward(host, texts, [steer(Whole("resid_post.1"), vector, where=at(1))]).logits
    by_row = [steer(Whole("resid_post.1"), vector, where=at(per_row=[(1,), (1,)]))]
    same_by_row = forward(host, texts, by_row).logits
    for row in range(2):
        assert torch.equal(same[row][:1], clean[row][:1]) and not torch.allclose(
            same[row][1:], clean[row][1:]
        )
        assert torch.equal(same[row], same_by_row[row])
    with pytest.raises(DataError, match="position 3; text 1 has 2 tokens"):
        forward(host, texts, [steer(Whole("resid_post.1"), vector, where=at(3))])
    for wrong in ({}, {"per_row": [(), ()]}):
        with pytest.raises(BindError, match="positions"):
            at(**wrong)
    with pytest.raises(BindError, match="prompt"):
        at(-1)
