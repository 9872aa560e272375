"""A coder trained here is a SAELens SAE, and a SAELens SAE is a coder here."""

from __future__ import annotations

from pathlib import Path

import pytest
import sae_lens  # noqa: TID251 - the other side of the equivalence
import torch
from sae_lens.saes.sae import SAEMetadata  # noqa: TID251

from reasonmech.coders import CoderConfig, SAELensCoder, load_coder, train_coder
from reasonmech.site import Site
from reasonmech.testing import tiny_host

X = torch.randn(600, 32, generator=torch.Generator().manual_seed(0)) * 3 + 1
IDS = torch.tensor([[6, 9, 12, 7, 30], [8, 8, 20, 11, 6]])


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_what_we_save_plain_saelens_loads(architecture: str, tmp_path: Path) -> None:
    host = tiny_host()
    config = CoderConfig(architecture=architecture, d_sae=64, k=4, steps=40, batch_size=128)
    coder = train_coder(X, config, site="resid_post.1", host=host, progress=False)
    coder.save(tmp_path / "c")
    sae = sae_lens.SAE.load_from_disk(tmp_path / "c")
    with torch.no_grad():
        assert (coder.encode(X) != 0).any()
        assert torch.equal(sae.encode(X), coder.encode(X))
        assert torch.equal(sae.decode(sae.encode(X)), coder.decode(coder.encode(X)))
    assert sae.cfg.metadata.hook_name == "blocks.1.hook_out"
    assert sae.cfg.metadata.reasonmech["model_hash"] == host.weight_hash


@pytest.mark.parametrize(
    "architecture", ["topk", "jumprelu", "standard", "gated", "batchtopk", "matryoshka_batchtopk"]
)
def test_what_saelens_saves_we_load(architecture: str, tmp_path: Path) -> None:
    sae_class, config_class = sae_lens.registry.get_sae_training_class(architecture)
    settings = {"k": 4} if "topk" in architecture else {}
    if architecture == "matryoshka_batchtopk":
        settings["matryoshka_widths"] = [16, 64]
    metadata = SAEMetadata(model_name="owner/tiny-llama-0", hook_name="blocks.2.hook_resid_post")
    theirs = sae_class(config_class(d_in=32, d_sae=64, metadata=metadata, **settings))
    theirs.save_inference_model(tmp_path / "t")
    plain, coder = sae_lens.SAE.load_from_disk(tmp_path / "t"), load_coder(tmp_path / "t", host=tiny_host())
    assert isinstance(coder, SAELensCoder)
    assert (coder.site, coder.model_hash) == (Site("resid_post", 2), None)
    with torch.no_grad():
        features = plain.encode(X)
        assert (features != 0).any()
        assert torch.equal(coder.encode(X), features)
        torch.testing.assert_close(coder.read(X, [5, 40]), features[..., [5, 40]], atol=1e-5, rtol=0)
        rebuilt = features @ coder.rows(range(64)) + coder.decode(torch.zeros(64))
        torch.testing.assert_close(rebuilt, plain.decode(features), atol=1e-4, rtol=0)


def test_our_coder_splices_into_a_bridge_as_saelens_does() -> None:
    """The hook name that we record is one that a bridge carrying SAEs knows."""
    from reasonmech.testing import tiny_coder

    host = tiny_host()
    coder = tiny_coder(host)
    assert isinstance(coder, SAELensCoder)
    bridge = sae_lens.SAETransformerBridge.boot_transformers(
        "t", hf_model=tiny_host().model, tokenizer=host.tokenizer, device="cpu"
    )
    with torch.no_grad():
        clean = bridge(IDS)
        spliced = bridge.run_with_saes(IDS, saes=[coder.sae])
        handle = host.hook_point(coder.site).attach(lambda x: coder.decode(coder.encode(x)))
        ours = host.model(IDS).logits
        handle.remove()
    assert not torch.allclose(clean, spliced, atol=1e-2)
    assert (ours - spliced).abs().max() <= 1e-5 * spliced.abs().max()  # sdpa here, eager attention there
