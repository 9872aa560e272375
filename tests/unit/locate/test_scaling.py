"""Latent scaling finds the factor by which the other model carries a feature, and 1 for the same model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reasonmech.errors import MismatchError
from reasonmech.labels import Labels
from reasonmech.locate import FeatureTable, LatentScaling, Search, locate
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture
from reasonmech.testing import tiny_coder, tiny_host


def _rows(table: FeatureTable):
    return table.frame.set_index("feature")


def test_a_planted_factor_is_found(world, coder) -> None:
    factor = torch.ones(64)
    factor[3], factor[5], factor[9] = 0.5, 2.0, 0.0
    sibling = replace(world.acts, x=world.acts.x * factor)
    rows = _rows(
        locate(world.acts, world.labels, coder, score=LatentScaling(sibling), search=Search(draws=200))
    )
    assert np.allclose(rows.value, factor, atol=1e-6)
    assert (rows.p[[3, 5, 9]] < 0.01).all() and (rows.p.drop([3, 5, 9]) == 1).all()
    assert rows.sign[[3, 5, 9, 0]].tolist() == [-1, 1, -1, 0]
    assert np.allclose(rows.beta, 1, atol=1e-6)
    assert np.allclose(rows[["null_low", "null_high"]], 1)  # an exact dictionary has beta 1 on any text


def test_noise_between_the_models_has_an_interval_that_covers_the_truth(world, coder) -> None:
    noise = torch.randn(world.acts.x.shape, generator=torch.Generator().manual_seed(0))
    sibling = replace(world.acts, x=0.8 * world.acts.x + 0.5 * noise)
    rows = _rows(
        locate(world.acts, world.labels, coder, score=LatentScaling(sibling), search=Search(draws=500))
    )
    covered = (rows.low <= 0.8) & (rows.high >= 0.8)
    assert 0.85 < covered.mean() < 1  # 64 intervals at 95 %
    assert (rows.high - rows.low > 0.01).all()


def test_the_same_model_is_one_and_a_rotation_is_none(world, coder) -> None:
    same = _rows(
        locate(world.acts, world.labels, coder, score=LatentScaling(world.acts), search=Search(draws=100))
    )
    assert (same.value == 1).all() and (same.p == 1).all()
    basis = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(1))).Q
    turned = replace(world.acts, x=world.acts.x @ basis)
    rotated = _rows(
        locate(world.acts, world.labels, coder, score=LatentScaling(turned), search=Search(draws=100))
    )
    assert rotated.value.abs().median() < 0.4


def test_it_is_the_least_squares_fit_with_a_real_coder() -> None:
    host, other = tiny_host(), tiny_host(seed=1)
    coder = tiny_coder(host, "resid_post.1", d_sae=48, k=6)
    rng = np.random.default_rng(0)
    flags = (False,) * 9
    ids = [tuple(int(t) for t in rng.integers(6, 64, 12)) for _ in range(30)]
    texts = [
        Rollout(Problem(f"p{i}", "", ""), 0, tokens[:3], tokens[3:], flags, flags, "eos", "")
        for i, tokens in enumerate(ids)
    ]
    rollout, position = np.repeat(np.arange(30), 9), np.tile(np.arange(3, 12), 30)
    labels = Labels(
        "any", "recognises", rollout, position, position % 2 == 0, np.char.add("p", rollout.astype(str))
    )
    acts, sibling = (capture(model, texts, ["resid_post.1"], progress=False) for model in (host, other))
    rows = _rows(locate(acts, labels, coder, score=LatentScaling(sibling), search=Search(draws=100)))
    betas = []
    with torch.no_grad():
        gate = coder.encode(acts.rows("resid_post.1", labels)).double()
        for store in (sibling, acts):
            x = store.rows("resid_post.1", labels)
            f = coder.encode(x)
            rest = (x - coder.decode(f)).double()
            row = []
            for i in range(48):
                w = coder.rows((i,))[0].double()
                target, design = rest + f[:, i, None] * w, gate[:, i, None] * w
                row.append(float((target * design).sum() / (design**2).sum()) if design.any() else np.nan)
            betas.append(row)
    expected = np.array(betas[0]) / np.array(betas[1])
    usable = np.isfinite(expected) & (np.array(betas[1]) > 0)
    assert usable.sum() > 10 and np.ptp(expected[usable]) > 0.1
    assert np.allclose(rows.value[usable], expected[usable], rtol=1e-3, atol=1e-4)
    assert rows.value[~usable].isna().all()
    often = rows[usable & (rows.rate > 0.1) & (rows.beta > 0.5)]
    assert len(often) > 5 and (often.null_low < 1).all() and (often.null_high > 1).all()


def test_a_feature_that_never_fires_has_no_ratio(world, coder) -> None:
    acts = replace(world.acts, x=world.acts.x.clone())
    acts.x[:, 20] = -1.0
    rows = _rows(locate(acts, world.labels, coder, score=LatentScaling(acts), search=Search(draws=100)))
    row = rows.loc[20]
    assert np.isnan([row.value, row.low, row.null_low, row.beta]).all()
    assert (row.rate, row.p, row.p_adjusted) == (0, 1, 1)


def test_other_tokens_are_refused(world, coder) -> None:
    other = replace(world.acts, index=world.acts.index.assign(token=4))
    with pytest.raises(MismatchError, match="are other ones"):
        locate(world.acts, world.labels, coder, score=LatentScaling(other))
