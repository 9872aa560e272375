"""A coder reads what it encodes, writes what it decodes, and is refused where it does not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from reasonmech.coders import SAELensCoder, check_belongs, load_coder
from reasonmech.errors import (
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    OutputError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.testing import tiny_coder, tiny_host

X = torch.randn(5, 7, 32, generator=torch.Generator().manual_seed(0))
SOME = [3, 60, 3, 11]


def of_architecture(architecture: str, path: Path, **changes: object) -> SAELensCoder:
    """tiny_coder's weights under another architecture."""
    tiny_coder(tiny_host()).save(path)
    config = json.loads((path / "cfg.json").read_text())
    config.update(architecture=architecture, **changes)
    if architecture != "topk":
        del config["k"]
    if architecture == "jumprelu":
        state = load_file(path / "sae_weights.safetensors")
        state["threshold"] = torch.linspace(0, 1.5, 64)
        save_file(state, path / "sae_weights.safetensors")
    (path / "cfg.json").write_text(json.dumps(config))
    coder = load_coder(path)
    assert isinstance(coder, SAELensCoder)
    return coder


def test_reading_a_topk_feature_is_encoding_to_the_bit() -> None:
    coder = tiny_coder(tiny_host())
    features = coder.encode(X)
    assert ((features != 0).sum(-1) <= 4).all() and (features[..., SOME] != 0).any()
    assert torch.equal(coder.read(X, SOME), features[..., SOME])
    everything = list(range(coder.d_sae))
    assert torch.equal(coder.read(X, everything), features)


@pytest.mark.parametrize("rescale", [True, False])
def test_reading_honours_decoder_norm_rescaling(tmp_path: Path, rescale: bool) -> None:
    coder = of_architecture("topk", tmp_path / "c", rescale_acts_by_decoder_norm=rescale)
    with torch.no_grad():
        coder.sae.W_dec.mul_(torch.linspace(0.2, 3, 64)[:, None])
    features = coder.encode(X)
    assert torch.equal(coder.read(X, SOME), features[..., SOME])
    rebuilt = features @ coder.rows(range(64)) + coder.decode(torch.zeros(64))
    torch.testing.assert_close(rebuilt, coder.decode(features), atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["jumprelu", "standard"])
def test_reading_single_columns_is_encoding_up_to_rounding(tmp_path: Path, architecture: str) -> None:
    coder = of_architecture(architecture, tmp_path / "c")
    features, read = coder.encode(X)[..., SOME], coder.read(X, SOME)
    assert (features > 0).any() and (features == 0).any()
    # another matrix shape rounds the last bit another way; nothing here lies that close to a threshold
    torch.testing.assert_close(read, features, atol=1e-5, rtol=0)
    assert torch.equal(read > 0, features > 0)


def test_decode_is_affine_in_its_rows() -> None:
    coder = tiny_coder(tiny_host())
    features = coder.encode(X)
    rebuilt = features @ coder.rows(range(coder.d_sae)) + coder.decode(torch.zeros(coder.d_sae))
    torch.testing.assert_close(rebuilt, coder.decode(features), atol=1e-5, rtol=0)


def test_a_coder_that_normalises_tokens_has_no_rows(tmp_path: Path) -> None:
    coder = of_architecture("standard", tmp_path / "c", normalize_activations="layer_norm")
    assert torch.equal(coder.read(X, SOME), coder.encode(X)[..., SOME])
    with pytest.raises(MismatchError, match="normalises every token"):
        coder.rows([0])


def test_a_coder_whose_scale_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="expected_average_only_in"):
        of_architecture("standard", tmp_path / "c", normalize_activations="expected_average_only_in")


def test_features_that_do_not_exist_list_the_range() -> None:
    coder = tiny_coder(tiny_host())
    for call in (coder.rows, lambda indices: coder.read(X, indices)):
        with pytest.raises(UnknownNameError, match=r"0 \.\. 63"):
            call([64])
        with pytest.raises(UnknownNameError, match="-1"):
            call([-1])


def test_a_coder_of_another_model_is_refused(tmp_path: Path) -> None:
    host = tiny_host()
    tiny_coder(host).save(tmp_path / "c")
    assert load_coder(tmp_path / "c", host=tiny_host()).model_hash == host.weight_hash
    with pytest.raises(MismatchError, match=host.weight_hash[:12]):
        load_coder(tmp_path / "c", host=tiny_host(seed=1))
    with pytest.raises(MismatchError, match=host.weight_hash[:12]):
        load_coder(tmp_path / "c", host=tiny_host(dtype=torch.bfloat16))
    with pytest.raises(MismatchError, match=r"reads width 32, .* has width 64"):
        load_coder(tmp_path / "c", host=tiny_host(d_model=64))


def test_saving_keeps_everything_and_overwrites_nothing(tmp_path: Path) -> None:
    coder = tiny_coder(tiny_host())
    coder.save(tmp_path / "c")
    again = load_coder(tmp_path / "c")
    assert (again.site, again.model_hash, again.weight_hash) == (
        coder.site,
        coder.model_hash,
        coder.weight_hash,
    )
    assert torch.equal(again.encode(X), coder.encode(X))
    with pytest.raises(OutputError, match="exists already"):
        coder.save(tmp_path / "c")


