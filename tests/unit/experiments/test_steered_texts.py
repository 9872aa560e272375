"""What arms steered, token by token: places, and texts side by side, as the logs have them."""

from __future__ import annotations

import numpy as np
import pytest

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.experiments.stages.arm_tables import ArmOutcome
from reasonmech.experiments.stages.steered_texts import steered_places, steered_texts
from reasonmech.experiments.tables import Condition
from reasonmech.hybrid import ControllerLog, DisagreementGate, Hybrid, Ingredients, OfThinking, Takeover
from reasonmech.tasks import grade
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.tasks.chain.world import CHAIN
from reasonmech.viz import steered_html, steering_places
from tests.chain_models import random_pair
from tests.made_run import NASTY

PAIR = random_pair()
KINDS = OneWordKinds(CHAIN.onset_words, PAIR.base.tokenizer)
INGREDIENTS = Ingredients(PAIR, KINDS, None, clamp=None, rate=None)
PROBLEMS = rm.load_task("chain", n=5, seed=0)
DECODE = rm.Decode(max_new_tokens=30)


@pytest.fixture(scope="module")
def arms() -> tuple[dict[str, ArmOutcome], dict[str, ControllerLog]]:
    log = ControllerLog()
    takeover = Hybrid(
        PAIR, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS, log=log
    )
    outcomes, logs = {}, {}
    for name, decoder in {"base": PAIR.base, "takeover": takeover, "thinking": PAIR.thinking}.items():
        written = rm.generate(decoder, PROBLEMS, decode=DECODE, progress=False)
        outcomes[name] = ArmOutcome(Condition(name, "hybrid"), written, grade(written).astype(float))
        logs[name] = log if name == "takeover" else ControllerLog()
    return outcomes, logs


def test_a_place_says_what_was_written_and_what_the_base_would_have(arms) -> None:
    outcomes, logs = arms
    places = steered_places(outcomes, logs, INGREDIENTS)
    assert set(places["condition"]) == {"takeover"} and len(places) > 5
    by_id = {rollout.problem.id: rollout for rollout in outcomes["takeover"].rollouts}
    words = PAIR.base.tokenizer.convert_ids_to_tokens(range(PAIR.base.vocab_size))
    for _, row in places.iterrows():
        rollout = by_id[row["problem"]]
        context = [*rollout.prompt_ids, *rollout.ids[: row["offset"]]]
        logits = rm.forward(PAIR.base, [context]).logits[0][-1]
        assert row["instead"].strip() == words[int(logits.argmax())]
        assert row["text"].strip() == words[rollout.ids[row["offset"]]] != row["instead"].strip()
        assert row["category"] in KINDS.names and row["n_tokens"] == len(rollout.ids)


def test_texts_are_the_rollouts_and_marked_where_they_were_steered(arms) -> None:
    outcomes, logs = arms
    texts = steered_texts(outcomes, logs, INGREDIENTS, n=2)
    assert texts["problem"].nunique() == 2 and list(texts["condition"].unique()) == [
        "base",
        "takeover",
        "thinking",
    ]
    for (name, problem), rows in texts.groupby(["condition", "problem"]):
        (rollout,) = [r for r in outcomes[str(name)].rollouts if r.problem.id == problem]
        assert len(rows) == len(rollout.ids) and tuple(rows["environment"]) == rollout.by_environment
        flags = [s and not e for s, e in zip(rollout.steered, rollout.by_environment, strict=True)]
        assert list(rows["steered"]) == flags
        assert ((rows["category"] != "") == rows["steered"]).all()
    assert steered_texts(outcomes, logs, INGREDIENTS, n=0).empty


def test_problems_that_the_models_answer_differently_come_first(arms) -> None:
    outcomes, logs = arms
    flipped = dict(outcomes)
    flipped["base"] = ArmOutcome(
        outcomes["base"].condition, outcomes["base"].rollouts, np.array([0, 0, 0, 1.0, 0])
    )
    flipped["thinking"] = ArmOutcome(
        outcomes["thinking"].condition, outcomes["thinking"].rollouts, np.zeros(5)
    )
    texts = steered_texts(flipped, logs, INGREDIENTS, n=1)
    assert set(texts["problem"]) == {PROBLEMS[3].id}


def test_views_escape_what_models_write_and_refuse_nothing_to_draw(arms) -> None:
    outcomes, logs = arms
    texts = steered_texts(outcomes, logs, INGREDIENTS, n=2)
    nasty = texts.assign(
        text=[NASTY[i % len(NASTY)] for i in range(len(texts))], instead=NASTY[0], category=NASTY[0]
    )
    page = steered_html(nasty.assign(condition=NASTY[0], problem=NASTY[4]))
    assert "<script" not in page and "&lt;script&gt;" in page
    places = steered_places(outcomes, logs, INGREDIENTS)
    (curve,) = steering_places(places).data
    assert sum(curve.y) == pytest.approx(1) and f"of {len(places)} tokens" in curve.hovertemplate
    with pytest.raises(DataError, match="no rows"):
        steered_html(texts.iloc[:0])
