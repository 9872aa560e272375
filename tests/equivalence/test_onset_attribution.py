"""Attribution to an onset metric: to first order what zeroing a feature does, measured by doing a little of
it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonmech.errors import ArgumentError, MismatchError
from reasonmech.hosts import Host
from reasonmech.labels import Labels
from reasonmech.locate import FeatureTable, Onset, OnsetAttribution, Search, locate
from reasonmech.locate.rows.sample import hold_out
from reasonmech.metrics import logit_diff
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture
from reasonmech.site import Site
from reasonmech.testing import tiny_coder, tiny_host

SITE = "resid_post.1"
STEP = 0.02  # share of the activation that is taken away: first order


@pytest.fixture(scope="module")
def host() -> Host:
    return tiny_host()


@pytest.fixture(scope="module")
def coder(host: Host):
    return tiny_coder(host, SITE, d_sae=48, k=6)


@pytest.fixture(scope="module")
def rollouts(host: Host) -> list[Rollout]:
    rng, flags = np.random.default_rng(0), (False,) * 9
    ids = [tuple(int(t) for t in rng.integers(6, 64, 12)) for _ in range(24)]
    return [
        Rollout(Problem(f"p{i}", "", ""), 0, t[:3], t[3:], flags, flags, "eos", "") for i, t in enumerate(ids)
    ]


@pytest.fixture(scope="module")
def labels(rollouts: list[Rollout]) -> Labels:
    rows = [(r, p, p % 2 == 0, f"p{r}") for r in range(24) for p in (4, 7, 10)]
    return Labels("even", "anticipates", *(np.array(column) for column in zip(*rows, strict=True)))


@pytest.fixture(scope="module")
def table(host: Host, coder, rollouts: list[Rollout], labels: Labels) -> FeatureTable:
    acts = capture(host, rollouts, [SITE], progress=False)
    onset = Onset(host, rollouts, logit_diff(host, good="w7", bad="w9"), batch_rows=16)
    return locate(acts, labels, coder, score=OnsetAttribution(onset), search=Search(top=48, draws=100))


def _value(host: Host, ids: tuple[int, ...], delta: torch.Tensor) -> float:
    """Logit of w7 minus logit of w9 after a text whose last token at the site is moved by delta."""

    def move(x: torch.Tensor) -> torch.Tensor:
        moved = x.clone()
        moved[0, -1] += delta
        return moved

    handle = host.hook_point(Site.parse(SITE)).attach(move)
    try:
        with torch.no_grad():
            logits = host.model(torch.tensor([ids])).logits[0, -1].double()
    finally:
        handle.remove()
    return float(logits[host.encode("w7")[0]] - logits[host.encode("w9")[0]])


def test_effects_are_those_of_taking_a_little_away(
    host, coder, rollouts, labels, table: FeatureTable
) -> None:
    held = np.flatnonzero(hold_out(labels, Search()))
    x = capture(host, rollouts, [SITE], progress=False).rows(SITE, labels)
    with torch.no_grad():
        f, decoder = coder.encode(x), coder.rows(range(48))
        rest = x - coder.decode(f)
    rows = table.frame.set_index(["kind", "feature"])
    busy = f[held].sum(0).topk(3).indices.tolist()
    for kind, feature in [*(("feature", i) for i in busy), ("error", -1)]:
        measured = []
        for row in held:
            ids = rollouts[labels.rollout[row]].all_ids[: labels.position[row] + 1]
            part = rest[row] if kind == "error" else f[row, feature] * decoder[feature]
            both = [_value(host, ids, sign * STEP * part) for sign in (-1, 1)]
            measured.append((both[1] - both[0]) / (2 * STEP))
        assert abs(np.mean(measured)) > 1e-4
        effect = rows.loc[(kind, feature)]
        assert effect.value == pytest.approx(
            np.mean(measured), rel=0.02, abs=1e-4
        )  # float32 logits, second order
        assert effect.low < effect.value < effect.high
    assert set(table.frame.unit) == {"logits"} and set(table.frame.score) == {"attribution"}


def test_rows_beyond_the_limit_are_drawn_and_other_models_refused(host, coder, rollouts, labels) -> None:
    acts, metric = capture(host, rollouts, [SITE], progress=False), logit_diff(host, good="w7", bad="w9")
    few = locate(
        acts,
        labels,
        coder,
        score=OnsetAttribution(Onset(host, rollouts, metric, rows=40)),
        search=Search(draws=50),
    )
    counted = few.frame.n_pos + few.frame.n_neg
    assert 5 <= counted.iloc[0] < 25
    stranger = tiny_host(seed=1)
    with pytest.raises(MismatchError, match="the metric is read from"):
        locate(acts, labels, coder, score=OnsetAttribution(Onset(stranger, rollouts, metric)))
    with pytest.raises(ArgumentError, match="rows is the integer 0"):
        Onset(host, rollouts, metric, rows=0)
