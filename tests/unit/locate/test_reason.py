"""ReasonScore is the published formula; its null of shuffled words tells words from nothing in particular."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.locate import FeatureTable, ReasonScore, Search, locate
from reasonmech.locate.rows.sample import split_by_problem
from reasonmech.locate.scoring.windows import word_windows
from tests.unit.locate.conftest import PlantedActivations

WORDS = {"wait": (3,), "hmm": (4, 5), "so": (6,)}
N_ROLLOUTS, LENGTH = 60, 50


@dataclass(frozen=True, eq=False)
class Texts:
    """Random tokens in which feature 0 stands around every word, 1 around one alone, 2 where no word is
    near."""

    acts: PlantedActivations = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        n = N_ROLLOUTS * LENGTH
        position, rollout = np.tile(np.arange(LENGTH), N_ROLLOUTS), np.repeat(np.arange(N_ROLLOUTS), LENGTH)
        token = rng.choice(np.arange(3, 40), size=n, p=np.r_[[0.012] * 4, [0.952 / 33] * 33])
        x = np.where(rng.random((n, 64)) < 0.1, rng.gamma(3.0, 1.0, (n, 64)), -0.1)
        every, one = (_near(token, rollout, ids) for ids in ((3, 4, 5, 6), (6,)))
        for feature, on in ((0, every), (1, one), (2, ~every)):
            x[:, feature] = np.where(on & (rng.random(n) < 0.8), 2.0, -0.1)
        index = pd.DataFrame(
            {"rollout": rollout, "position": position, "token": token, "generated": position >= 5}
        )
        index = index.assign(problem=np.char.add("p", (rollout // 2).astype(str)))
        object.__setattr__(self, "acts", PlantedActivations(torch.from_numpy(x).float(), index))


def _near(token: np.ndarray, rollout: np.ndarray, ids: tuple[int, ...]) -> np.ndarray:
    """Token by token: 2 before an occurrence to 3 after it, prompts (the first five) left out."""
    near = np.zeros(len(token), dtype=bool)
    for at in np.flatnonzero(np.isin(token, ids)):
        for i in range(at - 2, at + 4):
            if 0 <= i < len(token) and rollout[i] == rollout[at] and at % LENGTH >= 5 and i % LENGTH >= 5:
                near[i] = True
    return near


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts()


@pytest.fixture(scope="module")
def table(texts: Texts, coder) -> FeatureTable:
    return locate(texts.acts, None, coder, score=ReasonScore(WORDS), search=Search(top=5, draws=200))


def test_windows_are_those_of_the_definition_whatever_the_chunk(texts: Texts) -> None:
    windows = word_windows(texts.acts, WORDS)
    index = texts.acts.index
    token, rollout, generated = (index[name].to_numpy() for name in ("token", "rollout", "generated"))
    expected = np.stack([_near(token, rollout, ids) for ids in WORDS.values()], axis=1)[generated]
    whole = windows.member(windows.ids, slice(0, len(windows.labels)))
    assert 0.02 < expected.mean() < 0.2
    assert np.array_equal(whole, expected)
    assert np.array_equal(windows.labels.positive, expected.any(1))
    edges = [0, 1, 2, 7, 44, 46, 1000, len(whole)]
    pieces = [windows.member(windows.ids, slice(a, b)) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert windows.n_occurrences == np.isin(token[generated], (3, 4, 5, 6)).sum()


def test_the_score_is_the_published_formula(texts: Texts, table: FeatureTable, coder) -> None:
    """Written out over dense activations, on the training problems of the same split."""
    windows = word_windows(texts.acts, WORDS)
    held = split_by_problem(windows.labels, Search())
    f = torch.relu(texts.acts.x).double().numpy()[texts.acts.index["generated"].to_numpy()][~held]
    member = windows.member(windows.ids, slice(0, len(held)))[~held]
    near, far = f[member.any(1)].mean(0), f[~member.any(1)].mean(0)
    by_word = np.stack([f[column].mean(0) for column in member.T])
    p = by_word / np.where(by_word.sum(0) > 0, by_word.sum(0), 1)  # feature 2 is silent near every word
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(0) / np.log(len(WORDS))
    expected = near / near.sum() * entropy**0.7 - far / far.sum()
    measured = table.frame.sort_values("feature").train_value.to_numpy()
    assert np.ptp(expected) > 0.02
    assert np.allclose(measured, expected, atol=1e-6)


def test_a_feature_of_all_words_beats_one_of_a_single_word_and_chance(table: FeatureTable) -> None:
    rows = table.frame.set_index("feature")
    assert rows.train_value.idxmax() == 0
    assert rows.train_value[0] > rows.train_value[1]
    assert rows.train_value[2] < 0
    assert rows.p_adjusted[0] == 0.01  # no one of 99 shuffled sets has a feature as good
    assert (rows.p_adjusted.drop([0, 1]) > 0.01).all()
    assert rows.low[0] < rows.value[0] < rows.high[0]
    assert rows.value[0] == pytest.approx(rows.train_value[0], rel=0.2)
    assert rows.value.notna().sum() == 5
    assert rows.mean_active[0] == pytest.approx(2.0)
    assert rows.n_spans[0] > 30 and not rows.exploratory.any()


def test_words_that_nothing_follows_find_a_winner_that_shuffled_words_find_too(texts: Texts, coder) -> None:
    score = ReasonScore({"a": (20,), "b": (21,), "c": (22,)})
    features = locate(texts.acts, None, coder, score=score, search=Search(top=3, draws=100)).frame
    assert features.train_value.max() > 0
    assert features.p_adjusted.min() > 0.05


def test_a_shuffled_set_is_drawn_once(texts: Texts, coder) -> None:
    """With one word there are no more shuffles than other words; the same one twice would halve no
    p-value."""
    windows = word_windows(texts.acts, {"wait": (3,)})
    drawn = windows.shuffled(draws=30, seed=0)
    assert len({frozenset(one) for one in drawn}) == 30
    with pytest.raises(DataError, match=r"36 different sets of 1 words .* 99 asked for"):
        windows.shuffled(draws=99, seed=0)


def test_chunks_change_nothing(
    texts: Texts, table: FeatureTable, coder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["reasonmech.locate.rows.stream"], "CELLS", 64 * 300)
    again = locate(texts.acts, None, coder, score=ReasonScore(WORDS), search=Search(top=5, draws=200))
    pd.testing.assert_frame_equal(again.frame, table.frame, rtol=1e-5)


def test_words_that_never_occur_or_share_an_id_are_refused(texts: Texts, coder) -> None:
    with pytest.raises(DataError, match="never says 'ghost'"):
        word_windows(texts.acts, {"wait": (3,), "ghost": (99,)})
    with pytest.raises(DataError, match="each with token ids that are no other's"):
        word_windows(texts.acts, {"wait": (3,), "hmm": (3, 4)})
    with pytest.raises(DataError, match="-1 tokens before"):
        word_windows(texts.acts, WORDS, before=-1)
    few = replace(texts.acts, index=texts.acts.index.assign(token=texts.acts.index["token"].clip(upper=8)))
    with pytest.raises(DataError, match="2 other tokens occur, too few to stand in for 3 words"):
        locate(few, None, coder, score=ReasonScore(WORDS))
