"""Kinds that no first word decides and no full stop ends: the hybrid asks what a token would begin."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from reasonmech.errors import ArgumentError, DataError
from reasonmech.hybrid import (
    DisagreementGate,
    Hybrid,
    Ingredients,
    OfThinking,
    Takeover,
    VectorConfig,
    Vectors,
    hybrid_from_config,
    train_vectors,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.hybrid.parts import Moment
from reasonmech.kinds import Kinds, KindTracker, opening_categories
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import tiny_pair

PAIR = tiny_pair()
SITE = "resid_post.1"
DECODE = Decode(max_new_tokens=24, batch_size=4)
PROMPTS = [f"w{i} w{(3 * i) % 50} w{(7 * i) % 50}" for i in range(1, 9)]


class Trends(Kinds):
    """A sentence is two to four tokens long: as many as the sentences before it make it.

    It rises or falls with its last two tokens; where the sentence before it did the same, it repeats that.
    """

    names = ("rises", "falls", "repeats", "other")

    def track(self, batch: int) -> TrendTracker:
        return TrendTracker(batch)


class TrendTracker:
    def __init__(self, batch: int) -> None:
        self._texts: list[list[list[int]]] = [[[]] for _ in range(batch)]  # row -> sentences -> tokens

    @property
    def boundary(self) -> Tensor:
        return torch.tensor([not sentences[-1] for sentences in self._texts])

    def category(self, proposed: Tensor) -> Tensor:
        rows = zip(self._texts, proposed.tolist(), strict=True)
        return torch.tensor([self._category(sentences, token) for sentences, token in rows])

    def advance(self, tokens: Tensor) -> None:
        for sentences, token in zip(self._texts, tokens.tolist(), strict=True):
            sentences[-1].append(token)
            if len(sentences[-1]) == 2 + len(sentences) % 3:
                sentences.append([])

    def select(self, rows: Tensor) -> None:
        self._texts = [self._texts[row] for row in rows.tolist()]

    def copy(self) -> TrendTracker:
        copied = TrendTracker(0)
        copied._texts = deepcopy(self._texts)
        return copied

    def put(self, rows: Tensor, other: TrendTracker, others: Tensor) -> None:
        for row, one in zip(rows.tolist(), others.tolist(), strict=True):
            self._texts[row] = deepcopy(other._texts[one])

    @staticmethod
    def _trend(sentence: list[int]) -> int:
        return 3 if len(sentence) < 2 else 0 if sentence[-1] > sentence[-2] else 1

    def _category(self, sentences: list[list[int]], token: int) -> int:
        trend = self._trend([*sentences[-1], token])
        repeats = trend != 3 and len(sentences) > 1 and trend == self._trend(sentences[-2])
        return 2 if repeats else trend


KINDS = Trends()


@pytest.fixture(scope="module")
def rollouts() -> Rollouts:
    return generate(PAIR.thinking, PROMPTS, decode=DECODE, progress=False)


def test_the_fakes_are_kinds_and_their_categories_need_several_tokens() -> None:
    assert isinstance(KINDS, Kinds) and isinstance(KINDS.track(1), KindTracker)
    labelled = KINDS.label(torch.tensor([5, 9, 7, 8, 9, 3, 2, 4, 5, 1]))
    assert [KINDS.names[i] for i in labelled] == [
        *("other", "rises", "falls"),  # three tokens
        *("other", "rises", "repeats", "repeats"),  # four, after a sentence that ended falling
        *("other", "rises"),  # two
        "other",
    ]
    assert set(opening_categories(KINDS, 10).tolist()) == {3}, "no first token begins a kind"


def slow_categories(ids: tuple[int, ...], thinking: list[int]) -> list[int]:
    """Category of what the thinking model would write next, by labelling the whole text anew."""
    return [int(KINDS.label(torch.tensor([*ids[:t], token]))[-1]) for t, token in enumerate(thinking)]


class Spy:
    """Selects as `OfThinking` does, and remembers category and choice of every row at every step."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def select(self, moment: Moment) -> Tensor:
        self.moments.append(moment)
        return moment.category


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_hybrid_follows_kinds_that_depend_on_everything_written_before(batch_size: int) -> None:
    spy = Spy()
    table = 20 * torch.randn(4, PAIR.base.d_model, generator=torch.Generator().manual_seed(1))
    executor = Vectors(PAIR.base, SITE, table=table, trained=torch.ones(4, dtype=torch.bool))
    hybrid = Hybrid(PAIR, gate=DisagreementGate(), selector=spy, executor=executor, kinds=KINDS)
    decode = Decode(max_new_tokens=12, batch_size=batch_size)
    steered = generate(hybrid, PROMPTS, decode=decode, progress=False)
    plain = generate(PAIR.base, PROMPTS, decode=decode, progress=False)
    assert [r.ids for r in steered] != [r.ids for r in plain], "steering must change something"
    rows: dict[int, list[tuple[int, int]]] = {}
    for moment in spy.moments:
        for key, category, choice in zip(
            moment.keys.tolist(), moment.category.tolist(), moment.thinking_choice.tolist(), strict=True
        ):
            rows.setdefault(key, []).append((category, choice))
    assert len(rows) == len(steered)
    for rollout, row in zip(steered, rows.values(), strict=True):
        categories, choices = zip(*row, strict=True)
        assert list(categories) == slow_categories(rollout.ids, list(choices))
    assert len({category for row in rows.values() for category, _ in row}) == 4, "every category was met"


