"""From a pair on disk to a coder that belongs to it: the first half of a study, on random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reasonmech.coders import CoderConfig, load_coder, train_coder
from reasonmech.errors import MismatchError
from reasonmech.hosts import load_pair
from reasonmech.runtime import Activations, Decode, capture, check_fit, generate
from reasonmech.testing import tiny_host


def test_pair_rollouts_activations_coder_fit(tmp_path: Path) -> None:
    for side, seed in (("base", 0), ("thinking", 1)):
        host = tiny_host(seed=seed)
        host.model.save_pretrained(tmp_path / "pair" / side)
        host.tokenizer.save_pretrained(tmp_path / "pair" / side)
    pair = load_pair(tmp_path / "pair")
    prompts = [f"w{i} w{i + 7} . w{3 * i}" for i in range(12)]
    decode = Decode(max_new_tokens=24, temperature=1.0, samples=4)
    rollouts = generate(pair.thinking, prompts, decode=decode, progress=False)

    acts = capture(
        pair.base, rollouts, ["resid_post.1", "resid_post.2"], out=tmp_path / "store", progress=False
    )
    assert acts.n_tokens == sum(len(rollout.all_ids) for rollout in rollouts)
    assert acts.index["generated"].sum() == sum(len(rollout.ids) for rollout in rollouts)

    config = CoderConfig(architecture="batchtopk", d_sae=128, k=8, steps=150, batch_size=256, lr=3e-3)
    stored = Activations.load(tmp_path / "store")
    train_coder(stored, config, site="resid_post.2", progress=False).save(tmp_path / "coder")
    coder = load_coder(tmp_path / "coder", host=pair.base)
    x = acts.at("resid_post.2")
    assert torch.equal(coder.encode(x), load_coder(tmp_path / "coder").encode(stored.at("resid_post.2")))

    report = check_fit(pair.base, coder, rollouts, progress=False)
    assert report.site == "resid_post.2" and report.n_tokens == acts.n_tokens
    assert 0.3 < report.explained_variance < 1 and 4 < report.l0 < 16
    assert report.ce_recovered > 0.3
    with pytest.raises(MismatchError, match="trained on a model with weights"):
        check_fit(pair.thinking, coder, rollouts, progress=False)
