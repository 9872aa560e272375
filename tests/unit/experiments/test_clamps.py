"""How features are chosen for a clamp: by what they do, and never one that runs away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.experiments import StageContext
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages import clamped as module
from reasonmech.experiments.stages.base import Notes
from reasonmech.experiments.stages.clamped import ClampedGroups, tune_clamp
from reasonmech.experiments.stages.controls import draw_controls
from reasonmech.experiments.stages.feature_groups import ChooseGroups
from reasonmech.experiments.stages.fitting_trials import ClampEffect
from reasonmech.experiments.stages.group_search import CoderWithStats, GroupSearch
from reasonmech.experiments.stages.groups import Group
from reasonmech.experiments.stages.lengths import Lengths
from reasonmech.experiments.stages.locate import FeatureSearch, SearchScope, search_item
from reasonmech.hybrid.gates import DisagreementGate
from reasonmech.hybrid.parts import Moment
from reasonmech.locate import FeatureStats, FeatureTable
from reasonmech.locate.table import COLUMNS
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
CODER = tiny_coder(HOST)
MODELS = (Lengths(7, 1.0), Lengths(100, 0.98))


def test_a_clamp_acts_where_a_sentence_begins() -> None:
    no = torch.zeros(4, dtype=torch.bool)
    ids, keys = torch.tensor([1, 1, 1, 1]), torch.arange(4)
    moment = Moment(
        base=torch.zeros(4, 9),
        thinking=torch.zeros(4, 9),
        base_choice=ids,
        thinking_choice=torch.tensor([2, 2, 1, 1]),
        category=torch.zeros(4, dtype=torch.long),
        base_alone_ends=no,
        boundary=torch.tensor([True, False, True, False]),
        keys=keys,
        position=keys,
    )
    assert DisagreementGate().opens(moment).tolist() == [True, True, False, False]
    assert DisagreementGate(boundaries=True).opens(moment).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("lengths", "away"),
    [
        (Lengths(149, 0.9), False),
        (Lengths(151, 1.0), True),  # half again as long as the longer of the two
        (Lengths(40, 0.87), True),  # 11 points fewer end than of the worse of the two
        (Lengths(224, 0.0), True),
        (Lengths(3, 1.0), False),  # short is no run-away: accuracy tells
    ],
)
def test_what_a_run_away_is(lengths: Lengths, away: bool) -> None:
    assert lengths.runs_away(MODELS) is away


def test_a_control_that_does_harm_lends_a_group_nothing() -> None:
    group = Group("check", "c", "s", "base", "boundaries", (1,), (1.0,), (1,), effect=0.2)
    assert replace(group, control=-0.5).gain == 0.2
    assert replace(group, control=0.15).gain == pytest.approx(0.05)


class Trials:
    """Stands in for trials: feature 5 does most, though it is the sixth by AUROC."""

    untouched = (0.6, 0.9)

    def __init__(self) -> None:
        self.tried: list[tuple[int, ...]] = []

    def try_alone(self, coder: object, indices: list[int], *_: object, rollouts: int) -> dict[int, float]:
        return {index: 0.9 if index == 5 else 0.01 * index for index in indices}

    def try_clamping(self, coder: object, indices: tuple[int, ...], stats: object) -> ClampEffect:
        self.tried.append(indices)
        return ClampEffect(4.0, 0.9 if 5 in indices else 0.1, 0.0)

    def try_ablating(self, *_: object) -> float:
        return 0.0


def test_features_are_tried_by_what_they_do_and_ties_by_strength(tmp_path: Path) -> None:
    ranking = SearchScope(source="thinking", among="boundaries")
    search = FeatureSearch(source="thinking", among="boundaries")
    n = CODER.d_sae
    frame = pd.DataFrame({name: [0.5] * n for name in COLUMNS}).assign(
        behaviour="check",
        mode="anticipates",
        site=str(CODER.site),
        kind="feature",
        feature=range(n),
        score="auroc",
        train_value=[1.0] * 6 + [0.6] * (n - 6),  # six tie
        sign=1,
        p_adjusted=0.001,
        coder="topk/here",
        source="thinking",
        among="boundaries",
    )
    stats = FeatureStats(np.full(n, 0.1), np.ones(n), np.arange(n, dtype=float) + 1)  # 5 is the strongest tie
    ledger = Ledger()
    ledger.plan("search", search_item(search, "check", "topk/here"))
    ledger.write(tmp_path)
    context = StageContext(
        *(None,) * 4,  # type: ignore[arg-type]
        out=tmp_path,
        progress=False,
        finished={"locate": tmp_path, "coders": tmp_path},
    )
    settings = ChooseGroups.model_validate({"rankings": (ranking,), "tries": 2, "wider": 4})
    trials: Any = Trials()
    groups = GroupSearch(context, FeatureTable(frame), "check", 1, settings).groups(
        CoderWithStats("topk/here", CODER, stats), trials, Ledger()
    )
    assert len(trials.tried) == 2 and trials.tried[0] != (5,), "the first by AUROC is tried as well"
    best = max(groups, key=lambda group: group.gain)
    assert best.indices == (5,) and best.room == pytest.approx(0.4) and best.removable == 0.9


@pytest.mark.parametrize(("effect", "coder"), [(0.12, "early"), (0.02, "late")])
def test_the_last_layer_stands_in_only_where_no_other_moves_much_of_what_there_is(
    effect: float, coder: str
) -> None:
    """A behaviour that begins at 70 % of its opportunities can be moved by 30 points, and no more."""
    early = Group("check", "early", "resid_post.1", "base", "boundaries", (1,), (1.0,), (1,), room=0.3)
    late = replace(early, coder="late", site="resid_post.3", effect=0.3)
    groups, notes = [replace(early, effect=effect), late], Notes()
    chosen = ChooseGroups.model_validate({})._best("clamp", groups, "resid_post.3", notes)
    assert chosen.coder == coder and len(notes.lines) == (coder == "late")


def test_a_clamp_that_runs_away_is_refused_and_the_best_of_the_others_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = {
        "base": (0.2, MODELS[0]),
        "thinking": (1.0, MODELS[1]),
        "wild": (0.99, Lengths(224, 0.0)),
        "weak": (0.5, Lengths(90, 1.0)),
        "good": (0.8, Lengths(95, 1.0)),
    }
    notes = plant(monkeypatch, outcomes, ["wild", "weak", "good"])
    assert tune(notes).name == "good"
    assert [line for line in notes.lines if "wild" in line and "refused" in line and "224 tokens" in line]
    notes = plant(monkeypatch, outcomes, ["wild"])
    with pytest.raises(DataError, match=r"every clamp runs away .*wild.*224 tokens"):
        tune(notes)


def plant(monkeypatch: pytest.MonkeyPatch, outcomes: dict[str, Any], names: list[str]) -> Notes:
    """Let the options and what they write be these."""

    class FakeGroups:
        def __init__(self, name: str) -> None:
            self.name = name

        def executor(self, *_: object) -> str:
            return self.name

    monkeypatch.setattr(module, "clamped_groups", lambda *_: [FakeGroups(name) for name in names])
    monkeypatch.setattr(module, "tuning_problems", lambda *_: range(8))
    monkeypatch.setattr(module, "generate", lambda writer, *_, **__: writer)
    monkeypatch.setattr(module, "grade", lambda writer: [outcomes[writer][0]])
    monkeypatch.setattr(module.Lengths, "of", classmethod(lambda _, writer: outcomes[writer][1]))
    monkeypatch.setattr(module, "hybrid_from_config", lambda ingredients, _: ingredients.clamp)
    monkeypatch.setattr(module, "replace", lambda ingredients, clamp: FakeIngredients(clamp))
    return Notes()


class FakeIngredients:
    """Stands in for the ingredients of an arm."""

    def __init__(self, clamp: str = "") -> None:
        self.clamp = clamp

        class Kinds:
            names = ("check",)

        self.kinds = Kinds


def tune(notes: Notes) -> ClampedGroups:
    class FakePair:
        base, thinking = "base", "thinking"

    context = StageContext(FakePair, None, None, 0, Path(), progress=False)  # type: ignore[arg-type]
    return tune_clamp(context, FakeIngredients(), notes, strengths=(1.0,), n=8)  # type: ignore[arg-type]


def test_features_that_never_fire_are_refused_as_such() -> None:
    """No tolerance helps them: advice to widen one would not follow from the cause."""
    stats = FeatureStats(np.array([0.1, 0.0]), np.ones(2), np.ones(2))
    with pytest.raises(DataError, match="never fire") as caught:
        draw_controls(stats, (1,), n=1, seed=0, tolerances=((0.1, 0.1),))
    assert "tolerance" not in caught.value.do
