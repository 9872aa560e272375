"""Training curves are drawn from what the coders recorded."""

from __future__ import annotations

import pytest
import torch

from reasonmech.coders import CoderConfig, train_coders, training_curve
from reasonmech.coders.source import TensorSource
from reasonmech.errors import DataError
from reasonmech.site import Site
from reasonmech.testing import tiny_coder, tiny_host
from reasonmech.viz import training_curves


def test_each_coder_has_a_line_in_each_panel() -> None:
    rows = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    acts = TensorSource(rows, (Site("resid_post", 0),), "made", "0")
    common = {"steps": 20, "batch_size": 32, "k": 2}
    configs = {f"{n} wide": CoderConfig(architecture="topk", d_sae=n, **common) for n in (8, 16)}
    coders = list(train_coders(acts, configs, progress=False).values())
    figure = training_curves(coders)
    assert len(figure.data) == 8 and [trace.showlegend for trace in figure.data[:4]] == [
        True,
        False,
        False,
        False,
    ]
    for coder, trace in zip(coders, figure.data[::4], strict=True):
        curve = training_curve(coder)
        assert trace.name == coder.name and len(set(trace.y)) > 1
        assert list(trace.x) == list(curve["tokens"]) and list(trace.y) == list(curve["explained_variance"])
    for wrong in ([], [tiny_coder(tiny_host())]):
        with pytest.raises(DataError):
            training_curves(wrong)
