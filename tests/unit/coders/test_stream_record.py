"""What an SAE's record says of its stream is followed, said beside its fit, or refused; never ignored."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

import reasonmech as rm
from reasonmech.coders import SAELensCoder, load_coder, reconstruct, train_coder
from reasonmech.errors import ArgumentError, CorruptFileError, MismatchError
from reasonmech.hosts import Host
from reasonmech.runtime import capture, check_fit
from reasonmech.testing import tiny_coder, tiny_host, tiny_tokenizer
from tests.layouts import layout_host

TEXTS = [" ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(4 + (5 * i) % 13)) for i in range(30)]
KWARGS = "model_from_pretrained_kwargs"


def with_mean(name: str = "gpt2-small") -> Host:
    """A GPT-2 whose stream has a mean that is not 0, as the real one's."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=64, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=1
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(8)
        model.transformer.wte.weight.mul_(8).add_(0.7)
        for block in model.transformer.h:
            for part in (block.attn.c_proj, block.mlp.c_proj):
                part.weight.mul_(5).add_(0.05)
                part.bias.add_(0.5)
    return rm.load_host(model, tokenizer=tiny_tokenizer(64), name=name)


def coder_with(
    host: Host, path: Path, hook: str = "blocks.1.hook_resid_pre", **metadata: Any
) -> SAELensCoder:
    """An SAE made elsewhere: it records a name, and whatever `metadata` says."""
    rows = torch.nn.functional.normalize(
        torch.randn(64, 32, generator=torch.Generator().manual_seed(3)), dim=-1
    )
    biases = {"b_enc": torch.zeros(64), "b_dec": torch.full((32,), 0.3)}
    path.mkdir()
    save_file({"W_enc": rows.T.contiguous(), "W_dec": rows, **biases}, path / "sae_weights.safetensors")
    config = {
        "architecture": "standard",
        "d_in": 32,
        "d_sae": 64,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12",
            "model_name": host.name,
            "hook_name": hook,
            **metadata,
        },
    }
    (path / "cfg.json").write_text(json.dumps(config))
    coder = load_coder(path, host=host)
    assert isinstance(coder, SAELensCoder)
    return coder


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_a_centred_stream_is_the_stream_without_its_mean(architecture: str) -> None:
    """Against a bridge that folded and centred the very weights: at every site, and heads' values as they
    are."""
    host = tiny_host(architecture) if architecture == "gpt_neox" else with_mean()
    assert host.subtracts_mean
    sites = [f"{kind}.{layer}" for layer in range(host.n_layers) for kind in host.kinds]
    acts = capture(host, TEXTS[:3], sites, progress=False)
    bridge = host.lens
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge.process_weights(
            fold_ln=True, center_writing_weights=True, center_unembed=True, fold_value_biases=False
        )
    ids = torch.tensor([host.encode(TEXTS[0])])
    _, cache = bridge.run_with_cache(ids)
    n, seen = ids.shape[1], 0
    for site in sites:
        hook = host.lens_hook(site)
        if hook is None or hook not in cache:
            continue
        theirs, x = cache[hook][0].flatten(1), acts.at(site)[:n]
        if not site.startswith("z"):
            assert x.mean(-1).abs().max() > 1e-3
            x = x - x.mean(-1, keepdim=True)
        assert torch.allclose(theirs, x, atol=2e-4, rtol=1e-4), site
        seen += 1
    assert seen >= 3 * host.n_layers


def test_a_coder_of_centred_weights_reads_the_stream_that_it_was_trained_on(tmp_path: Path) -> None:
    host = with_mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # SAELens' advice names a class that is not used here
        coder = coder_with(host, tmp_path / "a", **{KWARGS: {"center_writing_weights": True}})
    plain = coder_with(host, tmp_path / "b", **{KWARGS: {"center_writing_weights": False}})
    x = capture(host, TEXTS, ["resid_pre.1"], progress=False).at("resid_pre.1")
    centred = x - x.mean(-1, keepdim=True)
    assert torch.equal(coder.encode(x), plain.encode(centred))
    assert not torch.allclose(coder.encode(x), plain.encode(x), atol=0.1)
    assert torch.allclose(coder.read(x, [3, 60]), coder.encode(x)[:, [3, 60]], atol=1e-5)
    assert coder.weight_hash != plain.weight_hash
    assert torch.equal(reconstruct(coder, x), plain.decode(plain.encode(centred)))
    coder.save(tmp_path / "again")
    again = load_coder(tmp_path / "again", host=host)
    assert torch.equal(again.encode(x), coder.encode(x)) and again.weight_hash == coder.weight_hash
    assert coder.to(dtype=torch.float64).stream.centred  # pyright: ignore[reportAttributeAccessIssue]
    report = check_fit(host, coder, TEXTS, progress=False)
    error = (centred - plain.decode(plain.encode(centred))).pow(2).sum()
    total = (centred - centred.mean(0)).pow(2).sum()
    assert report.explained_variance == pytest.approx(1 - (error / total).item(), abs=1e-5)


