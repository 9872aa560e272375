"""top_k, top_p, min_p and repetition_penalty: Hugging Face's processors, with the noise of the whole draw."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import GenerationConfig
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import reasonmech as rm
from reasonmech.errors import ArgumentError, ConfigError, DataError
from reasonmech.experiments import load_experiment
from reasonmech.hosts import Host
from reasonmech.runtime import Decode
from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.decoding.noise import gumbel
from reasonmech.runtime.decoding.truncation import RepetitionPenalty, Truncation
from tests.layouts import layout, layout_host, layout_model

IDS = torch.zeros(6, 1, dtype=torch.long)
SETTINGS = [
    Truncation(top_k=5),
    Truncation(top_k=1000),
    Truncation(top_p=0.8),
    Truncation(top_p=0.01),
    Truncation(min_p=0.2),
    Truncation(top_k=20, top_p=0.9, min_p=0.05),
]


def logits_of(vocab: int = 300, *, ties: bool = False) -> torch.Tensor:
    logits = 3 * torch.randn(6, vocab, generator=torch.Generator().manual_seed(0))
    return logits.round() if ties else logits


def of_hugging_face(truncation: Truncation, temperature: float) -> LogitsProcessorList:
    warpers: list[Any] = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(truncation.top_k)] if truncation.top_k else []
    warpers += [TopPLogitsWarper(truncation.top_p)] if truncation.top_p < 1 else []
    warpers += [MinPLogitsWarper(truncation.min_p)] if truncation.min_p else []
    return LogitsProcessorList(warpers)


@pytest.mark.parametrize("truncation", SETTINGS, ids=repr)
@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_what_is_kept_is_what_hugging_face_keeps(
    truncation: Truncation, temperature: float, ties: bool
) -> None:
    logits = logits_of(ties=ties)
    theirs = of_hugging_face(truncation, temperature)(IDS, logits)  # pyright: ignore[reportArgumentType]
    kept = truncation.kept(logits / temperature)
    assert torch.equal(kept, theirs.isfinite())
    assert kept.any(-1).all() and (truncation.top_k == 1000 or not kept.all())
    alone = torch.cat([truncation.kept(row[None] / temperature) for row in logits])
    assert torch.equal(kept, alone)  # a batch is its rows


@pytest.mark.parametrize("truncation", SETTINGS, ids=repr)
def test_a_token_keeps_its_noise_whatever_is_left_out(truncation: Truncation) -> None:
    logits, keys, at = logits_of(), torch.arange(6), torch.full((6,), 9)
    chosen = choose(logits, temperature=0.8, keys=keys, position=at, truncation=truncation)
    scores = (logits / 0.8 + gumbel(keys, at, 300)).masked_fill(~truncation.kept(logits / 0.8), -torch.inf)
    assert torch.equal(chosen.tokens, scores.argmax(-1))
    whole = choose(logits, temperature=0.8, keys=keys, position=at)
    among = truncation.kept(logits / 0.8).gather(1, whole.tokens[:, None])[:, 0]
    assert torch.equal(chosen.tokens[among], whole.tokens[among])


def test_what_is_left_is_drawn_exactly() -> None:
    logits, n = torch.tensor([2.0, 1.0, 0.0, -1.0]), 4000
    truncation = Truncation(top_k=2)
    drawn = choose(
        logits.expand(n, 4),
        temperature=1.0,
        keys=torch.arange(n),
        position=torch.full((n,), 3),
        truncation=truncation,
    ).tokens
    expected = torch.tensor([2.0, 1.0]).softmax(0)
    assert drawn.max() == 1
    torch.testing.assert_close(drawn.bincount(minlength=2) / n, expected, atol=0.03, rtol=0)


def test_a_penalty_is_hugging_faces_over_prompt_and_answer() -> None:
    logits, prompts = logits_of(), [[3, 4, 3], [5], [0, 1], [9, 9, 9, 8], [7], [2, 3]]
    penalty = RepetitionPenalty(1.3, prompts)
    theirs = RepetitionPenaltyLogitsProcessor(1.3)

    def expected(texts: list[list[int]]) -> torch.Tensor:
        return torch.cat(
            [theirs(torch.tensor([ids]), row[None].clone()) for ids, row in zip(texts, logits, strict=True)]  # pyright: ignore[reportArgumentType]
        )

    assert torch.equal(penalty.applied(logits), expected(prompts))
    written = torch.tensor([10, 11, 12, 13, 14, 15])
    penalty.advance(written)
    texts = [[*ids, token] for ids, token in zip(prompts, written.tolist(), strict=True)]
    assert torch.equal(penalty.applied(logits), expected(texts))
    penalty.select(torch.tensor([1, 4]))
    assert torch.equal(penalty.applied(logits[[1, 4]]), expected(texts)[[1, 4]])


@pytest.mark.parametrize("name", ["words", "qwen2", "gemma"])
def test_greedy_with_a_penalty_writes_what_hugging_face_writes(name: str) -> None:
    host = layout_host(name)
    asked_for = "w1 w2 w3" if name == "words" else "Is it so? Answer:"
    ids = torch.tensor([host.encode(asked_for)])
    decode = Decode(max_new_tokens=15, repetition_penalty=1.4)
    ours = rm.generate(host, asked_for, decode=decode, progress=False)[0]
    theirs: Any = host.model.generate(  # pyright: ignore[reportCallIssue]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=15, do_sample=False, repetition_penalty=1.4
    )
    assert list(ours.ids) == theirs[0, ids.shape[1] :].tolist()
    plain = rm.generate(host, asked_for, decode=Decode(max_new_tokens=15), progress=False)[0]
    assert ours.ids != plain.ids


def test_a_batch_is_its_rows_with_every_setting() -> None:
    host = layout_host("qwen2")
    texts = ["Is it 4?", "Okay. Wait, let me check. Is it so?", "So"]
    settings = {"temperature": 0.9, "top_k": 40, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}
    batched, single = (
        rm.generate(
            host,
            texts,
            decode=Decode(max_new_tokens=14, samples=2, batch_size=size, **settings),  # pyright: ignore[reportArgumentType]
            progress=False,
        )
        for size in (8, 1)
    )
    assert [rollout.ids for rollout in batched] == [rollout.ids for rollout in single]
    whole = rm.generate(
        host, texts, decode=Decode(max_new_tokens=14, samples=2, temperature=0.9), progress=False
    )
    assert [rollout.ids for rollout in whole] != [rollout.ids for rollout in batched]


def test_settings_that_are_not_used_are_not_recorded() -> None:
    assert set(Decode(temperature=1.0, top_p=1.0).model_dump()) == set(Decode(temperature=1.0).model_dump())
    assert (
        "top_p" not in Decode().model_dump()
        and Decode(temperature=1.0, top_p=0.9).model_dump()["top_p"] == 0.9
    )


@pytest.mark.parametrize(
    "wrong", [{"top_p": 0.9}, {"temperature": 1.0, "top_p": 0.0}, {"top_k": -1}, {"repetition_penalty": 0.0}]
)
def test_settings_that_do_nothing_or_leave_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Decode(**wrong)


def published_host(**settings: Any) -> Host:
    model = layout_model("qwen2")
    model.generation_config = GenerationConfig(**settings)
    return Host(model, copy.deepcopy(layout("qwen2")), name="published")


def test_what_a_model_publishes_is_taken_at_a_word_alone() -> None:
    host = published_host(do_sample=True, temperature=0.6, top_p=0.95, top_k=20, repetition_penalty=1.05)
    assert host.sampling["top_p"] == 0.95 and "top_p" in repr(host)
    decode = Decode(max_new_tokens=9).as_published(host)
    assert decode == Decode(max_new_tokens=9, temperature=0.6, top_p=0.95, top_k=20, repetition_penalty=1.05)
    with pytest.raises(ArgumentError, match="temperature is said twice"):
        Decode(temperature=1.0).as_published(host)
    greedy = published_host(repetition_penalty=1.1)
    assert Decode().as_published(greedy) == Decode(temperature=0.0, repetition_penalty=1.1)
    with pytest.raises(DataError, match="no_repeat_ngram_size = 3"):
        Decode().as_published(published_host(no_repeat_ngram_size=3))
    with pytest.raises(DataError, match="says nothing"):
        Decode().as_published(published_host())


def test_a_hybrid_draws_from_whole_distributions() -> None:
    pair = rm.testing.tiny_pair()
    from reasonmech.hybrid import Prompted

    arm = Prompted(pair.base, "w1 {problem}")
    with pytest.raises(DataError, match="top_k, top_p, min_p or repetition_penalty for"):
        rm.generate(arm, ["w1 w2"], decode=Decode(temperature=1.0, top_p=0.9), progress=False)


def test_a_run_with_arms_is_told_before_it_begins() -> None:
    override = ["decode.temperature=0.6", "decode.top_p=0.95"]
    with pytest.raises(ConfigError, match="beside stage 'arms'"):
        load_experiment("smoke", override)
