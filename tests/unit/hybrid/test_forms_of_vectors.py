"""Forms of vectors: what is trained acts, killed trainings go on, early ends and guardrails choose."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError, ReasonmechError
from reasonmech.hybrid import (
    DisagreementGate,
    Guarded,
    Hybrid,
    OfThinking,
    OnDisk,
    Takeover,
    VectorConfig,
    Vectors,
    forms,
    train_vectors,
)
from reasonmech.hybrid.disagreements import CleanPass, Disagreements, clean_passes, find_disagreements
from reasonmech.hybrid.leaking import leaking_logits
from reasonmech.hybrid.means import mean_differences
from reasonmech.hybrid.steering import Steering
from reasonmech.hybrid.vector_forms import ByCategory, VectorScale
from reasonmech.kinds import sentence_starts
from reasonmech.rollout import Rollouts
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.tasks.chain.world import CHAIN
from tests.chain_models import random_pair

PAIR = random_pair()
KINDS = OneWordKinds(CHAIN.onset_words, PAIR.base.tokenizer)
N, SITE = len(KINDS.names), PAIR.base.check_site("resid_post.1")
FEW = {"steps": 12, "min_count": 1, "batch_rollouts": 4}


@pytest.fixture(scope="module")
def written() -> Rollouts:
    problems = rm.load_task("chain", n=10, seed=1)
    return rm.generate(PAIR.thinking, problems, decode=rm.Decode(max_new_tokens=24), progress=False)


class Passes(NamedTuple):
    clean: list[CleanPass]
    disagreements: Disagreements


@pytest.fixture(scope="module")
def passes(written: Rollouts) -> Passes:
    clean = list(clean_passes(PAIR.base, written, batch_size=4))
    return Passes(clean, find_disagreements(clean, written, KINDS))


@torch.no_grad()
def loss(vectors: Vectors, passes: Passes) -> float:
    """Of the vectors as a hybrid would use them."""
    clean, disagreements = passes
    total = 0.0
    for one in clean:
        rows = disagreements.rows_in(one)
        for r in rows.tolist():
            position, category = disagreements.position[[r]], disagreements.category[[r]]

            def edit(x, category=category):
                return x + vectors.added(x, category)

            logits = one.steered(PAIR.base, SITE, disagreements.rollout[[r]], position, edit)
            total -= float(logits.float().log_softmax(-1)[0, disagreements.target[r]])
    return total / len(disagreements)


@pytest.mark.parametrize("form", forms.kinds())
def test_every_form_is_learnt_and_acts_as_it_was_trained(
    form: str, written: Rollouts, passes: Passes
) -> None:
    config = VectorConfig(form=form, **(FEW | {"steps": 24}), held_out=0.1)
    trained = train_vectors(PAIR.base, SITE, written, kinds=KINDS, config=config, progress=False)
    untrained = Vectors(
        PAIR.base, SITE, table=torch.zeros(N, PAIR.base.d_model), trained=torch.ones(N, dtype=torch.bool)
    )
    as_used = loss(trained.vectors, passes)
    assert as_used < loss(untrained, passes)
    assert (trained.vectors.scale is not None) == (form == "scaled")
    if form == "shared":
        assert (trained.vectors.table == trained.vectors.table[0]).all()
    clean, disagreements = passes
    shift = ByCategory(*trained.vectors.table.shape)
    shift.load_state_dict({"table": trained.vectors.table})
    shift.scale = trained.vectors.scale
    steering = Steering(PAIR.base, SITE, shift)
    assert steering.mean_loss(clean, disagreements) == pytest.approx(as_used, rel=1e-4)


@pytest.mark.parametrize("form", ["bias", "scaled"])
@pytest.mark.parametrize("patience", [0, 20])
def test_a_killed_training_ends_with_the_vectors_of_an_undisturbed_one(
    form: str, patience: int, written: Rollouts, tmp_path: Path, monkeypatch
) -> None:
    config = VectorConfig(form=form, patience=patience, **(FEW | {"steps": 12}))
    arguments = {"kinds": KINDS, "config": config, "progress": False}
    whole = train_vectors(PAIR.base, OnDisk(SITE, tmp_path / "a"), written, **arguments).vectors
    calls, real = [], Steering.gradient

    def killed(*args):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(Steering, "gradient", killed)
    with pytest.raises(KeyboardInterrupt):
        train_vectors(PAIR.base, OnDisk(SITE, tmp_path / "b"), written, **arguments)
    again = train_vectors(PAIR.base, OnDisk(SITE, tmp_path / "b"), written, **arguments).vectors
    torch.testing.assert_close(again.table, whole.table, rtol=0, atol=0)
    if whole.scale is not None and again.scale is not None:
        for name, value in whole.scale.state_dict().items():
            torch.testing.assert_close(again.scale.state_dict()[name], value, rtol=0, atol=0)


def test_an_early_end_keeps_the_best_round(written: Rollouts, monkeypatch) -> None:
    """Two rounds of two batches get better and two get worse: what two rounds alone give is kept."""
    config = VectorConfig(**(FEW | {"steps": 4}))
    arguments = {"kinds": KINDS, "progress": False}
    two_rounds = train_vectors(PAIR.base, SITE, written, config=config, **arguments)
    losses, steps, real = iter([3.0, 2.0, 2.5, 2.1]), [], Steering.gradient
    monkeypatch.setattr(Steering, "mean_loss", lambda *_: next(losses))
    monkeypatch.setattr(Steering, "gradient", lambda *args: (steps.append(1), real(*args))[1])
    patient = config.model_copy(update={"steps": 200, "patience": 2})
    ended = train_vectors(PAIR.base, SITE, written, config=patient, **arguments)
    assert len(steps) == 8
    torch.testing.assert_close(ended.vectors.table, two_rounds.vectors.table, rtol=0, atol=0)


def test_the_best_of_several_seeds_is_one_of_them(written: Rollouts) -> None:
    one = VectorConfig(form="scaled", **FEW)
    several = one.model_copy(update={"best_of": 3})
    best = train_vectors(PAIR.base, SITE, written, kinds=KINDS, config=several, progress=False)
    alone = [
        train_vectors(
            PAIR.base, SITE, written, kinds=KINDS, config=one.model_copy(update={"seed": s}), progress=False
        )
        for s in several.seeds()
    ]
    assert best.agreement == max(a.agreement for a in alone)
    assert any(torch.equal(best.vectors.table, a.vectors.table) for a in alone)


def test_a_balanced_step_weighs_categories_alike(passes: Passes) -> None:
    disagreements = passes.disagreements
    steering = Steering(PAIR.base, SITE, ByCategory(N, PAIR.base.d_model), balanced=True)
    rows = torch.arange(len(disagreements))
    weights = steering._weights(disagreements, rows)
    sums = [float(weights[disagreements.category == c].sum()) for c in disagreements.category.unique()]
    assert len(sums) > 1 and sums == pytest.approx([1 / len(sums)] * len(sums))


@torch.no_grad()
def test_leaking_keys_change_what_comes_after_a_steered_position(
    written: Rollouts,
) -> None:
    text = torch.tensor([written[0].all_ids])
    table = torch.randn(1, PAIR.base.d_model, generator=torch.Generator().manual_seed(0)) * 10
    at = (torch.tensor([0, 0]), torch.tensor([5, 12]))
    together = leaking_logits(PAIR.base, SITE, text, at, lambda x: x + table)
    (clean,) = clean_passes(PAIR.base, [written[0]])
    isolated = clean.steered(PAIR.base, SITE, *at, lambda x: x + table)
    torch.testing.assert_close(together[0], isolated[0], rtol=1e-4, atol=1e-4)  # nothing before it is steered
    assert (together[1] - isolated[1]).abs().max() > 0.02
    alone = leaking_logits(PAIR.base, SITE, text, (at[0][1:], at[1][1:]), lambda x: x + table)
    torch.testing.assert_close(alone[0], isolated[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_means_are_what_a_loop_over_texts_gives(written: Rollouts) -> None:
    vectors = mean_differences(PAIR.base, SITE, written, KINDS, batch_size=3)
    streams: dict[int, list[torch.Tensor]] = {}
    for rollout in written:
        hidden = PAIR.base.model(torch.tensor([rollout.all_ids]), output_hidden_states=True).hidden_states[2][
            0
        ]
        (starts,) = sentence_starts(KINDS, [rollout.ids])
        category = KINDS.label(torch.tensor(rollout.ids))
        for t in starts.nonzero()[:, 0].tolist():
            if not rollout.by_environment[t] and not (rollout.stop == "eos" and t == len(rollout.ids) - 1):
                streams.setdefault(int(category[t]), []).append(hidden[len(rollout.prompt_ids) + t - 1])
    everywhere = [h for hs in streams.values() for h in hs]
    for category, of_category in streams.items():
        if not vectors.trained[category] or KINDS.names[category] == "stop":
            continue
        rest = [h for c, hs in streams.items() if c != category for h in hs]
        if len(of_category) + len(rest) == len(everywhere) and rest:
            expected = torch.stack(of_category).mean(0) - torch.stack(rest).mean(0)
            torch.testing.assert_close(vectors.table[category], expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(DataError, match="2 categories or more"):
        mean_differences(PAIR.base, SITE, [_cut(written[0])], KINDS)


def _cut(rollout):
    """Its first token alone."""
    from dataclasses import replace

    return replace(
        rollout, ids=rollout.ids[:1], by_environment=(False,), steered=(False,), stop="length", text=""
    )


def write(executor, temperature: float = 0.0) -> list[tuple[int, ...]]:
    hybrid = Hybrid(PAIR, gate=DisagreementGate(), selector=OfThinking(), executor=executor, kinds=KINDS)
    decode = rm.Decode(max_new_tokens=14, temperature=temperature, batch_size=3)
    return [r.ids for r in rm.generate(hybrid, rm.load_task("chain", n=4), decode=decode, progress=False)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_guardrail_of_one_strength_is_that_strength(temperature: float) -> None:
    table = torch.randn(N, PAIR.base.d_model, generator=torch.Generator().manual_seed(0)) * 20
    made = {"trained": torch.ones(N, dtype=torch.bool)}
    vectors, half = (Vectors(PAIR.base, SITE, table=table * c, **made) for c in (1.0, 0.5))
    by_half = write(half, temperature)
    assert write(Guarded(vectors, [0.5]), temperature) == by_half
    assert write(Guarded(vectors, [0.5, 0.5]), temperature) == by_half


def test_a_guardrail_takes_the_token_that_the_thinking_model_likes_best() -> None:
    """A vector that makes the base write anything, at strengths that hold nothing: the guard chooses 0."""
    table = torch.randn(N, PAIR.base.d_model, generator=torch.Generator().manual_seed(0)) * 60
    vectors = Vectors(PAIR.base, SITE, table=table, trained=torch.ones(N, dtype=torch.bool))

    def liked(executor) -> float:
        """How often the steered token is the thinking model's."""
        hybrid = Hybrid(PAIR, gate=DisagreementGate(), selector=OfThinking(), executor=executor, kinds=KINDS)
        hits, n = 0, 0
        problems = rm.load_task("chain", n=5)
        for r in rm.generate(hybrid, problems, decode=rm.Decode(max_new_tokens=20), progress=False):
            for t in range(len(r.ids)):
                if r.steered[t] and not r.by_environment[t]:
                    ids = torch.tensor([[*r.prompt_ids, *r.ids[:t]]])
                    log_p = PAIR.thinking.model(ids).logits[0, -1].log_softmax(-1)
                    hits, n = hits + float(log_p[r.ids[t]].detach()), n + 1
        return hits / n

    assert liked(Guarded(vectors, [0.0, 0.25, 0.5, 1.0])) > liked(vectors)
    assert liked(Takeover()) >= liked(Guarded(vectors, [0.0, 0.25, 0.5, 1.0]))


def test_random_directions_keep_the_scale() -> None:
    table, scale = torch.ones(N, PAIR.base.d_model), VectorScale(PAIR.base.d_model, N)
    vectors = Vectors(PAIR.base, SITE, table=table, trained=torch.ones(N, dtype=torch.bool), scale=scale)
    assert vectors.random(0).scale is scale
    x, category = torch.randn(3, PAIR.base.d_model), torch.tensor([0, 1, 2])
    torch.testing.assert_close(vectors.added(x, category), scale(x, category) * table[category])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"form": "vektors"}, "vectors"),
        ({"keys": "open"}, "isolated"),
        ({"best_of": 0}, "best_of"),
        ({"patience": -1}, "patience"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, message) -> None:
    with pytest.raises(ReasonmechError, match=message):
        VectorConfig(**config)
    trained = torch.ones(N, dtype=torch.bool)
    vectors = Vectors(PAIR.base, SITE, table=torch.ones(N, PAIR.base.d_model), trained=trained)
    with pytest.raises(ReasonmechError, match="strengths"):
        Guarded(vectors, [])