@pytest.mark.parametrize("architecture", ["topk", "jumprelu"])
def test_few_features_of_a_centred_stream_are_read_as_all_are(architecture: str, tmp_path: Path) -> None:
    host = with_mean()
    coder_with(host, tmp_path / "a", **{KWARGS: {"center_writing_weights": True}})
    file = tmp_path / "a" / "cfg.json"
    config = json.loads(file.read_text()) | {"architecture": architecture}
    if architecture == "topk":
        config |= {"k": 4, "rescale_acts_by_decoder_norm": False}
    else:
        state = {
            "W_enc": torch.eye(32, 64),
            "W_dec": torch.eye(64, 32),
            "b_enc": torch.zeros(64),
            "b_dec": torch.zeros(32),
        }
        save_file(state | {"threshold": torch.full((64,), 0.1)}, tmp_path / "a" / "sae_weights.safetensors")
    file.write_text(json.dumps(config))
    coder = load_coder(tmp_path / "a", host=host)
    x = capture(host, TEXTS, ["resid_pre.1"], progress=False).at("resid_pre.1")
    assert (coder.encode(x) != 0).any()
    assert torch.allclose(coder.read(x, [3, 60]), coder.encode(x)[:, [3, 60]], atol=1e-5)
    centred = x - x.mean(-1, keepdim=True)
    assert torch.allclose(coder.encode(centred), coder.encode(x), atol=1e-5)


def test_heads_values_are_not_centred(tmp_path: Path) -> None:
    host = with_mean()
    kwargs = {KWARGS: {"center_writing_weights": True, "fold_ln": True}}
    coder = coder_with(host, tmp_path / "a", hook="blocks.1.attn.hook_z", **kwargs)
    assert not coder.stream.centred
    with pytest.raises(MismatchError, match=r"fold_value_biases=True, whose z\.1 is not that of the plain"):
        coder_with(host, tmp_path / "b", hook="blocks.1.attn.hook_z", **{KWARGS: {"fold_value_biases": True}})
    assert not coder_with(host, tmp_path / "c", **{KWARGS: {"fold_value_biases": True}}).stream.centred


def test_a_centred_stream_is_refused_where_norms_keep_the_mean(tmp_path: Path) -> None:
    host = tiny_host("llama")
    assert not host.subtracts_mean
    with pytest.raises(MismatchError, match="RMSNorm"):
        coder_with(host, tmp_path / "a", **{KWARGS: {"center_writing_weights": True}})
    with pytest.raises(MismatchError, match="RMSNorm"):
        check_fit(host, load_coder(tmp_path / "a"), TEXTS, progress=False)


