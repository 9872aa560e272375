"""What the ladder of a run's features reads: what the stage `kept` wrote, and features of a random model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from reasonmech.experiments.stages.ladder import ClimbLadder, LadderScope, WrittenGroup
from reasonmech.experiments.stages.preservation import _row, read_preservation
from reasonmech.experiments.stages.random_model import random_features
from reasonmech.locate import BehaviourPreservation
from reasonmech.locate.falsify import random_twin
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.stats import Interval
from reasonmech.testing import tiny_host


def test_what_was_measured_under_reconstruction_is_read_back(tmp_path: Path) -> None:
    context = SimpleNamespace(of=lambda kind: tmp_path / kind)
    assert read_preservation(context) == {}  # pyright: ignore[reportArgumentType]
    intervals = [Interval(i / 10, i / 20, i / 5, 0.95) for i in range(1, 5)]
    kept = BehaviourPreservation("resid_post.1", "check", *intervals, n_rows=40, n_effects=20)
    folder = tmp_path / "kept" / "keep"
    folder.mkdir(parents=True)
    pd.DataFrame([_row(kept) | {"coder": "topk/a"}]).to_parquet(folder / "kept.parquet")
    assert read_preservation(context) == {("topk/a", "check"): kept}  # pyright: ignore[reportArgumentType]


def test_features_of_a_random_model_are_its_own_and_as_many_as_asked() -> None:
    host = tiny_host()
    twin, site = random_twin(host, seed=1), Site.parse("resid_post.1")
    acts = capture(twin, ["w1 w2 w3 w4", "w5 w6"], [site], progress=False)
    coder = random_features(twin, acts, site, n=96, seed=0)
    assert coder.d_sae == 96 and coder.model_hash == twin.weight_hash != host.weight_hash
    codes = coder.encode(acts.at(site))
    x = acts.at(site)
    rows = coder.rows(range(96))
    assert torch.allclose(codes, ((x - x.mean(0)) @ rows.T).relu(), atol=1e-5)
    active = (codes > 0).float().mean(0)
    assert (
        0.2 < float(np.median(active.detach().numpy())) < 0.8
    )  # about half the tokens, like no chosen threshold
    other = random_features(twin, acts, site, n=96, seed=1)
    assert not torch.equal(other.rows(range(96)), rows)


def test_a_scope_asks_for_its_behaviours_only() -> None:
    stage = ClimbLadder(where=(LadderScope(behaviours=("step",)),))
    assert stage.where[0].source == "base" and stage.where[0].among == "opportunities"
    group = WrittenGroup("check", "topk/a", {"clamp": (3, 1), "ablate": (1, 2)})
    assert group.all_features == (1, 2, 3)
