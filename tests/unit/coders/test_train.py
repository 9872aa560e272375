"""Training a coder: what goes in is checked, what comes out belongs to its model and fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reasonmech.coders import CoderConfig, load_coder, load_coder_config, train_coder
from reasonmech.errors import ConfigError, DataError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.testing import tiny_host

CONFIG = CoderConfig(architecture="topk", d_sae=96, k=4, steps=300, batch_size=256, lr=3e-3, dead_after=50)


def planted(n: int = 8000, *, scale: float = 7.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Sparse combinations of 64 directions of a space of 32, off-centre and far from unit norm."""
    random = torch.Generator().manual_seed(0)
    truth = torch.nn.functional.normalize(torch.randn(64, 32, generator=random), dim=-1)
    codes = torch.zeros(n, 64)
    chosen = torch.rand(n, 64, generator=random).topk(4, -1).indices
    codes.scatter_(1, chosen, torch.rand(n, 4, generator=random) + 0.5)
    return scale * (codes @ truth + 2.0), truth


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_planted_directions_are_found_and_saved_in_the_models_name(architecture: str, tmp_path: Path) -> None:
    host = tiny_host()
    x, truth = planted()
    config = CONFIG.model_copy(update={"architecture": architecture})
    coder = train_coder(x, config, site="resid_post.2", host=host, progress=False)
    assert (coder.site, coder.model_hash, coder.d_sae) == (Site("resid_post", 2), host.weight_hash, 96)
    held_out, _ = planted(9000)
    held_out = held_out[8000:]
    features = coder.encode(held_out)
    error = (held_out - coder.decode(features)).pow(2).sum() / (held_out - held_out.mean(0)).pow(2).sum()
    assert error < 0.3  # the mean alone gives 1
    assert 3 <= (features != 0).sum(-1).float().mean() <= 5
    rows = torch.nn.functional.normalize(coder.rows(range(96)), dim=-1)
    assert (truth @ rows.T).max(-1).values.mean() > 0.85  # random rows of this many give 0.4
    coder.save(tmp_path / "c")
    again = load_coder(tmp_path / "c", host=host)
    assert again.weight_hash == coder.weight_hash and torch.equal(again.encode(held_out), features)


def test_the_same_seed_gives_the_same_coder_and_touches_no_global_state() -> None:
    x, _ = planted(2000)
    short = CONFIG.model_copy(update={"steps": 5})
    before = torch.random.get_rng_state()
    first, second = (
        train_coder(x, short, site="resid_post.0", host=tiny_host(), progress=False) for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weight_hash == second.weight_hash
    other = train_coder(
        x, short.model_copy(update={"seed": 1}), site="resid_post.0", host=tiny_host(), progress=False
    )
    assert other.weight_hash != first.weight_hash


def test_captured_activations_carry_site_and_model() -> None:
    host = tiny_host()
    texts = ["w1 w2 w3 w4 w5"] * 300  # more than one run of tokens: a stream orders them in its own way
    acts = capture(host, texts, ["resid_post.1", "resid_post.2"], progress=False)
    short = CONFIG.model_copy(update={"steps": 3})
    coder = train_coder(acts, short, site="resid_post.2", progress=False)
    assert (coder.site, coder.model_hash) == (Site("resid_post", 2), host.weight_hash)
    streamed = short.model_copy(update={"buffer": 256})
    assert train_coder(acts, streamed, site="resid_post.2", progress=False).weight_hash != coder.weight_hash
    with pytest.raises(MismatchError, match="say which one"):
        train_coder(acts, short)
    with pytest.raises(UnknownNameError, match=r"resid_post\.1, resid_post\.2"):
        train_coder(acts, short, site="resid_post.3")
    with pytest.raises(MismatchError, match="not of"):
        train_coder(acts, short, site="resid_post.2", host=tiny_host(seed=1))


def test_what_cannot_be_trained_on_is_refused() -> None:
    host = tiny_host()
    x, _ = planted(2000)
    with pytest.raises(MismatchError, match="site= and host="):
        train_coder(x, CONFIG)
    with pytest.raises(DataError, match="fewer than one batch"):
        train_coder(x[:100], CONFIG, site="resid_post.0", host=host)
    x[3, 3] = torch.inf
    with pytest.raises(NonFiniteError, match=r"resid_post\.0"):
        train_coder(x, CONFIG, site="resid_post.0", host=host)
    rare = x.nan_to_num(0, 0, 0).repeat(20, 1)
    rare[-1] = torch.nan  # not among the rows from which the scale is estimated
    with pytest.raises(NonFiniteError, match=r"loss is nan[\s\S]*NaN in the activations"):
        train_coder(rare, CONFIG, site="resid_post.0", host=host, progress=False)


def test_configs_are_closed_to_unknown_keys_and_kinds(tmp_path: Path) -> None:
    for name in ("topk", "batchtopk", "standard"):
        assert load_coder_config(name).architecture == name
    with pytest.raises(UnknownNameError, match="batchtopk, matryoshka, smollm2, standard"):
        load_coder_config("topkk")
    file = tmp_path / "mine.yaml"
    file.write_text("architecture: topk\nd_sae: 8\nk: 2\nsteps: 1\nlearning_rate: 1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: learning_rate.*[\s\S]*batch_size"):
        load_coder_config(file)
    x, _ = planted(2000)
    for update, error, listed in (
        ({"architecture": "topkk"}, UnknownNameError, "batchtopk"),
        ({"options": {"l1": 1.0}}, ConfigError, "aux_loss_coefficient"),
        ({"options": {"k": 8}}, ConfigError, r"\['k'\].*\n.*their own keys"),
        ({"options": {"d_in": 8}}, ConfigError, r"\['d_in'\]"),
        ({"k": None}, ConfigError, r"k = None.*\n.*1 \.\. 96"),  # SAELens' own default would be 100
        ({"k": 97}, ConfigError, r"k = 97.*\n.*1 \.\. 96"),
        ({"k": 97, "architecture": "batchtopk"}, ConfigError, "k = 97"),
    ):
        with pytest.raises(error, match=listed):
            train_coder(
                x, CONFIG.model_copy(update=update), site="resid_post.0", host=tiny_host(), progress=False
            )