@pytest.mark.parametrize(
    ("metadata", "error", "what"),
    [
        ({KWARGS: {"load_in_4bit": True}}, MismatchError, "load_in_4bit=True, whose resid_pre.1"),
        ({KWARGS: {"revision": "step1000"}}, MismatchError, "another checkpoint .*: revision=step1000"),
        ({KWARGS: {"checkpoint_index": 0}}, MismatchError, "checkpoint_index=0"),
        ({KWARGS: "centred"}, CorruptFileError, KWARGS),
        ({"prepend_bos": "yes"}, CorruptFileError, "prepend_bos = the string 'yes'"),
        ({"context_size": 0}, CorruptFileError, "context_size"),
        ({"context_size": True}, CorruptFileError, "context_size"),
        ({"seqpos_slice": [0, 8, 2]}, CorruptFileError, "seqpos_slice"),
        ({"exclude_special_tokens": [1.5]}, CorruptFileError, "exclude_special_tokens"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    metadata: dict[str, Any], error: type[Exception], what: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=what):
        coder_with(with_mean(), tmp_path / "a", **metadata)


def test_another_checkpoint_is_taken_where_somebody_vouches_for_it(tmp_path: Path) -> None:
    host = with_mean()
    with pytest.raises(MismatchError, match="checkpoint"):
        coder_with(host, tmp_path / "a", **{KWARGS: {"revision": "step1000"}})
    assert load_coder(tmp_path / "a", host=host, trained_on=host.name).site.layer == 1


def test_what_changes_no_stream_is_taken(tmp_path: Path) -> None:
    kwargs = {"fold_ln": True, "center_unembed": True, "dtype": "float32", "n_devices": 1, "revision": None}
    coder = coder_with(with_mean(), tmp_path / "a", **{KWARGS: kwargs})
    assert coder.stream == (False, None, None, None, None, False)


def test_texts_of_another_kind_are_said_beside_the_fit(tmp_path: Path) -> None:
    host = layout_host("gemma")  # adds a BOS
    acts = capture(host, ["So it is 4."] * 3, ["resid_post.1"], progress=False)
    rows = acts.at("resid_post.1")
    tiny_coder(host).save(tmp_path / "c")
    file = tmp_path / "c" / "cfg.json"
    config = json.loads(file.read_text())
    texts = ["So it is 4. But wait, it is 5.", "Okay. Wait, let me check."]
    lengths = [len(host.encode(text)) for text in texts]
    assert rows.shape[1] == 32

    def notes(**metadata: Any) -> tuple[str, ...]:
        file.write_text(json.dumps(config | {"metadata": config["metadata"] | metadata}))
        file_config = json.loads(file.read_text())
        file_config["metadata"]["reasonmech"]["sinks"] = {"n_sinks": 0}
        file.write_text(json.dumps(file_config))
        return check_fit(host, load_coder(tmp_path / "c", host=host), texts, progress=False).notes

    assert notes() == notes(prepend_bos=True, context_size=max(lengths)) == ()
    (bos,) = notes(prepend_bos=False)
    assert bos == "the coder's texts did not begin with '<s>' (prepend_bos), 2 of 2 texts here do"
    (long,) = notes(context_size=8)
    beyond = sum(length - 8 for length in lengths)
    assert f"2 of 2 texts here have more: {beyond} tokens stand where it saw none" in long
    (elsewhere,) = notes(seqpos_slice=[1, None])
    assert "positions 1: of its texts (seqpos_slice), 2 tokens here stand elsewhere" in elsewhere
    (special,) = notes(exclude_special_tokens=True)
    assert "exclude_special_tokens), 2 tokens here are such" in special
    without = tiny_host()
    tiny_coder(without).save(tmp_path / "d")
    file = tmp_path / "d" / "cfg.json"
    config = json.loads(file.read_text())
    config["metadata"]["reasonmech"]["sinks"] = {"n_sinks": 0}
    config["metadata"]["prepend_bos"] = True
    file.write_text(json.dumps(config))
    report = check_fit(without, load_coder(tmp_path / "d", host=without), TEXTS, progress=False)
    assert report.notes == ("the coder's texts began with a BOS (prepend_bos), and this tokenizer has none",)
    assert "this tokenizer has none" in report._repr_html_() and json.dumps(report.to_json())


@pytest.mark.parametrize(
    ("name", "with_bos"), [("gemma", True), ("llama2", True), ("words", False), ("qwen2", False)]
)
def test_a_coder_from_here_records_how_its_texts_began(name: str, with_bos: bool, tmp_path: Path) -> None:
    host = layout_host(name)
    texts = ["So it is 4. But wait, it is 5."] * 20 if name != "words" else TEXTS
    config = rm.CoderConfig(architecture="topk", d_sae=32, k=4, steps=3, batch_size=64)
    acts = capture(host, texts, ["resid_post.1"], progress=False)
    coder = train_coder(acts, config, progress=False)
    assert isinstance(coder, SAELensCoder)
    assert coder.stream.prepend_bos == acts.with_bos == with_bos
    assert coder.stream.context_size == max(len(host.encode(text)) for text in texts)
    stored = capture(host, texts, ["resid_post.1"], out=tmp_path / "store", progress=False)
    assert (stored.with_bos, stored.longest) == (with_bos, coder.stream.context_size)


def test_features_are_whole_numbers(tmp_path: Path) -> None:
    coder = tiny_coder(tiny_host())
    for wrong in (3.7, True, "3"):
        with pytest.raises(ArgumentError, match="whole numbers"):
            coder.rows([wrong])  # pyright: ignore[reportArgumentType]
        with pytest.raises(ArgumentError, match="whole numbers"):
            coder.read(torch.zeros(2, 32), [wrong])  # pyright: ignore[reportArgumentType]
