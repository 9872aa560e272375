"""Labels are held to the texts that they were made from, by everything that reads where they point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError, MismatchError
from reasonmech.labels import Labels, Opportunity
from reasonmech.locate import next_token
from reasonmech.locate.falsify import Corpus, swap_words
from reasonmech.locate.rows.context import previous_kinds
from reasonmech.metrics import logit_diff
from reasonmech.rollout import Rollout, Trace
from reasonmech.runtime import Keep, LabelledTexts
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
SITE = "resid_post.1"
DIRECTION = rm.Direction.along(torch.ones(HOST.d_model), SITE)


def rollouts(*, word: int, n: int = 8) -> list[Rollout]:
    """Of the same problems and alike in length: only their words tell two of these apart."""
    no = (False,) * 6
    return [
        Rollout(rm.Problem(f"p/{i}", "w1", "a"), 0, (7,), (word, 3, 8 + i, 9, 3, 10), no, no, "eos", "")
        for i in range(n)
    ]


LABELLED, OTHERS = rollouts(word=20), rollouts(word=21)
LABELS = Labels.from_opportunities(
    "check", LABELLED, [[Opportunity(2, i % 2 == 0), Opportunity(5, i % 2 == 1)] for i in range(8)]
)


def traces(of: list[Rollout]) -> list[Trace]:
    return [Trace(rollout, (), ("",) * 6) for rollout in of]


def capture(of: list[Rollout]):
    return rm.capture(HOST, of, [SITE, "resid_post.3"], progress=False)


USES: dict[str, Callable[[list[Rollout]], object]] = {
    "rows": lambda of: capture(of).rows(SITE, LABELS),
    "rows of some tokens": lambda of: rm.capture(
        HOST, of, [SITE], keep=Keep(where=rm.tokens(".") | rm.generated(0, 1)), progress=False
    ).rows(SITE, LABELS),
    "direction": lambda of: rm.direction(capture(of), LABELS, site=SITE),
    "next token": lambda of: next_token(HOST, of, LABELS, [23]),
    "previous kinds": lambda of: previous_kinds(LABELS, traces(of)),
    "corpus": lambda of: Corpus(capture(LABELLED), LABELS, of).words_before(3),
    "forward": lambda of: rm.forward(
        HOST, LabelledTexts(of, {"here": LABELS}), [rm.steer(DIRECTION, 1.0, where=rm.labelled("here"))]
    ),
    "preservation": lambda of: rm.behaviour_preservation(
        HOST, tiny_coder(HOST, SITE), rollouts=of, labels=LABELS, onset_ids=[23], draws=50
    ),
    "attribution": lambda of: rm.locate(
        capture(LABELLED),
        LABELS,
        tiny_coder(HOST, SITE),
        score=rm.features.OnsetAttribution(rm.features.Onset(HOST, of, logit_diff(HOST, "w1", "w2"))),
    ),
}


@pytest.mark.parametrize("use", USES)
def test_labels_of_other_texts_are_refused_with_the_token_that_differs(use: str) -> None:
    with pytest.raises(
        MismatchError, match=r"'check' were made from other texts.*rollout \d.*\n.*\n.*label the"
    ):
        USES[use](OTHERS)


@pytest.mark.parametrize("use", [name for name in USES if name not in ("attribution", "preservation")])
def test_labels_of_these_texts_are_taken(use: str) -> None:
    USES[use](LABELLED)


def test_the_same_rollouts_in_another_order_are_other_texts() -> None:
    with pytest.raises(MismatchError, match="were made from other texts"):
        capture(LABELLED[::-1]).rows(SITE, LABELS)
    with pytest.raises(MismatchError, match="were made from other texts"):
        LABELS.check_rollouts(LABELLED[::-1])


def test_a_text_that_goes_on_or_breaks_off_is_another_text() -> None:
    longer = [
        replace(one, ids=(*one.ids, 11), by_environment=(False,) * 7, steered=(False,) * 7)
        for one in LABELLED
    ]
    with pytest.raises(MismatchError, match="token none at position 7, this text has 11"):
        LABELS.check_rollouts(longer)
    with pytest.raises(MismatchError, match="token none at position 7"):
        capture(longer).rows(SITE, LABELS)
    with pytest.raises(MismatchError, match="there are 3"):
        LABELS.check_rollouts(LABELLED[:3])


def test_some_rows_keep_to_the_same_texts() -> None:
    positives = LABELS.take(LABELS.positive)
    assert positives.rollouts is LABELS.rollouts
    with pytest.raises(MismatchError, match="were made from other texts"):
        capture(OTHERS).rows(SITE, positives)


def test_labels_go_with_rollouts_whose_words_were_exchanged() -> None:
    swapped = swap_words(LABELLED, {20: 30})
    with pytest.raises(MismatchError, match="were made from other texts"):
        capture(swapped).rows(SITE, LABELS)
    moved = LABELS.on(swapped)
    assert torch.equal(
        capture(swapped).rows(SITE, moved), capture(swapped).take(SITE, capture(swapped).rows_of(moved))
    )
    assert np.array_equal(moved.position, LABELS.position) and moved.rollouts is swapped
    with pytest.raises(MismatchError, match="of problem 'p/0'"):
        LABELS.on(swapped[::-1])
    longer = [replace(one, prompt_ids=(7, 7)) for one in swapped]
    with pytest.raises(MismatchError, match="rollout 0 of 7 tokens, this text has 8"):
        LABELS.on(longer)


def test_labels_made_by_hand_are_held_to_their_problems() -> None:
    by_hand = Labels(
        "b", "anticipates", *(np.array(x) for x in ([0, 1], [2, 2], [True, False], ["p/0", "p/1"]))
    )
    by_hand.check_rollouts(OTHERS)
    with pytest.raises(MismatchError, match="rollout 0 of problem 'p/0', this one is of 'p/7'"):
        by_hand.check_rollouts(OTHERS[::-1])


def test_two_problems_of_one_id_are_refused_where_only_their_answers_differ() -> None:
    two = rm.ProblemSet([rm.Problem("p", "w1", "a"), rm.Problem("p", "w1", "b")], task="")
    with pytest.raises(DataError, match="2 problems are called 'p'"):
        rm.generate(HOST, two, decode=rm.Decode(max_new_tokens=2), progress=False)
