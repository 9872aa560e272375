"""Controls matched in KL, and the part of an effect that goes straight to the unembedding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.experiments.stages.direct_path import StreamAtMoments, direct_share
from reasonmech.experiments.stages.kl_matching import DOUBLINGS, WITHIN, KlMeter
from reasonmech.experiments.stages.moments import MOMENT, BehaviourMoments, Onsets, onset_ids, respond
from reasonmech.experiments.stages.onset_arms import OnsetBed, active_arms, clamped_arms
from reasonmech.experiments.stages.onset_table import COLUMNS, EVERY, WRITTEN, onset_rows
from reasonmech.experiments.stages.selectivity_rows import SelectivityRows
from reasonmech.hosts import Host
from reasonmech.interventions import Direction, Intervention, labelled, steer
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.site import Site
from reasonmech.testing import tiny_coder
from tests.chain_models import random_pair

N = 12


@pytest.fixture(scope="module")
def host() -> Host:
    return random_pair().base


def moments_at(host: Host, place: str, positions: tuple[int, ...]) -> BehaviourMoments:
    """Two moments in each of a few texts of the chain world; every other author checks at the second."""
    rollouts = []
    for i in range(N):
        text = f"next one + {i % 9} : 3 + {i % 9} = {(3 + i % 9) % 10} . next two"
        ids = tuple(host.encode(text))
        problem, rest = Problem(f"p{i:02}", "", ""), ids[1:]
        blank = (False,) * len(rest)
        rollouts.append(Rollout(problem, 0, ids[:1], rest, blank, blank, "eos", text))
    written = tuple(("step", "check" if i % 2 else "step") for i in range(N))
    return BehaviourMoments("check", place, tuple(rollouts), (positions,) * N, written)


@pytest.fixture(scope="module")
def moments(host: Host) -> BehaviourMoments:
    return moments_at(host, "at opportunities", (4, 8))


def steered(host: Host, site: str, amount: float, seed: int = 0) -> list[Intervention]:
    vector = torch.randn(host.d_model, generator=torch.Generator().manual_seed(seed))
    return [steer(Direction.along(vector, site), amount, where=labelled(MOMENT))]


def log_shares(host: Host, moments: BehaviourMoments, plan: list[Intervention]) -> np.ndarray:
    ids, every = onset_ids(host, "chain", "check"), Onsets.of(host, "chain")
    response = respond(host, moments, plan, onsets=ids, every_onset=every)
    assert response.log_shares is not None
    kind = every.names.index("check")
    assert np.exp(response.log_shares[:, kind]) == pytest.approx(response.value, abs=1e-5)
    assert np.exp(response.log_shares).sum(1) == pytest.approx(np.ones(2 * N))
    return response.log_shares


def test_a_control_is_made_as_strong_as_the_arm(host: Host, moments: BehaviourMoments) -> None:
    meter = KlMeter(host, moments)
    assert meter.measure([]) == 0
    target = meter.measure(steered(host, "resid_post.1", 3.0))
    assert target > 0
    for first in (0.1, 3.0, 300.0):
        match = meter.match(lambda a: steered(host, "resid_post.2", a, 1), target, first=first)
        assert match.matched and abs(match.kl - target) <= WITHIN * target
        assert meter.measure(steered(host, "resid_post.2", match.amount, 1)) == pytest.approx(match.kl)


def test_a_control_that_cannot_be_matched_says_what_it_reaches(host: Host, moments: BehaviourMoments) -> None:
    meter = KlMeter(host, moments)
    match = meter.match(lambda a: steered(host, "resid_post.1", a * 1e-9), 1.0, first=1.0)
    assert not match.matched and match.kl < 1e-6 and match.amount <= 2.0**DOUBLINGS


def test_after_the_last_layer_everything_is_direct(host: Host, moments: BehaviourMoments) -> None:
    plan = steered(host, "resid_post.3", 2.0)
    every, stream = Onsets.of(host, "chain"), StreamAtMoments(host, moments, Site.parse("resid_post.3"))
    axis = plan[0].axis
    assert isinstance(axis, Direction)
    direct = stream.log_shares(stream.along(axis, 2.0), every)
    clean, touched = log_shares(host, moments, []), log_shares(host, moments, plan)
    assert stream.log_shares(torch.zeros_like(stream.x), every) == pytest.approx(clean, abs=1e-4)
    assert direct == pytest.approx(touched, abs=1e-4) and np.abs(touched - clean).max() > 0.1
    kind = every.names.index("check")
    parts = {"untouched": clean[:, kind], "direct": direct[:, kind], "touched": touched[:, kind]}
    share = direct_share(moments, **parts)
    assert share.estimate == pytest.approx(1, abs=1e-3) and share.low > 0.99
    nothing = direct_share(moments, **(parts | {"direct": clean[:, kind]}))
    assert nothing.estimate == 0


def test_there_is_no_direct_path_from_what_a_norm_follows(host: Host, moments: BehaviourMoments) -> None:
    with pytest.raises(DataError, match=r"direct path from mlp_out\.1"):
        StreamAtMoments(host, moments, Site.parse("mlp_out.1"))


def test_every_kind_has_a_row_also_where_its_author_began_it(host: Host, moments: BehaviourMoments) -> None:
    clean, touched = (
        log_shares(host, moments, []),
        log_shares(host, moments, steered(host, "resid_post.1", 3)),
    )
    names = Onsets.of(host, "chain").names
    tags = dict.fromkeys(list(COLUMNS)[:6], "x")
    rows = list(onset_rows(tags, names, moments, untouched=clean, touched=touched))
    assert [row["onset"] for row in rows if row["among"] == EVERY] == list(names)
    written = {row["onset"]: row["n_moments"] for row in rows if row["among"] == WRITTEN}
    assert written == {"step": 18, "check": 6}
    for row in rows:
        assert set(row) == set(COLUMNS) and row["change.low"] <= row["change"] <= row["change.high"]
        assert row["untouched"] + row["change"] == pytest.approx(row["value"])


def test_a_group_is_read_beside_its_controls(host: Host, moments: BehaviourMoments) -> None:
    coder = tiny_coder(host, "resid_post.1", d_sae=64, k=16)
    bed = OnsetBed(host, "chain", moments, moments_at(host, "elsewhere", (5, 9)), coder, transfer=False)
    firing = [i for i in range(64) if bed.stats.rate[i] > 0.3][:1]
    located, row = clamped_arms(bed, firing, torch.ones(1), 3.0)
    arms = [located, row, *active_arms(bed, "clamp", firing, located, n=1, seed=0)]
    tags = {"behaviour": "check", "host": "base", "verb": "clamp", "coder": "c", "site": "resid_post.1"}
    readings = [(arm, bed.read(arm.plan)) for arm in arms]
    rows = SelectivityRows(tags, bed, "clamp", bed.read(()), readings)
    summary = rows.summary()
    assert [line["arm"] for line in summary] == ["located", "unembedding row", "active 0"]
    assert summary[0]["reading"] and not summary[1]["reading"] and not summary[2]["reading"]
    assert summary[0]["kl"] == summary[0]["kl_target"] == summary[2]["kl_target"] > 0
    difference = summary[0]["change"] - summary[1]["change"]
    assert summary[0]["over_row"] == pytest.approx(difference)
    beside = rows.effects().beside
    assert "check elsewhere" in beside and "check at opportunities" not in beside
    assert {line["place"] for line in rows.onsets()} == {"at opportunities", "elsewhere"}


def test_an_ablation_is_blamed_for_what_it_stops_where_that_is_written(
    host: Host, moments: BehaviourMoments
) -> None:
    coder = tiny_coder(host, "resid_post.1", d_sae=64, k=16)
    bed = OnsetBed(host, "chain", moments, moments_at(host, "elsewhere", (5, 9)), coder, transfer=False)
    arm = bed.ablate_arm("located", tuple(range(64)))
    rows = SelectivityRows({"behaviour": "check"}, bed, "ablate", bed.read(()), [(arm, bed.read(arm.plan))])
    assert list(rows.effects().beside) == ["step where it is written"]
    assert np.isnan(rows.summary()[0]["over_row"]) and arm.kl == arm.target > 0
