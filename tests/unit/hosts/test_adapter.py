"""Adapters as models: what peft merges, held to the base that it was trained from."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PeftConfig, PromptTuningConfig
from safetensors.torch import load_file, save_file

from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.hosts import Host, load_host, load_pair
from tests.hosts import every_host
from tests.layouts import layout, layout_host, layout_model, model_of

LORA = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")


def saved(host: Host, directory: Path) -> Path:
    host.model.save_pretrained(directory)
    host.tokenizer.save_pretrained(directory)
    return directory


def trained(base: Host, config: PeftConfig, directory: Path) -> peft.PeftModel:
    """An adapter of random numbers, as peft writes it, and the model with it beside its layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = peft.PeftModelForCausalLM(copy.deepcopy(base.model), copy.deepcopy(config))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(str(directory))
    return model.eval()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return saved(layout_host("qwen2"), tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    trained(load_host(base), LORA, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    "config",
    [
        LORA,
        LoraConfig(r=4, target_modules=["v_proj"], use_dora=True, use_rslora=True),
        LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]),
        IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        LoHaConfig(r=2, alpha=4, target_modules=["o_proj"]),
    ],
    ids=["lora", "dora", "head", "ia3", "loha"],
)
def test_an_adapter_is_loaded_as_peft_merges_it_bit_for_bit(
    base: Path, config: PeftConfig, tmp_path: Path
) -> None:
    before = load_host(base)
    beside = trained(before, config, tmp_path / "adapter")
    host = load_host(tmp_path / "adapter")  # its base is where its settings say
    merged = beside.merge_and_unload().state_dict()
    assert {name: tuple(t.shape) for name, t in merged.items()} == {
        name: tuple(t.shape) for name, t in host.model.state_dict().items()
    }
    assert all(torch.equal(tensor, merged[name]) for name, tensor in host.model.state_dict().items())
    assert host.weight_hash != before.weight_hash and not list(host.model_identity().deviations)
    again = load_host(saved(host, tmp_path / "merged"))
    assert again.model_identity() == host.model_identity()
    assert load_host(tmp_path / "adapter", base=before).weight_hash == host.weight_hash
    assert load_host(base).weight_hash == before.weight_hash  # what was in hand stays as it was


@pytest.mark.parametrize("arch", ["gpt2", "gpt_neox", "gemma2", "qwen3"])
def test_adapters_of_other_architectures_are_merged(arch: str, tmp_path: Path) -> None:
    base = load_host(saved(every_host(arch), tmp_path / "base"))
    targets = {"gpt2": ["c_attn"], "gpt_neox": ["query_key_value"]}.get(arch, ["o_proj"])
    fan_in = arch == "gpt2"
    beside = trained(
        base, LoraConfig(r=2, target_modules=targets, fan_in_fan_out=fan_in), tmp_path / "adapter"
    )
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        theirs, ours = beside(ids).logits, load_host(tmp_path / "adapter").model(ids).logits
        assert not torch.allclose(theirs, base.model(ids).logits, atol=1e-3)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_thinking_model_may_be_an_adapter_of_the_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    pair = load_pair(base=base, thinking=adapter)
    assert pair.thinking.weight_hash == load_host(adapter).weight_hash != pair.base.weight_hash
    assert pair.differences == () and pair.thinking.tokenizer.get_vocab() == pair.base.tokenizer.get_vocab()
    (tmp_path / "pair.yaml").write_text("name: mine\nbase: base\nthinking: adapter\n")
    from_file = load_pair(tmp_path / "pair.yaml", dtype=torch.bfloat16)
    assert {from_file.base.dtype, from_file.thinking.dtype} == {torch.bfloat16}
    assert from_file.base.weight_hash != from_file.thinking.weight_hash
    in_hand = load_pair(base=pair.base, thinking=adapter)
    assert in_hand.base is pair.base and in_hand.thinking.weight_hash == pair.thinking.weight_hash


