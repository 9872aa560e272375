"""The lockstep decoder equals a loop of ten lines without caches, and training a vector equals decoding with
it."""

from __future__ import annotations

import pytest
import torch

from reasonmech.errors import BindError, DataError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid import (
    AtRandom,
    DisagreementGate,
    Hybrid,
    Ingredients,
    OfThinking,
    Takeover,
    Vectors,
    WrongCategory,
    arms,
    percent_steered,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.hybrid.executors import ClampFeatures
from reasonmech.hybrid.steering import Steering
from reasonmech.hybrid.train import VectorConfig, train_vectors
from reasonmech.hybrid.vector_forms import ByCategory
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.rerun import rerun
from reasonmech.tasks import load_task, tasks
from tests.chain_models import random_pair
from tests.unit.tasks.chain_text import CAREFUL, TOKENIZER, rollout, trace

SITE = "resid_post.1"


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return random_pair()


@pytest.fixture(scope="module")
def problems() -> ProblemSet:
    return load_task("chain", n=4, seed=0)


@pytest.fixture(scope="module")
def vectors(pair: ModelPair) -> Vectors:
    kinds = tasks.get("chain").kinds(pair.base.tokenizer)
    table = torch.randn(len(kinds.names), pair.base.d_model, generator=torch.Generator().manual_seed(0)) * 20
    return Vectors(pair.base, SITE, table=table, trained=torch.ones(len(kinds.names), dtype=torch.bool))


def run(
    decoder: Host | Hybrid, problems: ProblemSet, *, batch_size: int = 8, temperature: float = 0.0
) -> Rollouts:
    decode = Decode(max_new_tokens=24, batch_size=batch_size, temperature=temperature)
    return generate(decoder, problems, decode=decode, progress=False, receipt="none")


def hybrid(pair: ModelPair, executor: Vectors | Takeover | ClampFeatures, **parts: object) -> Hybrid:
    chosen = {"gate": DisagreementGate(), "selector": OfThinking()} | parts
    return Hybrid(pair, executor=executor, **chosen)  # type: ignore[arg-type]


def slow(pair: ModelPair, vectors: Vectors, problems: ProblemSet, index: int) -> tuple[list[int], list[bool]]:
    """Reference: no cache, no batch, no tracker; categories by labelling the whole text anew."""
    kinds, problem = tasks.get("chain").kinds(pair.base.tokenizer), problems[index]
    ids = pair.base.encode(problem.prompt)
    scribe = problems.environment.scribe(problem, 0, pair.base.tokenizer)
    begin, steered = len(ids), []
    for _ in range(24):
        text = torch.tensor([ids])
        base, thinking = (h.model(text).logits[0, -1] for h in (pair.base, pair.thinking))
        chosen, differs = base.argmax(), bool(base.argmax() != thinking.argmax())
        if differs:
            category = kinds.label(torch.tensor([*ids[begin:], int(thinking.argmax())]))[-1]

            def add(x: torch.Tensor, category: torch.Tensor = category) -> torch.Tensor:
                x = x.clone()
                x[:, -1] += vectors.table[category]
                return x

            handle = pair.base.hook_point(SITE).attach(add)
            chosen = pair.base.model(text).logits[0, -1].argmax()
            handle.remove()
        ids.append(scribe.write(int(chosen)).token)
        steered.append(differs)
        if ids[-1] in pair.base.eos_ids:
            break
    return ids[begin:], steered


@torch.no_grad()
def test_lockstep_equals_the_slow_loop(pair: ModelPair, vectors: Vectors, problems: ProblemSet) -> None:
    plain, steered = run(pair.base, problems), run(hybrid(pair, vectors), problems)
    assert any(a.ids != b.ids for a, b in zip(plain, steered, strict=True)), "steering must change something"
    assert 0 < percent_steered(steered).share < 1
    for i, written in enumerate(steered):
        ids, flags = slow(pair, vectors, problems, i)
        assert list(written.ids) == ids
        assert list(written.steered) == flags


def test_batch_equals_single_rows(pair: ModelPair, vectors: Vectors, problems: ProblemSet) -> None:
    for temperature in (0.0, 1.0):
        together = run(hybrid(pair, vectors), problems, temperature=temperature)
        alone = run(hybrid(pair, vectors), problems, batch_size=1, temperature=temperature)
        assert [r.ids for r in together] == [r.ids for r in alone]
        assert [r.steered for r in together] == [r.steered for r in alone]


def test_takeover_is_the_thinking_model(pair: ModelPair, problems: ProblemSet) -> None:
    for temperature in (0.0, 1.0):
        thinking = run(pair.thinking, problems, temperature=temperature)
        taken = run(hybrid(pair, Takeover()), problems, temperature=temperature)
        assert [r.ids for r in thinking] == [r.ids for r in taken]
        base = run(pair.base, problems, temperature=temperature)
        assert [r.ids for r in base] != [r.ids for r in taken]


def test_zero_vectors_are_the_base(pair: ModelPair, vectors: Vectors, problems: ProblemSet) -> None:
    zero = Vectors(pair.base, SITE, table=torch.zeros_like(vectors.table), trained=vectors.trained)
    steered = run(hybrid(pair, zero), problems)
    assert percent_steered(steered).steered > 0, "the gate opened"
    assert [r.ids for r in steered] == [r.ids for r in run(pair.base, problems)]


def test_a_category_without_a_vector_is_left_alone(
    pair: ModelPair, vectors: Vectors, problems: ProblemSet
) -> None:
    never = torch.zeros_like(vectors.trained)
    never[tasks.get("chain").kinds(pair.base.tokenizer).names.index("stop")] = True
    none = Vectors(pair.base, SITE, table=vectors.table, trained=never)
    steered = run(hybrid(pair, none), problems)
    assert percent_steered(steered).share < percent_steered(run(hybrid(pair, vectors), problems)).share
    with pytest.raises(BindError, match="no category has a vector"):
        Vectors(pair.base, SITE, table=vectors.table, trained=torch.zeros_like(vectors.trained))


@torch.no_grad()
def test_training_steers_exactly_as_decoding_does(
    pair: ModelPair, vectors: Vectors, problems: ProblemSet
) -> None:
    """Logits inside the training loop = a plain pass over the text with the vector at that one position."""
    rollouts, kinds = run(pair.thinking, problems), tasks.get("chain").kinds(pair.base.tokenizer)
    passes = list(clean_passes(pair.base, rollouts, batch_size=4))
    disagreements = find_disagreements(passes, rollouts, kinds)
    assert len({int(r) for r in disagreements.rollout}) > 1
    for clean in passes:
        rows = disagreements.rows_in(clean)
        shift = ByCategory(*vectors.table.shape)
        shift.table.copy_(vectors.table)
        logits = Steering(pair.base, vectors.site, shift).logits(clean, disagreements, rows)
        for logit, r in zip(logits, rows.tolist(), strict=True):
            position, category = int(disagreements.position[r]), disagreements.category[r]

            def add(
                x: torch.Tensor, position: int = position, category: torch.Tensor = category
            ) -> torch.Tensor:
                x = x.clone()
                x[:, position] += vectors.table[category]
                return x

            text = torch.tensor([rollouts[int(disagreements.rollout[r])].all_ids[: position + 1]])
            handle = pair.base.hook_point(SITE).attach(add)
            expected = pair.base.model(text).logits[0, -1]
            handle.remove()
            torch.testing.assert_close(logit, expected, atol=1e-3, rtol=1e-5)  # logits of scale 1e2, fp32


def test_optimised_vectors_make_the_base_write_what_the_thinking_model_wrote(pair: ModelPair) -> None:
    rollouts, kinds = (
        run(pair.thinking, load_task("chain", n=12, seed=5)),
        tasks.get("chain").kinds(pair.base.tokenizer),
    )
    before = {name: p.clone() for name, p in pair.base.model.named_parameters()}
    few = train_vectors(pair.base, SITE, rollouts, kinds=kinds, config=VectorConfig(steps=1), progress=False)
    many = train_vectors(
        pair.base, SITE, rollouts, kinds=kinds, config=VectorConfig(steps=60), progress=False
    )
    assert many.agreement > few.agreement
    assert 0 < many.rate < 1 and sum(many.counts.values()) > 0
    assert all(
        torch.equal(p, before[name]) and p.grad is None for name, p in pair.base.model.named_parameters()
    )


def test_models_that_agree_have_nothing_to_steer(pair: ModelPair, problems: ProblemSet) -> None:
    with pytest.raises(DataError, match="nothing to steer"):
        train_vectors(
            pair.base,
            SITE,
            run(pair.base, problems),
            kinds=tasks.get("chain").kinds(pair.base.tokenizer),
            progress=False,
        )


def test_sliding_window_attention_is_refused_by_name(
    pair: ModelPair, vectors: Vectors, problems: ProblemSet
) -> None:
    clean = next(iter(clean_passes(pair.base, run(pair.base, problems))))
    context = clean.context(torch.tensor([0]), torch.tensor([5]))
    short = context._replace(visible=context.visible[:, :-3])
    with pytest.raises(BindError, match="full attention"):
        rerun(pair.base, short, SITE, lambda x: x)


def test_kinds_follow_the_parser_token_by_token() -> None:
    kinds = tasks.get("chain").kinds(TOKENIZER)
    labelled = kinds.label(torch.tensor(rollout(CAREFUL).ids)).tolist()
    for sentence in trace(CAREFUL).sentences:
        assert {kinds.names[k] for k in labelled[sentence.start : sentence.stop]} == {sentence.kind}


def test_null_gates_and_selectors_are_blind_and_keyed_by_the_row(
    pair: ModelPair, vectors: Vectors, problems: ProblemSet
) -> None:
    drawn = run(hybrid(pair, vectors, gate=AtRandom(0.3)), load_task("chain", n=12, seed=2))
    share = percent_steered(drawn).share
    assert abs(share - 0.3) < 4 * (0.21 / percent_steered(drawn).chosen) ** 0.5
    first_two = torch.zeros_like(vectors.trained)
    first_two[:2] = True
    few = Vectors(pair.base, SITE, table=vectors.table, trained=first_two)
    ingredients = Ingredients(pair, tasks.get("chain").kinds(pair.base.tokenizer), few, clamp=None, rate=0.3)  # type: ignore[arg-type]
    null = run(arms.get("random_positions").decoder(ingredients), load_task("chain", n=12, seed=2))  # type: ignore[arg-type]
    assert abs(percent_steered(null).share - 0.3) < 4 * (0.21 / percent_steered(null).chosen) ** 0.5, (
        "full dose"
    )
    again = run(hybrid(pair, vectors, gate=AtRandom(0.3)), load_task("chain", n=12, seed=2), batch_size=3)
    assert [r.steered for r in drawn] == [r.steered for r in again]
    kinds = tasks.get("chain").kinds(pair.base.tokenizer)
    ingredients = Ingredients(pair, kinds, vectors, clamp=None, rate=0.1)  # type: ignore[arg-type]
    wrong = arms.get("random_category").decoder(ingredients)
    assert isinstance(wrong, Hybrid) and isinstance(wrong.selector, WrongCategory)
    seen = []

    class Spy:
        def select(self, moment):
            chosen = wrong.selector.select(moment)
            seen.append(bool((chosen == moment.category).any()))
            return chosen

    run(hybrid(pair, vectors, selector=Spy()), problems)
    assert seen and not any(seen)


def test_random_vectors_keep_their_norms_and_lose_their_directions(vectors: Vectors) -> None:
    noise = vectors.random(seed=1)
    torch.testing.assert_close(noise.table.norm(dim=-1), vectors.table.norm(dim=-1))
    assert torch.cosine_similarity(noise.table, vectors.table).abs().max() < 0.75
    assert not torch.equal(noise.table, vectors.random(seed=2).table)
