"""What `check_fit` says of a coder trained here is what SAELens' own evals say of it, loaded by SAELens."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
import sae_lens  # noqa: TID251 - the other side of the equivalence
from sae_lens.evals import get_eval_everything_config  # noqa: TID251
from sae_lens.training.activation_scaler import ActivationScaler  # noqa: TID251

from reasonmech.coders import CoderConfig, train_coder
from reasonmech.hosts import load_pair
from reasonmech.rollout import Rollout
from reasonmech.runtime import capture, check_fit
from reasonmech.tasks import load_task

N, WIDTH = 64, 48
SAME = 1e-4  # sdpa here, eager attention in the bridge; what was measured is 2e-7
ARCHITECTURES = {
    "topk": {"k": 8},
    "batchtopk": {"k": 8},
    "matryoshka_batchtopk": {"k": 8, "options": {"matryoshka_widths": [32, 128]}},
    "standard": {"options": {"l1_coefficient": 2.0}},
}


@pytest.fixture(scope="module")
def host():
    return load_pair("tiny-when").base


@pytest.fixture(scope="module")
def texts(host) -> list[Rollout]:
    """Texts of exactly one context each, so that both sides read the same rows."""
    none = (False,) * WIDTH
    return [
        Rollout(problem, 0, (), tuple((host.encode(problem.prompt) * 8)[:WIDTH]), none, none, "length", "")
        for problem in load_task("chain", n=N)
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fit_and_saelens_evals_agree(architecture: str, host, texts: list[Rollout], tmp_path: Path) -> None:
    acts = capture(host, texts, ["resid_post.2"], progress=False)
    config = CoderConfig(
        architecture=architecture,
        d_sae=128,
        steps=100,
        batch_size=256,
        lr=3e-3,
        **ARCHITECTURES[architecture],
    )
    coder = train_coder(acts, config, progress=False)
    ours = check_fit(host, coder, texts, progress=False)

    coder.save(tmp_path / "c")
    sae = sae_lens.SAE.load_from_disk(tmp_path / "c")
    tokens = datasets.Dataset.from_dict({"input_ids": [list(text.all_ids) for text in texts]})
    store = sae_lens.ActivationsStore.from_sae(
        host.lens,
        sae,
        tokens,
        context_size=WIDTH,
        streaming=False,
        store_batch_size_prompts=16,
        sequence_separator_token=None,
    )
    evals = get_eval_everything_config(
        16, n_eval_reconstruction_batches=4, n_eval_sparsity_variance_batches=4
    )
    theirs, _ = sae_lens.run_evals(
        sae, store, host.lens, ActivationScaler(), evals, exclude_special_tokens=False
    )
    quality, kept = theirs["reconstruction_quality"], theirs["model_performance_preservation"]
    assert 0.2 < ours.explained_variance < 0.999 and ours.l0 > 1 and ours.ce_spliced != ours.ce_clean
    assert quality["explained_variance"] == pytest.approx(ours.explained_variance, rel=SAME)
    assert theirs["sparsity"]["l0"] == pytest.approx(ours.l0, rel=SAME)
    assert kept["ce_loss_score"] == pytest.approx(ours.ce_recovered, rel=SAME)
    assert kept["ce_loss_with_sae"] == pytest.approx(ours.ce_spliced, rel=SAME)
    assert kept["ce_loss_without_sae"] == pytest.approx(ours.ce_clean, rel=SAME)
