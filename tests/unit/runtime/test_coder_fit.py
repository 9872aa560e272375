"""check_fit: a perfect coder recovers everything, a useless one nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reasonmech.coders import CoderConfig, SparseCoder, load_coder, train_coder
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts import Host
from reasonmech.runtime import capture, check_fit
from reasonmech.testing import tiny_coder, tiny_host

TEXTS = [" ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(2 + (5 * i) % 13)) for i in range(30)]


def signed_identity(host: Host, path: Path) -> SparseCoder:
    """relu(x) and relu(-x) as features: an exact dictionary of any stream."""
    tiny_coder(host).save(path)
    config = json.loads((path / "cfg.json").read_text()) | {
        "architecture": "standard",
        "apply_b_dec_to_input": False,
    }
    for name in ("k", "rescale_acts_by_decoder_norm"):  # of a TopK alone
        config.pop(name, None)
    (path / "cfg.json").write_text(json.dumps(config))
    eye = torch.eye(host.d_model)
    both = torch.cat([eye, -eye])
    zeros = {"b_enc": torch.zeros(2 * host.d_model), "b_dec": torch.zeros(host.d_model)}
    save_file({"W_enc": both.T.contiguous(), "W_dec": both, **zeros}, path / "sae_weights.safetensors")
    return load_coder(path, host=host)


def test_an_exact_coder_recovers_everything(tmp_path: Path) -> None:
    host = tiny_host()
    report = check_fit(host, signed_identity(host, tmp_path / "c"), TEXTS, progress=False)
    assert report.ce_recovered == pytest.approx(1.0, abs=1e-6)
    assert report.explained_variance == pytest.approx(1.0, abs=1e-6)
    assert report.ce_zero != report.ce_clean
    assert (report.l0, report.dead_share) == (32, 0)


def test_cross_entropy_is_that_of_the_rows_alone(tmp_path: Path) -> None:
    host = tiny_host()
    report = check_fit(host, tiny_coder(host), TEXTS, batch_size=7, progress=False)
    losses: list[torch.Tensor] = []
    for text in TEXTS:
        ids = torch.tensor([host.encode(text)])
        with torch.no_grad():
            logits = host.model(ids).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none"))
    assert report.ce_clean == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert report.n_tokens == sum(len(text.split()) for text in TEXTS)
    assert report.ce_spliced != report.ce_clean and report.l0 <= 4 and 0 < report.dead_share < 1
    assert report.explained_variance < 1


def test_a_coder_of_another_model_is_refused() -> None:
    with pytest.raises(MismatchError, match="trained on a model"):
        check_fit(tiny_host(), tiny_coder(tiny_host(seed=1)), TEXTS)


def test_texts_must_predict_something() -> None:
    host = tiny_host()
    with pytest.raises(DataError, match="longer than one token"):
        check_fit(host, tiny_coder(host), ["w1", "w2"], progress=False)
    with pytest.raises(DataError, match=r"resid_pre\.0 is the same at every token"):
        check_fit(host, tiny_coder(host, "resid_pre.0"), ["w1 w1"], progress=False)


def test_a_coder_that_fits_the_layer_beside_its_own_better_is_refused(tmp_path: Path) -> None:
    host = tiny_host()
    acts = capture(host, TEXTS * 3, [f"resid_post.{layer}" for layer in range(4)], progress=False)
    config = CoderConfig(architecture="topk", d_sae=64, k=8, steps=150, batch_size=128, lr=3e-3)
    coder = train_coder(acts, config, site="resid_post.1", progress=False)
    report = check_fit(host, coder, TEXTS, progress=False)
    assert set(report.neighbours) == {"resid_post.0", "resid_post.2"}
    x = acts.at("resid_post.2")[: report.n_tokens].double()  # TEXTS is the first third
    error = (x - coder.decode(coder.encode(x.float())).double()).pow(2).sum() / (x - x.mean(0)).pow(2).sum()
    assert report.neighbours["resid_post.2"] == pytest.approx(1 - error.item(), abs=1e-5)
    assert report.explained_variance > 0.1 + max(report.neighbours.values())
    json.dumps(report.to_json())
    page = report._repr_html_()
    assert "explained_variance at resid_post.2" in page and f"{report.ce_recovered:.4g}" in page

    coder.save(tmp_path / "c")
    file = tmp_path / "c" / "cfg.json"
    for claimed in (0, 2):  # off by a layer, as where the embedding counts as one
        config_now = json.loads(file.read_text())
        config_now["metadata"]["hook_name"] = f"blocks.{claimed}.hook_out"
        config_now["metadata"]["reasonmech"]["site"] = f"resid_post.{claimed}"
        file.write_text(json.dumps(config_now))
        with pytest.raises(MismatchError, match=rf"at resid_post\.{claimed}, where .* at resid_post\.1"):
            check_fit(host, load_coder(tmp_path / "c", host=host), TEXTS, progress=False)
