"""Arms with less of an oracle, or none, do what they say; what reads no thinking model does not know it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import log2

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.experiments.stages.arm_config import resolve_arms
from reasonmech.hybrid import (
    LESS_ORACLE,
    ORDER,
    RULES,
    BoundaryGate,
    ControllerLog,
    FixedCategory,
    Hybrid,
    Ingredients,
    NeutralTexts,
    OnsetBias,
    PowerConfig,
    PowerSampled,
    Prompted,
    Sharpened,
    Takeover,
    Times,
    VectorConfig,
    arms,
    bits_passed,
    fit_onset_probe,
    hybrid_from_config,
    train_vectors,
)
from reasonmech.hybrid.log import OpenGate
from reasonmech.hybrid.matching import Matched, match, unembedding_rows
from reasonmech.kinds import sentence_starts
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.tasks.chain import OneWordKinds, word_tokenizer
from reasonmech.tasks.chain.world import CHAIN
from tests.brief_problems import brief_problems

DECODE = rm.Decode(max_new_tokens=120)
SHORT = rm.Decode(max_new_tokens=48)  # some sentences of each kind
KINDS = OneWordKinds(CHAIN.onset_words, word_tokenizer())
STEP = KINDS.names.index("step")


def write(decoder: object, problems: rm.ProblemSet, decode: rm.Decode = DECODE) -> Rollouts:
    if isinstance(decoder, PowerSampled):
        return decoder.write(problems, decode, progress=False).rollouts
    return rm.generate(decoder, problems, decode=decode, progress=False)  # type: ignore[arg-type]


def ids(rollouts: Rollouts) -> list[tuple[int, ...]]:
    return [rollout.ids for rollout in rollouts]


@pytest.fixture(scope="module")
def problems() -> rm.ProblemSet:
    return rm.load_task("chain", n=10, seed=0)


@pytest.fixture(scope="module")
def written() -> Rollouts:
    return write(rm.load_pair("tiny-when").thinking, rm.load_task("chain", n=24, seed=1, split="train"))


@pytest.fixture(scope="module")
def ingredients(written: Rollouts, problems: rm.ProblemSet) -> Ingredients:
    pair, config = rm.load_pair("tiny-when"), VectorConfig(steps=40, min_count=4)
    vectors = train_vectors(
        pair.base, f"resid_post.{pair.steering_layer}", written, kinds=KINDS, config=config, progress=False
    ).vectors
    made = Ingredients(
        pair,
        KINDS,
        vectors,
        clamp=None,
        rate=0.2,
        probe=fit_onset_probe(pair.base, written, KINDS),
        neutral=NeutralTexts.draw(pair.base, written, n=8),
        prompt="careful {problem}",
        steps_prompt="{problem} we get",
        power=PowerConfig(blocks=2, moves=1),
        answer_kinds=("conclude",),
        lengths={(p.id, 0): 40 + i for i, p in enumerate(problems)},
        best=dict.fromkeys(RULES, STEP),
    )
    log = ControllerLog()
    full = write(hybrid_from_config(made, {}).logged(log), problems)
    return replace(made, times=Times.of(full, log, KINDS))


def test_every_arm_says_what_it_is_and_what_it_is_compared_with() -> None:
    assert set(LESS_ORACLE).isdisjoint(ORDER)
    for name in (*ORDER, *LESS_ORACLE):
        arm = arms.get(name)
        assert arm.description and not (arm.control_for and arm.no_control), name
        assert arm.control_for in ("", "full", "takeover")
        assert name == "full" or arm.control_for or arm.no_control, name
    assert list(resolve_arms((*ORDER, *LESS_ORACLE))) == [*ORDER, *LESS_ORACLE]


def test_arms_without_an_oracle_write_the_same_whatever_the_thinking_model_is(
    ingredients: Ingredients, problems: rm.ProblemSet
) -> None:
    other = replace(ingredients.pair, thinking=rm.load_pair("tiny-surface").thinking)
    exchanged = replace(ingredients, pair=other)
    for name in ("full", *(n for n in (*ORDER, *LESS_ORACLE) if not arms.get(n).oracle)):
        mine, theirs = (
            write(arms.get(name).decoder(made), problems, SHORT) for made in (ingredients, exchanged)
        )
        same = [r.ids for r in mine] == [r.ids for r in theirs]
        assert same == (name != "full"), name


def test_rules_steer_where_they_say(ingredients: Ingredients, problems: rm.ProblemSet) -> None:
    for name in RULES:
        hybrid = arms.get(name).decoder(ingredients)
        assert isinstance(hybrid, Hybrid) and hybrid.selector == FixedCategory(STEP)
        rollouts = write(hybrid, problems, SHORT)
        steered, starts = [r.steered for r in rollouts], sentence_starts(KINDS, [r.ids for r in rollouts])
        if name == "first_token":
            assert all(flags[0] and not any(flags[1:]) for flags in steered)
            continue
        pairs = zip([f for flags in steered for f in flags], torch.cat(starts).tolist(), strict=True)
        at_starts = [flag for flag, begins in pairs if begins]
        assert sum(map(sum, steered)) == sum(at_starts) > 0, "nowhere but where a sentence begins"
        assert (len(at_starts) == sum(at_starts)) == (name == "every_boundary")
        alone = write(hybrid, problems[:2], SHORT.model_copy(update={"batch_size": 1}))
        assert [r.steered for r in alone] == steered[:2], "blind to the batch"
    with pytest.raises(DataError, match="a probability"):
        BoundaryGate(1.5)
    with pytest.raises(UnknownNameError, match="category"):
        hybrid_from_config(ingredients, {"selector": {"kind": "fixed", "category": "chek"}})
    with pytest.raises(DataError, match="no category for arm 'first_token'"):
        arms.get("first_token").decoder(replace(ingredients, best={}))


def test_random_boundaries_are_as_many_and_of_the_same_categories_at_other_times(
    ingredients: Ingredients, problems: rm.ProblemSet
) -> None:
    times = ingredients.times_of_full()
    schedules = [times.shuffled(seed) for seed in range(200)]
    for row, text in times:
        assert text.n_steered > 0 and len(text.categories) == text.n_steered
        drawn = [schedule.times[row] for schedule in schedules]
        assert all(Counter(d.values()) == Counter(text.categories) for d in drawn)
        each = Counter(sentence for d in drawn for sentence in d)
        assert set(each) == set(range(text.n_sentences)), "every boundary is eligible"
        expected = 200 * text.n_steered / text.n_sentences
        assert max(abs(n - expected) for n in each.values()) < 5 * expected**0.5
    rollouts = write(arms.get("random_boundaries").decoder(ingredients), problems)
    for r, starts in zip(rollouts, sentence_starts(KINDS, [r.ids for r in rollouts]), strict=True):
        number = (starts.cumsum(0) - 1).tolist()
        planned = times.shuffled(ingredients.seed).times[r.problem.id, 0]
        reached = {number[t] for t, flag in enumerate(r.steered) if flag}
        assert reached == {s for s in planned if s < int(starts.sum())}
    with pytest.raises(DataError, match="no times were drawn"):
        write(arms.get("random_boundaries").decoder(ingredients), rm.load_task("chain", n=1, seed=9))
    with pytest.raises(DataError, match="no times among the ingredients"):
        arms.get("random_boundaries").decoder(replace(ingredients, times=None))


def test_the_gate_of_another_problem_is_that_of_the_next(ingredients: Ingredients) -> None:
    times = ingredients.times_of_full()
    moved = times.of_another_problem().times
    for (row, _), (_, text) in zip(times, [*times][1:], strict=False):
        assert moved[row] == text.sentences
    assert moved[times.rows[-1]] == times.texts[0].sentences
    with pytest.raises(DataError, match="no other"):
        Times(times.rows[:1], times.texts[:1]).of_another_problem()


def test_a_takeover_at_random_boundaries_writes_the_thinking_models_tokens_there(
    ingredients: Ingredients, problems: rm.ProblemSet
) -> None:
    hybrid = arms.get("takeover_random").decoder(ingredients)
    assert isinstance(hybrid, Hybrid) and isinstance(hybrid.executor, Takeover)
    rollout = next(r for r in write(hybrid, problems, SHORT) if any(r.steered))
    t = rollout.steered.index(True)
    text = torch.tensor([[*rollout.prompt_ids, *rollout.ids[:t]]])
    assert rollout.ids[t] == int(ingredients.pair.thinking.model(text).logits[0, -1].argmax())


def test_a_prompted_base_is_the_base_behind_that_prompt(problems: rm.ProblemSet) -> None:
    base = rm.load_pair("tiny-when").base
    reworded = [replace(p, prompt=f"careful {p.prompt}") for p in problems]
    by_hand = rm.ProblemSet(reworded, task="chain", environment=problems.environment)
    prompted = write(Prompted(base, "careful {problem}"), problems, SHORT)
    assert ids(prompted) == ids(write(base, by_hand, SHORT))
    assert ids(prompted) != ids(write(base, problems, SHORT))
    for template in ("careful", "{problem}", "{problem} {problem}"):
        with pytest.raises(DataError, match="a prompt"):
            Prompted(base, template)


def test_a_sharpened_base_is_a_sample_at_its_own_temperature() -> None:
    base, problems = rm.load_pair("tiny-when").base, rm.load_task("chain", n=40, seed=0)
    sampled = rm.Decode(max_new_tokens=24, temperature=1.0)
    at_one = [r.ids for r in write(base, problems, sampled)]
    assert [r.ids for r in write(Sharpened(base, 1.0), problems, sampled)] == at_one
    greedy = sampled.model_copy(update={"temperature": 0.0})
    likeliest = [r.ids for r in write(base, problems, greedy)]
    assert at_one != likeliest
    for decode in (sampled, greedy):
        assert [r.ids for r in write(Sharpened(base, 1e-6), problems, decode)] == likeliest
    first = [r.ids[0] for r in write(Sharpened(base, 1.0), problems, greedy)]
    assert len(set(first)) > 1, "a sample, though the run is greedy"
    with pytest.raises(DataError, match="more than 0"):
        Sharpened(base, 0.0)


def test_the_unembedding_row_and_the_bias_are_as_strong_as_the_vectors(ingredients: Ingredients) -> None:
    vectors, texts = ingredients.trained_vectors(), ingredients.neutral_texts()
    trained = vectors.trained.nonzero()[:, 0]
    target = texts.kl_of_vectors(vectors.table[trained], vectors.site)
    assert (target > 0.001).all()
    rows, matched = unembedding_rows(vectors, KINDS, texts)
    reached = texts.kl_of_vectors(rows.table[trained], rows.site)
    torch.testing.assert_close(reached[matched.reached], target[matched.reached], rtol=0.1, atol=1e-3)
    onset = ingredients.pair.base.unembedding()[word_tokenizer().convert_tokens_to_ids("check")]
    check = rows.table[KINDS.names.index("check")]
    assert torch.cosine_similarity(check, onset.detach(), dim=0) > 0.999
    bias, matched = OnsetBias.as_strong_as(vectors, KINDS, texts)
    logits, clean = texts.clean[None] + bias.bias[trained][:, None], texts.clean.log_softmax(-1)
    steered = logits.log_softmax(-1)
    by_hand = (steered.exp() * (steered - clean)).sum(-1).mean(-1)
    torch.testing.assert_close(by_hand[matched.reached], target[matched.reached], rtol=0.1, atol=1e-3)
    assert matched.reached.any() and int((bias.bias != 0).sum()) == len(trained), "one word per category"


def test_a_strength_out_of_reach_is_said_with_its_shortfall() -> None:
    target = torch.tensor([1.0, 0.2, 0.05])
    matched = match(lambda scale: 0.5 * (1 - (-scale).exp()), target, torch.ones(3))
    assert matched.reached.tolist() == [False, True, True]
    torch.testing.assert_close(matched.kl[1:], target[1:], rtol=0.05, atol=0)
    assert (
        matched.describe_shortfall().startswith("1 of 3 are not within 10%")
        and "50%" in matched.describe_shortfall()
    )
    assert Matched(target, target, target).describe_shortfall() == ""


def test_the_oracle_free_controller_is_right_elsewhere_and_refuses_its_own_problems(
    ingredients: Ingredients, problems: rm.ProblemSet, written: Rollouts
) -> None:
    assert ingredients.onset_probe().accuracy > 0.9
    decoder = arms.get("oracle_free").decoder(ingredients)
    right = rm.grade(write(decoder, problems)).mean()
    assert right > rm.grade(write(ingredients.pair.base, problems)).mean() + 0.2
    fitted_on = rm.ProblemSet([written[0].problem], task="chain", environment=problems.environment)
    with pytest.raises(DataError, match="fitted on problem"):
        write(decoder, fitted_on)
    with pytest.raises(DataError, match="2 or more"):
        fit_onset_probe(ingredients.pair.base, written[:1], KINDS)


def rollout(text: str, steered: str) -> Rollout:
    ids = tuple(word_tokenizer().convert_tokens_to_ids(text.split()))
    flags = tuple(word in steered.split() for word in text.split())
    return Rollout(Problem("p", "", ""), 0, (1,), ids, (False,) * len(ids), flags, "eos", text)


def test_bits_are_the_length_of_the_decisions() -> None:
    text = rollout("next . check . so . so .", "next check")  # boundaries: 4, open at 2
    log = ControllerLog()
    for offset, category in ((0, 1), (2, 2), (3, 5)):  # the last one is at a token that nobody steered
        log.choices["p", 0, offset] = OpenGate(category, 7.0, False)
    assert bits_passed([text], log, KINDS) == (4.0, 2.0)  # 4 fair coins, 2 categories of 2
    for key, choice in [*log.choices.items()]:
        log.choices[key] = choice._replace(handed_over=True)
    assert bits_passed([text], log, KINDS) == (4.0, 14.0)
    one = bits_passed([rollout("next . check . so . so .", "next")], log, KINDS)
    assert one.gate == pytest.approx(4 * (-0.25 * log2(0.25) - 0.75 * log2(0.75))) and one.choice == 7.0
    with pytest.raises(DataError, match="no open gate was logged"):
        bits_passed([rollout("so . so .", "so")], ControllerLog(), KINDS)


def test_a_log_holds_what_the_controller_decided(ingredients: Ingredients, problems: rm.ProblemSet) -> None:
    log = ControllerLog()
    hybrid = hybrid_from_config(ingredients, {"executor": {"kind": "takeover"}})
    rollouts = write(hybrid.logged(log), problems, SHORT)
    assert ids(rollouts) == ids(write(hybrid, problems, SHORT)), "a log changes nothing"
    r = rollouts[0]
    t = r.steered.index(True)
    choice = log.at(r, t)
    text = torch.tensor([[*r.prompt_ids, *r.ids[:t]]])
    p = ingredients.pair.base.model(text).logits[0, -1].softmax(-1)[r.ids[t]].item()
    assert choice.handed_over and choice.token_bits == pytest.approx(-log2(p), rel=1e-3)
    assert choice.category == int(KINDS.label(torch.tensor(r.ids))[t])


def test_format_alone_passes_how_an_answer_comes_out_and_never_that_one_is_due(
    ingredients: Ingredients, problems: rm.ProblemSet
) -> None:
    written = write(arms.get("format_only").decoder(ingredients), problems)
    base = write(ingredients.pair.base, problems)
    assert [r.ids for r in written] == [r.ids for r in base], "tiny-when's base states what it guesses"
    rambling = replace(ingredients, pair=rm.load_pair("tiny-format"))
    alone, helped = (
        write(decoder, brief_problems("chain", 8), rm.Decode(max_new_tokens=110))
        for decoder in (rambling.pair.base, arms.get("format_only").decoder(rambling))
    )
    assert rm.grade(alone).mean() < 0.5 and rm.grade(helped).mean() > 0.9
    starts = sentence_starts(KINDS, [r.ids for r in helped])
    for rollout, begins in zip(helped, starts, strict=True):
        assert all(begins[t] for t, flag in enumerate(rollout.steered) if flag)
    with pytest.raises(DataError, match="does not say which kinds"):
        arms.get("format_only").decoder(replace(ingredients, answer_kinds=()))


def test_a_base_that_is_to_write_as_long_ends_no_earlier(
    ingredients: Ingredients, problems: rm.ProblemSet
) -> None:
    free = write(ingredients.pair.base, problems)
    kept = write(arms.get("length_matched").decoder(ingredients), problems)
    conclude = KINDS.names.index("conclude")
    assert any(len(r.ids) < 20 for r in free)
    for rollout in kept:
        length = ingredients.lengths[rollout.problem.id, 0]
        kinds = KINDS.label(torch.tensor(rollout.ids))
        first = next(t for t in range(len(rollout.ids)) if kinds[t] == conclude or t == len(rollout.ids) - 1)
        assert len(rollout.ids) >= length and first >= length - 1
        assert not any(rollout.steered[length:])
    alone = write(arms.get("length_matched").decoder(ingredients), problems[3:4])
    assert alone[0].ids == kept[3].ids, "blind to the batch"
    bits = arms.get("length_matched").bits
    assert bits is not None and bits(ingredients) == pytest.approx(log2(len(problems)))
    with pytest.raises(DataError, match="no length for problem"):
        write(arms.get("length_matched").decoder(replace(ingredients, lengths={("other", 0): 3})), problems)
