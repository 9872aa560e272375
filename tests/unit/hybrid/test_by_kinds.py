"""Gates, disagreements and vectors by kind: kinds are compared, each summed over its first words."""

from __future__ import annotations

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hybrid import DisagreementGate, Ingredients, OfThinking, VectorConfig, hybrid_from_config
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.hybrid.executors import Takeover
from reasonmech.hybrid.gates import KindGate
from reasonmech.hybrid.parts import Moment
from reasonmech.hybrid.train import train_vectors
from reasonmech.kinds import Openings, sentence_starts
from reasonmech.tasks.chain import OneWordKinds, word_tokenizer
from reasonmech.tasks.chain.world import CHAIN, FORMS
from tests.chain_models import random_pair

TOKENIZER = word_tokenizer()
N = len(TOKENIZER)
PAIR = random_pair()
KINDS = OneWordKinds(FORMS.onset_words, TOKENIZER)
OPENINGS = Openings(KINDS, N)


def logits(*rows: dict[str, float]) -> torch.Tensor:
    """[row, token] logits of distributions whose rest lies on a word that begins no kind."""
    p = torch.full((len(rows), N), 1e-9)
    for row, probabilities in enumerate(rows):
        p[row, TOKENIZER.convert_tokens_to_ids("kite")] = max(1e-9, 1 - sum(probabilities.values()))
        for word, value in probabilities.items():
            p[row, TOKENIZER.convert_tokens_to_ids(word)] = value
    return p.log()


def moment(base: torch.Tensor, thinking: torch.Tensor, *, temperature: float = 0.0, **changed) -> Moment:
    n = len(base)
    chosen = (base.argmax(-1), thinking.argmax(-1))
    keys = torch.arange(n) * 7919 + 13
    no = torch.zeros(n, dtype=torch.bool)
    parts = {"base_alone_ends": no, "boundary": ~no, "position": torch.full((n,), 9)} | changed
    return Moment(base, thinking, *chosen, torch.zeros(n).long(), keys=keys, temperature=temperature, **parts)


SPREAD = {"next": 0.2, "then": 0.15, "and": 0.1, "so": 0.3}  # likeliest kind: step; likeliest word: so


@pytest.mark.parametrize(
    ("base", "thinking", "by_kind", "by_token"),
    [
        ({"next": 0.9}, {"then": 0.9}, False, True),
        ({"next": 0.9}, {"check": 0.9}, True, True),
        (SPREAD, {"and": 0.9}, False, True),
        (SPREAD, {"so": 0.9}, True, False),
        ({"next": 0.9}, {"next": 0.9}, False, False),
        ({"next": 0.9}, {}, True, True),  # a sentence of no kind is another kind
        ({"boat": 0.6}, {"dog": 0.6}, False, True),
    ],
)
def test_the_gate_compares_kinds(base: dict, thinking: dict, by_kind: bool, by_token: bool) -> None:
    at = moment(logits(base), logits(thinking))
    assert KindGate(OPENINGS).opens(at).tolist() == [by_kind]
    assert DisagreementGate(boundaries=True).opens(at).tolist() == [by_token]


def test_the_gate_opens_where_a_sentence_begins_or_only_the_base_would_end() -> None:
    apart, same = (logits({"next": 0.9}), logits({"check": 0.9})), (logits({"next": 0.9}),) * 2
    no, yes = torch.tensor([False]), torch.tensor([True])
    assert KindGate(OPENINGS).opens(moment(*apart, boundary=no)).tolist() == [False]
    assert KindGate(OPENINGS).opens(moment(*same, base_alone_ends=yes)).tolist() == [True]


def test_at_a_temperature_kinds_are_drawn_under_one_noise() -> None:
    n = 4000
    base = logits({"next": 0.6, "check": 0.4}).expand(n, -1)
    other_words = logits({"then": 0.6, "sure": 0.4}).expand(n, -1)
    assert not KindGate(OPENINGS).opens(moment(base, other_words, temperature=1.0)).any()
    other_kinds = logits({"then": 0.2, "sure": 0.8}).expand(n, -1)
    share = float(KindGate(OPENINGS).opens(moment(base, other_kinds, temperature=1.0)).float().mean())
    assert 0.4 - 0.03 < share < 0.4 + 0.12, "no less than the distance between the two, and little more"