def test_an_adapter_of_another_base_is_refused_by_its_weights(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    other = saved(layout_host("qwen2", seed=1), tmp_path / "other")
    for wrong in (other, load_host(other)):
        with pytest.raises(MismatchError, match=r"was trained from .*has other weights"):
            load_pair(base=wrong, thinking=adapter)
    copied = shutil.copytree(base, tmp_path / "elsewhere")
    assert load_host(adapter, base=copied).weight_hash == load_host(adapter).weight_hash
    changed = load_host(base)
    changed.unembedding().data[0] += 1  # it says where it comes from, and is another model
    with pytest.raises(MismatchError, match="has other weights"):
        load_host(adapter, base=changed)


def test_of_a_base_that_is_not_here_the_names_are_compared(base: Path, adapter: Path, tmp_path: Path) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text())
    for named, taken in (
        ("org/base", True),
        ("mirror/BASE", True),
        ("org/base-instruct", False),
        (None, True),
    ):
        settings["base_model_name_or_path"] = named
        (adapter / "adapter_config.json").write_text(json.dumps(settings))
        if taken:
            load_host(adapter, base=base)
        else:
            with pytest.raises(MismatchError, match="the base given is") as caught:
                load_host(adapter, base=base)
            assert "base_model_name_or_path" in caught.value.do
    with pytest.raises(ArgumentError, match="does not say what it was trained from"):
        load_host(adapter)
    settings["base_model_name_or_path"] = str(tmp_path / "gone")
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UnknownNameError, match=r"unknown base.*gone") as caught:
        load_host(adapter)
    assert "base=" in caught.value.do


def test_an_adapter_that_does_not_fit_says_where(adapter: Path, tmp_path: Path) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": None}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(MismatchError, match=r"size mismatch|shape"):
        load_pair(base=wider(), thinking=adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    further = {name.replace("layers.1", "layers.7"): tensor.clone() for name, tensor in weights.items()}
    save_file(weights | further, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"no place for .*layers.7"):
        load_host(adapter, base=layout_host("qwen2"))
    first = {name: tensor for name, tensor in weights.items() if "layers.1" not in name}
    save_file(first, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"adapter does not have .*layers.1"):
        load_host(adapter, base=layout_host("qwen2"))
    with pytest.raises(MismatchError, match="Target modules"):
        load_host(adapter, base=every_host("gpt2"))


def wider() -> Host:
    model = layout_model("qwen2")
    config = copy.deepcopy(model.config)
    config.hidden_size, config.head_dim = 64, 16
    return Host(type(model)(config), layout("qwen2"), name="wider")


def test_damaged_adapters_are_refused(base: Path, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    with pytest.raises(CorruptFileError):
        load_host(adapter)
    file.write_bytes(whole)
    weights = load_file(file)
    weights[next(iter(weights))][0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(NonFiniteError, match="of the adapter"):
        load_host(adapter)
    file.unlink()
    with pytest.raises(CorruptFileError, match="no adapter_model"):
        load_host(adapter)
    (adapter / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(PickleRefusedError, match="pickled"):
        load_host(adapter)
    with pytest.raises(ArgumentError, match="is no adapter"):
        load_host(base, base=base)


def test_kinds_that_are_no_change_of_weights_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    trained(
        load_host(base), PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"), tmp_path / "prompt"
    )
    with pytest.raises(MismatchError, match=r"PROMPT_TUNING.*cannot be merged"):
        load_host(tmp_path / "prompt")
    settings = json.loads((adapter / "adapter_config.json").read_text()) | {"peft_type": "HYPERLORA"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(MismatchError, match="peft knows no such kind"):
        load_host(adapter)


def test_a_head_that_shares_its_weights_with_the_embedding_cannot_be_adapted_alone(tmp_path: Path) -> None:
    model = model_of(layout("qwen2"))
    model.config.tie_word_embeddings = True
    model.tie_weights()
    base = load_host(saved(Host(model, layout("qwen2"), name="tied"), tmp_path / "base"))
    trained(base, LoraConfig(r=2, target_modules=["lm_head"]), tmp_path / "adapter")
    with pytest.raises(MismatchError, match="cannot be merged: merged it moves logits"):
        load_host(tmp_path / "adapter")


def test_without_peft_the_command_is_named_before_the_base_is_read(
    adapter: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(base)
    monkeypatch.setattr("reasonmech.hosts.merging.find_spec", lambda name: None)
    with pytest.raises(MismatchError, match="takes the package peft") as caught:
        load_host(adapter)
    assert caught.value.do.startswith("pip install 'peft")


def test_an_adapter_on_the_hub_is_merged_like_one_in_a_directory(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached(name: str, file: str, **how: object) -> str | None:
        return str(adapter / file) if (adapter / file).is_file() else None

    monkeypatch.setattr(
        "reasonmech.hosts.adapter.find_adapter_config_file", lambda name: cached(name, "adapter_config.json")
    )
    monkeypatch.setattr("reasonmech.hosts.adapter.cached_file", cached)
    assert load_host("org/adapter").weight_hash == load_host(adapter).weight_hash