def test_to_gives_another_coder() -> None:
    coder = tiny_coder(tiny_host())
    half = coder.to(dtype=torch.bfloat16)
    assert (half.dtype, coder.dtype) == (torch.bfloat16, torch.float32)
    assert half.weight_hash != coder.weight_hash and half.model_hash == coder.model_hash


@pytest.mark.parametrize("keep", [4, -50])
def test_truncated_weights_are_refused(tmp_path: Path, keep: int) -> None:
    tiny_coder(tiny_host()).save(tmp_path / "c")
    file = tmp_path / "c" / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match="truncated or damaged"):
        load_coder(tmp_path / "c")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    tiny_coder(tiny_host()).save(tmp_path / "c")
    config = tmp_path / "c" / "cfg.json"
    whole = config.read_text()
    config.write_text(whole[:40])
    with pytest.raises(CorruptFileError, match=r"cfg\.json is not JSON"):
        load_coder(tmp_path / "c")
    config.unlink()
    with pytest.raises(CorruptFileError, match=r"lacks cfg\.json"):
        load_coder(tmp_path / "c")


@pytest.mark.parametrize("config", ["[]", "{}", '{"architecture": "topk"}'])
def test_a_config_that_is_none_is_named(config: str, tmp_path: Path) -> None:
    tiny_coder(tiny_host()).save(tmp_path / "c")
    (tmp_path / "c" / "cfg.json").write_text(config)
    with pytest.raises(CorruptFileError, match=str(tmp_path / "c")):
        load_coder(tmp_path / "c")


def test_weights_that_do_not_fit_or_are_not_finite_are_refused(tmp_path: Path) -> None:
    tiny_coder(tiny_host()).save(tmp_path / "c")
    file = tmp_path / "c" / "sae_weights.safetensors"
    whole = load_file(file)
    for wrong in (
        {key: tensor for key, tensor in whole.items() if key != "b_dec"},
        whole | {"W_dec": whole["W_dec"][:, :5].contiguous()},
        whole | {"W_skip": whole["W_dec"].clone()},
    ):
        save_file(wrong, file)
        with pytest.raises(CorruptFileError, match=r"(b_dec|W_dec|W_skip)[\s\S]*copy it again"):
            load_coder(tmp_path / "c")
    whole["W_dec"][3, 3] = torch.nan
    save_file(whole, file)
    with pytest.raises(NonFiniteError, match="W_dec"):
        load_coder(tmp_path / "c")


def test_a_coder_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = tiny_coder(tiny_host())
    assert isinstance(coder, SAELensCoder)

    def full(path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(coder.sae, "save_model", full)
    with pytest.raises(OutputError, match=r"No space left on device[\s\S]*make room"):
        coder.save(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_pickled_coder_is_refused(tmp_path: Path) -> None:
    torch.save({"W_enc": torch.zeros(2)}, tmp_path / "ae.pt")
    with pytest.raises(PickleRefusedError, match=r"ae\.pt"):
        load_coder(tmp_path)


def test_what_saelens_does_not_know_is_listed(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="topk"):
        of_architecture("topkk", tmp_path / "c")
    with pytest.raises(UnknownNameError, match="release/id"):
        load_coder(tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="qwen-scope-3-8b-base-w64k-l50"):
        load_coder("qwen-scope-3-8b-base-w64k-l5/layer_3")


def test_transcoders_are_refused(tmp_path: Path) -> None:
    import sae_lens  # noqa: TID251 - what another user may have on disk

    config = sae_lens.TranscoderConfig(d_in=8, d_sae=16, d_out=8, apply_b_dec_to_input=False)
    config.metadata.hook_name = "blocks.0.hook_mlp_out"
    sae_lens.Transcoder(config).save_model(tmp_path / "t")
    with pytest.raises(MismatchError, match="does not reconstruct"):
        load_coder(tmp_path / "t")


def test_a_coder_of_heads_reads_them_side_by_side_and_as_one(tmp_path: Path) -> None:
    """Files made for TransformerLens flatten heads themselves; here they are flat already."""
    host = tiny_host()
    metadata = {"sae_lens_version": "6.54.12", "model_name": "m", "hook_name": "blocks.1.attn.hook_z"}
    theirs = of_architecture("topk", tmp_path / "z", reshape_activations="hook_z", metadata=metadata)
    assert str(theirs.site) == "z.1" and torch.equal(theirs.encode(X), tiny_coder(host).encode(X))
    check_belongs(theirs, host)
    head = of_architecture("topk", tmp_path / "h", metadata=metadata | {"hook_head_index": 2})
    assert str(head.site) == "z.1.2"
    with pytest.raises(MismatchError, match=r"z\.1\.2 .* has width 8"):
        check_belongs(head, host)