def test_disagreements_have_the_category_of_the_token_that_was_written(rollouts: Rollouts) -> None:
    passes = list(clean_passes(PAIR.base, rollouts, batch_size=4))
    disagreements = find_disagreements(passes, rollouts, KINDS)
    assert len(disagreements) > 20
    for r, position, category in zip(
        disagreements.rollout.tolist(),
        disagreements.position.tolist(),
        disagreements.category.tolist(),
        strict=True,
    ):
        t = position + 1 - len(rollouts[r].prompt_ids)
        assert category == KINDS.label(torch.tensor(rollouts[r].ids))[t]


def test_vectors_are_trained_for_kinds_without_onset_words(rollouts: Rollouts) -> None:
    config = VectorConfig(steps=60, min_count=1, batch_rollouts=4)
    trained = train_vectors(PAIR.base, SITE, rollouts, kinds=KINDS, config=config, progress=False)
    assert set(trained.counts) == set(KINDS.names) and all(trained.counts.values())
    few = train_vectors(
        PAIR.base, SITE, rollouts, kinds=KINDS, config=config.model_copy(update={"steps": 1}), progress=False
    )
    assert trained.agreement >= few.agreement and trained.agreement > 0
    ingredients = Ingredients(PAIR, KINDS, trained.vectors, clamp=None, rate=0.1)  # type: ignore[arg-type]
    hybrid = hybrid_from_config(ingredients, {"selector": {"kind": "thinking", "among": ["rises", "falls"]}})
    assert hybrid.selector == OfThinking((0, 1)) and hybrid.kinds is KINDS


def test_a_hybrid_without_kinds_asks_the_task_of_the_pair() -> None:
    parts = {"gate": DisagreementGate(), "selector": OfThinking(), "executor": Takeover()}
    with pytest.raises(DataError, match="names no task"):
        Hybrid(PAIR, **parts)  # type: ignore[arg-type]
    assert Hybrid(PAIR, kinds=KINDS, **parts).kinds is KINDS  # type: ignore[arg-type]


def test_a_part_that_is_none_is_refused() -> None:
    parts = {"gate": DisagreementGate(), "selector": OfThinking(), "executor": Takeover(), "kinds": KINDS}
    for name, wrong, described in (
        ("gate", DisagreementGate, "the class DisagreementGate"),
        ("gate", OfThinking(), "an OfThinking"),
        ("selector", lambda moment: moment.category, "the function <lambda>"),
        ("executor", torch.zeros(3), "a Tensor of shape"),
        ("kinds", "chain", "the string 'chain'"),
    ):
        with pytest.raises(ArgumentError) as raised:
            Hybrid(PAIR, **parts | {name: wrong})  # type: ignore[arg-type]
        assert raised.value.happened.startswith(f"{name} is {described}"), name
    with pytest.raises(ArgumentError, match="pair is a Host"):
        Hybrid(PAIR.base, **parts)  # type: ignore[arg-type]


def test_training_says_what_it_takes(rollouts: Rollouts) -> None:
    with pytest.raises(ArgumentError, match="host is a ModelPair"):
        train_vectors(PAIR, SITE, rollouts, kinds=KINDS)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="kinds is the string 'chain'"):
        train_vectors(PAIR.base, SITE, rollouts, kinds="chain")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"rollouts\[0\] is the string"):
        train_vectors(PAIR.base, SITE, PROMPTS, kinds=KINDS)  # type: ignore[arg-type]


def test_one_word_kinds_say_what_they_take() -> None:
    tokenizer = PAIR.base.tokenizer
    assert OneWordKinds({"one": "w1"}, tokenizer).names == ("one", "stop", "other")
    with pytest.raises(DataError, match="no single token for 'wait'"):
        OneWordKinds({"backtrack": "wait"}, tokenizer)
    with pytest.raises(ArgumentError, match="onset_words is the string 'chain'"):
        OneWordKinds("chain", tokenizer)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="tokenizer is a Host"):
        OneWordKinds({"one": "w1"}, PAIR.base)  # type: ignore[arg-type]
