"""Probabilities of kinds are sums over their first words, and a kind is drawn before its word."""

from __future__ import annotations

import math

import pytest
import torch

from reasonmech.kinds import Openings
from reasonmech.rollout import OTHER, STOP
from reasonmech.tasks.chain import CHAIN, OneWordKinds, word_tokenizer
from reasonmech.tasks.chain.world import FORMS

TOKENIZER = word_tokenizer()
N = len(TOKENIZER)


def openings(world=FORMS) -> tuple[Openings, OneWordKinds]:
    kinds = OneWordKinds(world.onset_words, TOKENIZER)
    return Openings(kinds, N, without=(OTHER,)), kinds


def token(word: str) -> int:
    return int(TOKENIZER.convert_tokens_to_ids(word))


def logits(probabilities: dict[str, float]) -> torch.Tensor:
    """[1, token] logits of a distribution whose rest lies on a word that begins nothing."""
    p = torch.full((1, N), 1e-12)
    p[0, token("kite")] = max(1e-12, 1 - sum(probabilities.values()))
    for word, value in probabilities.items():
        p[0, token(word)] = value
    return p.log()


def test_a_kind_is_as_probable_as_all_of_its_words_together() -> None:
    opened, kinds = openings()
    assert [kinds.names[k] for k in opened.categories] == [*FORMS.onset_words, STOP]
    spread = {"next": 0.2, "then": 0.15, "and": 0.1, "so": 0.3, "check": 0.05}
    of_kinds = opened.of_kinds(logits(spread)).exp()[0]
    by_name = dict(zip([kinds.names[k] for k in opened.categories], of_kinds.tolist(), strict=True))
    assert by_name["step"] == pytest.approx(0.45) and by_name["conclude"] == pytest.approx(0.3)
    assert by_name["check"] == pytest.approx(0.05) and by_name["backtrack"] < 1e-9


def test_the_likeliest_kind_wins_over_the_likeliest_word() -> None:
    opened, _ = openings()
    onset = logits({"next": 0.2, "then": 0.15, "and": 0.1, "so": 0.3})
    words = logits({"and": 0.02, "next": 0.01, "so": 0.9})
    assert int(onset.argmax()) == token("so"), "read token by token it would conclude"
    chosen = opened.compose(opened.of_kinds(onset), words, temperature=0.0)
    assert int(chosen.argmax()) == token("and"), "the onset's kind, in the executor's word"


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_at_a_temperature_the_kind_is_drawn_and_then_its_word(temperature: float) -> None:
    opened, kinds = openings()
    onset = logits({"next": 0.2, "then": 0.15, "and": 0.1, "so": 0.3, "check": 0.05})
    words = logits({"next": 0.6, "then": 0.1, "and": 0.1, "so": 0.05, "all": 0.05, "check": 0.1})
    composed = opened.compose(opened.of_kinds(onset), words, temperature=temperature)
    drawn = (composed / temperature).softmax(-1)[0]
    tempered = {k: p ** (1 / temperature) for k, p in {"step": 0.45, "conclude": 0.3, "check": 0.05}.items()}
    for kind, tempered_words in (
        ("step", {w: p ** (1 / temperature) for w, p in {"next": 0.6, "then": 0.1, "and": 0.1}.items()}),
        ("conclude", {"so": 1.0, "all": 1.0}),
        ("check", {"check": 1.0}),
    ):
        for word, weight in tempered_words.items():
            wanted = tempered[kind] / sum(tempered.values()) * weight / sum(tempered_words.values())
            assert float(drawn[token(word)]) == pytest.approx(wanted, rel=1e-3), word
    assert float(drawn[token("kite")]) == 0.0, "what begins nothing is never drawn"
    assert math.isclose(float(drawn.sum()), 1.0, rel_tol=1e-5) and kinds.names[-1] == OTHER


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_with_one_word_per_kind_the_logits_are_the_onsets_to_the_last_bit(temperature: float) -> None:
    opened, _ = openings(CHAIN)
    onset, words = torch.randn(2, 5, N, generator=torch.Generator().manual_seed(0)) * 7
    composed = opened.compose(opened.of_kinds(onset), words, temperature=temperature)
    first = torch.cat(opened.tokens)
    assert torch.equal(composed[:, first], onset[:, first])
    others = torch.ones(N, dtype=torch.bool)
    others[first] = False
    assert bool((composed[:, others] == -torch.inf).all())