def ingredients(kinds) -> Ingredients:
    return Ingredients(PAIR, kinds, vectors=None, clamp=None, rate=None)


def test_a_configuration_names_the_gate() -> None:
    hybrid = hybrid_from_config(
        ingredients(KINDS), {"gate": {"kind": "kinds"}, "executor": {"kind": "takeover"}}
    )
    assert isinstance(hybrid.gate, KindGate) and len(hybrid.gate.openings.categories) == len(KINDS.names)
    nothing = OneWordKinds({}, TOKENIZER)
    with pytest.raises(DataError, match="no first token decides"):
        Openings(nothing, N, without=("stop",))


def test_with_one_word_per_kind_kinds_and_tokens_are_compared_alike() -> None:
    pair, problems = rm.load_pair("tiny-when"), rm.load_task("chain", n=8, seed=0)
    kinds = OneWordKinds(CHAIN.onset_words, TOKENIZER)
    texts = []
    for gate in (KindGate(Openings(kinds, N)), DisagreementGate(boundaries=True)):
        hybrid = rm.Hybrid(pair, gate=gate, selector=OfThinking(), executor=Takeover(), kinds=kinds)
        decode = rm.Decode(max_new_tokens=160)
        texts.append(
            [(r.ids, r.steered) for r in rm.generate(hybrid, problems, decode=decode, progress=False)]
        )
    assert texts[0] == texts[1] and any(any(steered) for _, steered in texts[0])


@pytest.fixture(scope="module")
def rollouts() -> rm.Rollouts:
    problems = rm.load_task("chain-forms", n=16, seed=0, split="train")
    return rm.generate(PAIR.thinking, problems, decode=rm.Decode(max_new_tokens=48), progress=False)


def test_disagreements_by_kind_equal_a_loop(rollouts: rm.Rollouts) -> None:
    passes = list(clean_passes(PAIR.base, rollouts, batch_size=5, openings=OPENINGS))
    rows = find_disagreements(passes, rollouts, KINDS)
    wanted = []
    for r, rollout in enumerate(rollouts):
        ids = torch.tensor(rollout.ids)
        (starts,), category = sentence_starts(KINDS, [ids.tolist()]), KINDS.label(ids)
        with torch.no_grad():
            probabilities = PAIR.base.model(torch.tensor([rollout.all_ids])).logits[0].softmax(-1)
        begin = len(rollout.prompt_ids)
        for t in range(len(ids)):
            sums = [
                float(probabilities[begin + t - 1][: len(KINDS.of_token) - 1][KINDS.of_token[:N] == k].sum())
                for k in range(len(KINDS.names))
            ]
            likeliest = max(range(len(sums)), key=sums.__getitem__)
            if starts[t] and not rollout.by_environment[t] and likeliest != int(category[t]):
                wanted.append((r, begin + t - 1, rollout.ids[t]))
    assert wanted and wanted == list(
        zip(rows.rollout.tolist(), rows.position.tolist(), rows.target.tolist(), strict=True)
    )
    by_token = find_disagreements(list(clean_passes(PAIR.base, rollouts)), rollouts, KINDS)
    assert len(rows) < len(by_token) and rows.rate < by_token.rate


def test_vectors_are_trained_by_kind(rollouts: rm.Rollouts) -> None:
    trained, untrained = (
        train_vectors(
            PAIR.base,
            "resid_post.1",
            rollouts,
            kinds=KINDS,
            config=VectorConfig(steps=steps, by="kind", min_count=1),
            progress=False,
        )
        for steps in (60, 1)
    )
    assert trained.agreement > untrained.agreement and trained.counts == untrained.counts
