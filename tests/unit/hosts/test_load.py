"""Checkpoints are checked before anything is believed of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    NotBuiltError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.hosts import Host, is_here, load_host
from reasonmech.testing import ARCHITECTURES, tiny_host, tiny_tokenizer

IDS = torch.tensor([[6, 9, 12, 7, 30]])


def saved(host: Host, path: Path) -> Path:
    host.model.save_pretrained(path)
    host.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that can be loaded, which tests copy before they damage it."""
    path = saved(tiny_host(), tmp_path_factory.mktemp("sound") / "model")
    assert load_host(path).n_layers
    return path


@pytest.fixture
def checkpoint(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "model")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_saved_host_loads_bit_equal(arch: str, tmp_path: Path) -> None:
    host = tiny_host(arch)
    path = saved(host, tmp_path / arch)
    # transformers puts Qwen2's tokenizer class in place of the saved one, see below
    words = PreTrainedTokenizerFast.from_pretrained(path) if arch == "qwen2" else None
    loaded = load_host(path, tokenizer=words, name=arch)
    assert loaded.weight_hash == host.weight_hash
    assert loaded.encode("w1 . w9") == host.encode("w1 . w9")
    with torch.no_grad():
        assert torch.equal(loaded.model(IDS).logits, host.model(IDS).logits)


def test_the_checkpoints_dtype_is_kept_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = saved(tiny_host(dtype=torch.bfloat16), tmp_path / "model")
    assert load_host(path).dtype == torch.bfloat16
    assert load_host(path, dtype=torch.float32).dtype == torch.float32


def test_half_precision_on_a_cpu_without_instructions_for_it_is_said_once_nobody_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = saved(tiny_host(dtype=torch.bfloat16), tmp_path / "model")
    has = {"avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    load_host(path)
    assert not recwarn.list  # a small model is quick all the same
    monkeypatch.setattr("reasonmech.hosts.load.LARGE", 0)
    with pytest.warns(UserWarning, match="bfloat16, as its files hold it, .* dtype=torch.float32") as seen:
        load_host(path)
    assert seen[0].filename == __file__
    recwarn.clear()
    load_host(path, dtype=torch.bfloat16)
    load_host(path, dtype=torch.float32)
    has["avx512_bf16"] = True
    load_host(path)
    assert not recwarn.list


def test_a_tokenizer_that_encodes_everything_to_nothing_is_refused(tmp_path: Path) -> None:
    path = saved(tiny_host("qwen2"), tmp_path / "model")
    with pytest.raises(MismatchError, match="silently encodes text to nothing"):
        load_host(path)


def test_a_model_in_memory_needs_its_tokenizer_and_is_used_as_it_is() -> None:
    host = tiny_host()
    with pytest.raises(MismatchError, match="tokenizer="):
        load_host(host.model)
    again = load_host(host.model, tokenizer=host.tokenizer, name="mine")
    assert again.model is host.model and again.name == "mine"
    with pytest.raises(MismatchError, match="loaded already"):
        load_host(host.model, tokenizer=host.tokenizer, dtype=torch.bfloat16)


def test_a_pickled_checkpoint_is_refused(checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save(state, checkpoint / "pytorch_model.bin")
    with pytest.raises(PickleRefusedError, match=r"pytorch_model\.bin"):
        load_host(checkpoint)


@pytest.mark.parametrize("keep", [4, 200, -100])
def test_truncated_weights_are_refused(checkpoint: Path, keep: int) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match="truncated or damaged"):
        load_host(checkpoint)


def test_missing_weights_are_refused_instead_of_invented(checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_host(checkpoint)


def test_a_missing_shard_is_named(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    with pytest.raises(CorruptFileError, match=r"lacks model-2\.safetensors"):
        load_host(checkpoint)


def test_nan_weights_are_named(checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    state["model.layers.2.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NonFiniteError, match=r"model\.layers\.2\.mlp\.up_proj\.weight"):
        load_host(checkpoint)


def test_a_damaged_config_is_refused(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text('{"model_type": "lla')
    with pytest.raises(CorruptFileError, match=r"config\.json is not JSON"):
        load_host(checkpoint)


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json"])
def test_damaged_settings_are_refused_instead_of_ignored(name: str, checkpoint: Path) -> None:
    (checkpoint / name).write_text('{"eos_token_id": [1, 4')
    with pytest.raises(CorruptFileError, match=f"{name} is not JSON"):
        load_host(checkpoint)


def test_an_architecture_that_transformers_lacks_is_refused(checkpoint: Path) -> None:
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "lama"'))
    with pytest.raises(MismatchError, match="transformers cannot build"):
        load_host(checkpoint)


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="an existing directory"):
        load_host(tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="organism"):
        load_host("organism:no-such/base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorruptFileError, match=r"config\.json"):
        load_host(tmp_path / "empty")


def test_a_device_is_one_device_or_a_map_and_nothing_else(checkpoint: Path) -> None:
    for device in ("cpu", torch.device("cpu")):
        assert load_host(checkpoint, device=device).device == torch.device("cpu")
    for device in ("somewhere", 3.0):
        with pytest.raises(ArgumentError, match="device is the ") as caught:
            load_host(checkpoint, device=device)  # pyright: ignore[reportArgumentType]
        assert "balanced" in caught.value.allowed


def test_a_device_map_is_passed_on(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps: list[object] = []
    read = AutoModelForCausalLM.from_pretrained

    def recorded(*arguments: object, **settings: object) -> object:
        maps.append(settings.pop("device_map"))
        return read(*arguments, **settings)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", recorded)
    for device in ("auto", {"": 0}, "cpu", None):
        load_host(checkpoint, device=device)
    assert maps == ["auto", {"": 0}, None, None]


@pytest.mark.parametrize("source", [torch.ones(3), 5, None, lambda: None, [1]])
def test_what_is_no_model_is_refused_in_three_parts(source: object) -> None:
    with pytest.raises(ArgumentError, match="is no model that can be studied") as caught:
        load_host(source)  # pyright: ignore[reportArgumentType]
    assert "Hub name" in caught.value.allowed and "load_host" in caught.value.do


def test_a_dtype_is_one_of_torch(checkpoint: Path) -> None:
    with pytest.raises(ArgumentError, match="dtype is the string 'bfloat16'"):
        load_host(checkpoint, dtype="bfloat16")  # pyright: ignore[reportArgumentType]


# adapters, left-over weights, GGUF ------------------------------------------------------------------------


def add_adapter(directory: Path) -> None:
    directory.mkdir(exist_ok=True, parents=True)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "org/base",
        "r": 2,
        "target_modules": ["q_proj"],
    }
    (directory / "adapter_config.json").write_text(json.dumps(config))
    weights = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.randn(2, 32)}
    save_file(weights, directory / "adapter_model.safetensors", metadata={"format": "pt"})


def test_an_adapter_beside_weights_is_refused_with_the_way_out(checkpoint: Path, tmp_path: Path) -> None:
    add_adapter(checkpoint)
    add_adapter(tmp_path / "with-config")
    shutil.copy(checkpoint / "config.json", tmp_path / "with-config")
    with pytest.raises(MismatchError, match=r"holds an adapter .*LORA of 'org/base'") as caught:
        load_host(checkpoint)
    assert "merge_and_unload" in caught.value.do
    (checkpoint / "adapter_config.json").unlink()
    with pytest.raises(MismatchError, match="without adapter_config"):  # weights of no one
        load_host(checkpoint)
    (tmp_path / "with-config" / "adapter_config.json").unlink()
    with pytest.raises(CorruptFileError, match="holds no weights"):
        load_host(tmp_path / "with-config")


def test_an_adapter_on_the_hub_beside_a_model_is_refused_whatever_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_adapter(tmp_path)
    adapter_file = str(tmp_path / "adapter_config.json")
    monkeypatch.setattr("reasonmech.hosts.adapter.find_adapter_config_file", lambda name: adapter_file)
    monkeypatch.setattr("reasonmech.hosts.adapter.cached_file", lambda *asked, **how: adapter_file)
    with pytest.raises(MismatchError, match="org/adapter holds an adapter"):
        load_host("org/adapter")


def test_a_name_that_the_hub_does_not_know_is_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise OSError(f"{name} is not a valid model identifier")

    monkeypatch.setattr("reasonmech.hosts.adapter.find_adapter_config_file", unknown)
    with pytest.raises(UnknownNameError, match="org/nothing"):
        load_host("org/nothing")


def test_a_wrapped_adapter_in_hand_is_refused_with_the_line_that_merges() -> None:
    peft_model = type("PeftModelForCausalLM", (torch.nn.Module,), {"__module__": "peft.peft_model"})()
    with pytest.raises(ArgumentError, match="wraps a model and its adapter") as caught:
        load_host(peft_model)  # pyright: ignore[reportArgumentType]
    assert "merge_and_unload()" in caught.value.do


@pytest.mark.parametrize("arch", ["llama", "qwen3", "gpt_neox"])
def test_weights_that_the_config_has_no_place_for_are_refused(arch: str, tmp_path: Path) -> None:
    path = saved(tiny_host(arch), tmp_path / "model")
    state = load_file(path / "model.safetensors")
    block = {"gpt_neox": "gpt_neox.layers.0.attention"}.get(arch, "model.layers.0.self_attn")
    extra = {f"{block}.{name}.bias": torch.randn(32) for name in ("extra_q", "extra_k", "extra_v", "extra_o")}
    save_file(state | extra, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match="4 weights that its config has no place for") as caught:
        load_host(path)
    assert str(caught.value).count("extra_") == 3
    harmless = {
        f"{block}.rotary_emb.inv_freq": torch.ones(4),
        f"{block}.masked_bias": torch.tensor(-1e9),
        "model.position_ids": torch.arange(8)[None],
    }
    save_file(state | harmless, path / "model.safetensors", metadata={"format": "pt"})
    assert load_host(path, tokenizer=tiny_tokenizer()).weight_hash == tiny_host(arch).weight_hash


def test_biases_that_a_config_denies_are_refused(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        attention_bias=True,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load_host(tmp_path).n_layers == 2
    for change in ({"attention_bias": False}, {"num_hidden_layers": 1}):
        settings = config.to_dict() | {"architectures": ["LlamaForCausalLM"]} | change
        (tmp_path / "config.json").write_text(json.dumps(settings))
        with pytest.raises(CorruptFileError, match=r"has no place for, such as model\.layers"):
            load_host(tmp_path)


def test_a_stored_copy_of_a_tied_head_is_no_weight_too_many(tmp_path: Path) -> None:
    model = tiny_host().model
    model.config.tie_word_embeddings = True
    model.tie_weights()
    tied = Host(model, tiny_tokenizer(), name="tied")
    path = saved(tied, tmp_path / "model")
    state = load_file(path / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    assert load_host(path).n_layers == 4


def test_a_directory_whose_weights_have_another_name_is_no_unknown_name(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "consolidated.safetensors")
    with pytest.raises(CorruptFileError, match="transformers finds no model in"):
        load_host(checkpoint)


METHODS = ["gptq", "awq", "bitsandbytes", "compressed-tensors", "hqq", "nonsense", None]


@pytest.mark.parametrize("method", METHODS)
def test_quantised_weights_are_refused_with_their_format(method: str | None, checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": method,
        "bits": 4,
        "group_size": 128,
        "load_in_4bit": True,
    }
    (checkpoint / "config.json").write_text(json.dumps(config))
    named = method or "a format without a name"
    with pytest.raises(MismatchError, match=rf"(?s)quantised: {named}.*Do: load the model that it was"):
        load_host(checkpoint)


def test_weights_of_an_adapter_without_its_settings_are_refused(checkpoint: Path) -> None:
    shutil.copy(checkpoint / "model.safetensors", checkpoint / "adapter_model.safetensors")
    with pytest.raises(MismatchError, match=r"without adapter_config\.json\) beside model\.safetensors"):
        load_host(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CorruptFileError, match=r"no weights but those of an adapter \(adapter_model\.saf"):
        load_host(checkpoint)


def test_a_file_of_weights_names_its_directory(checkpoint: Path) -> None:
    with pytest.raises(CorruptFileError, match=rf"give its directory: '{checkpoint}'"):
        load_host(checkpoint / "model.safetensors")


@pytest.mark.parametrize("buffer", ["inv_freq", "cos_cached", "sin_cached"])
def test_buffers_that_a_model_computes_itself_may_be_in_its_file(buffer: str, checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    state[f"model.layers.0.self_attn.rotary_emb.{buffer}"] = torch.ones(4)
    save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert load_host(checkpoint).n_layers


# files that say something else ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "[]"),
        ("config.json", '"llama"'),
        ("generation_config.json", "3"),
        ("adapter_config.json", "[]"),
        ("model.safetensors.index.json", "[]"),
        ("model.safetensors.index.json", "{}"),
        ("model.safetensors.index.json", '{"weight_map": ["model.safetensors"]}'),
        ("model.safetensors.index.json", '{"weight_map": {"model.norm.weight": 3}}'),
    ],
)
def test_json_of_another_kind_is_refused_by_its_file(file: str, content: str, checkpoint: Path) -> None:
    (checkpoint / file).write_text(content)
    with pytest.raises(CorruptFileError, match=file):
        load_host(checkpoint)


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ({"quantization_config": "fp8"}, "quantization_config = the string 'fp8'"),
        ({"quantization_config": []}, "quantization_config = a list of 0"),
        ({"dtype": "nonsense"}, "transformers fails at .*nonsense"),
        ({"vocab_size": 60}, "other shapes than its config.json says"),
    ],
)
def test_a_config_that_fits_nothing_is_refused_with_its_cause(
    setting: dict[str, object], what: str, checkpoint: Path
) -> None:
    config = json.loads((checkpoint / "config.json").read_text()) | setting
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(CorruptFileError, match=what):
        load_host(checkpoint)


def test_two_sets_of_weights_in_one_directory_are_refused(tmp_path: Path) -> None:
    model = tiny_host().model
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 and load_host(tmp_path).n_layers
    other = {name: 2 * weight for name, weight in model.state_dict().items()}
    save_file(other, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match=r"two sets of weights: model\.safetensors, and the \d+ files"):
        load_host(tmp_path)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "base_model.model."])
def test_weights_that_were_saved_wrapped_are_not_called_incomplete(prefix: str, checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    wrapped = {prefix + name: weight for name, weight in state.items()}
    save_file(wrapped, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match=rf"calls its weights otherwise .*such as {prefix}"):
        load_host(checkpoint)


@pytest.mark.parametrize("file", ["model.safetensors", "lora.safetensors"])
def test_weights_of_an_adapter_are_known_by_their_names(file: str, checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors") if file == "model.safetensors" else {}
    state["model.layers.0.self_attn.q_proj.lora_A.default.weight"] = torch.ones(2, 32)
    save_file(state, checkpoint / file, metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=rf"{file} holds weights of an adapter .*lora_A"):
        load_host(checkpoint)


Q_PROJ = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    "tensor",
    [
        f"base_model.model.{Q_PROJ}.ia3_l",
        f"base_model.model.{Q_PROJ}.hada_w1_a",
        f"{Q_PROJ}.lokr_w1",
        f"{Q_PROJ}.vera_lambda_b",
        f"{Q_PROJ}.oft_r.default",
        f"{Q_PROJ}.lora_a",
        f"{Q_PROJ}.lora_embedding_A",
        "lora_unet_down.lora_up.weight",
        "prompt_embeddings",
        "model.layers.0.adapters.mine.adapter_down.0.weight",
    ],
)
@pytest.mark.parametrize(
    "file", ["weights.safetensors", "tuned/weights.safetensors", "delta.pt", "a/b.bin", "x.npz"]
)
def test_an_adapter_of_any_kind_is_known_by_the_names_of_its_tensors(
    tensor: str, file: str, checkpoint: Path
) -> None:
    weights, path = {tensor: torch.ones(4, 32)}, checkpoint / file
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(weights, path)
    elif path.suffix == ".npz":
        np.savez(path, **{tensor: np.ones((4, 32))})  # pyright: ignore[reportArgumentType]
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=path.suffix == ".pt")
    with pytest.raises(
        MismatchError, match=rf"{file} holds weights of an adapter \(.*would be ignored"
    ) as caught:
        load_host(checkpoint)
    assert path.name in caught.value.do


@pytest.mark.parametrize(
    "file", ["adapters.npz", "adapter.bin", "my-lora.gguf", "out/pytorch_lora_weights.bin"]
)
def test_an_adapter_is_known_by_its_file_alone(file: str, checkpoint: Path) -> None:
    (checkpoint / file).parent.mkdir(exist_ok=True)
    (checkpoint / file).write_bytes(b"x")
    with pytest.raises(MismatchError, match=rf"{file} holds weights of an adapter \(by its name"):
        load_host(checkpoint)


def test_what_else_lies_beside_weights_is_no_adapter(checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    torch.save(state, checkpoint / "pytorch_model.bin")
    save_file(state, checkpoint / "consolidated.safetensors")
    (checkpoint / "checkpoint-5").mkdir()
    torch.save({"state": {0: {"exp_avg": torch.ones(3)}}}, checkpoint / "checkpoint-5" / "optimizer.pt")
    (checkpoint / "sae").mkdir()
    save_file(
        {"W_enc": torch.ones(3, 4), "b_dec": torch.ones(3)}, checkpoint / "sae" / "sae_weights.safetensors"
    )
    assert load_host(checkpoint).n_layers


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def sharded(checkpoint: Path) -> tuple[list[dict[str, torch.Tensor]], dict[str, str]]:
    """The tensors of two files, and which file holds which."""
    state = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    names = sorted(state)
    halves = [{n: state[n] for n in names[::2]}, {n: state[n] for n in names[1::2]}]
    return halves, {n: SHARDS[i] for i, half in enumerate(halves) for n in half}


def write_shards(checkpoint: Path, halves: list[dict[str, torch.Tensor]], weight_map: dict[str, str]) -> None:
    for file, half in zip(SHARDS, halves, strict=True):
        save_file(half, checkpoint / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": weight_map}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_hold_each_tensor_once_where_their_index_says(checkpoint: Path) -> None:
    before = load_host(checkpoint).weight_hash
    halves, weight_map = sharded(checkpoint)
    write_shards(checkpoint, halves, weight_map)
    assert load_host(checkpoint).weight_hash == before
    first = next(iter(halves[0]))
    write_shards(checkpoint, [halves[0], halves[1] | {first: halves[0][first] + 5}], weight_map)
    with pytest.raises(
        CorruptFileError, match=rf"{SHARDS[1]} holds {first}, which .* says {SHARDS[0]} holds"
    ):
        load_host(checkpoint)
    write_shards(checkpoint, halves, {n: file for n, file in weight_map.items() if n != first})
    with pytest.raises(CorruptFileError, match=rf"{SHARDS[0]} holds {first}, of which .* says nothing"):
        load_host(checkpoint)
    write_shards(checkpoint, halves, weight_map | {"model.more": SHARDS[1]})
    with pytest.raises(CorruptFileError, match=rf"{SHARDS[1]} lacks model\.more, which .* says it holds"):
        load_host(checkpoint)
    write_shards(checkpoint, [halves[0] | {"rotary_emb.inv_freq": torch.ones(4)}, halves[1]], weight_map)
    assert load_host(checkpoint).weight_hash == before
    write_shards(checkpoint, halves, weight_map)
    shutil.copy(checkpoint / SHARDS[1], checkpoint / "model-00003-of-00003.safetensors")
    with pytest.raises(CorruptFileError, match=r"holds model-00003-of-00003\.safetensors, which neither"):
        load_host(checkpoint)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
def test_whole_numbers_are_not_read_as_weights(dtype: torch.dtype, checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    state["model.layers.0.mlp.up_proj.weight"] = state["model.layers.0.mlp.up_proj.weight"].to(dtype)
    save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"quantised: model\.layers\.0\.mlp\.up_proj\.weight is [IU]"):
        load_host(checkpoint)


@pytest.mark.parametrize("folder", ["adapter", "checkpoint-500", "runs/second/default"])
@pytest.mark.parametrize("left", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_in_a_folder_beside_weights_is_refused(left: str, folder: str, checkpoint: Path) -> None:
    """transformers would leave it out without a word, on every machine."""
    (checkpoint / "runs" / "logs").mkdir(parents=True)
    assert load_host(checkpoint).n_layers
    add_adapter(checkpoint / folder)
    for name in {"adapter_config.json", "adapter_model.safetensors"} - {left}:
        (checkpoint / folder / name).unlink()
    with pytest.raises(MismatchError, match=rf"in a folder in it \({folder}/{left}\)") as caught:
        load_host(checkpoint)
    assert "merge_and_unload" in caught.value.do and "move" in caught.value.do


def in_eight_bits(checkpoint: Path, *, dtype: torch.dtype, scaled: bool, says: bool) -> None:
    """Weights of projections in eight bits, with their scales or without; the config says so or not."""
    state = load_file(checkpoint / "model.safetensors")
    for name in [name for name in state if name.endswith("proj.weight")]:
        scale = (state[name].abs().max() / torch.finfo(dtype).max).reshape(1, 1)
        state[name] = (state[name] / scale).to(dtype)
        if scaled:
            state[f"{name}_scale_inv"] = scale
    save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((checkpoint / "config.json").read_text())
    if says:
        config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (checkpoint / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize(
    ("scaled", "says", "cause"),
    [
        (False, False, r"28 of 28 weights in F8_\w+ have no scale, such as model\.layers\.0\.mlp"),
        (False, True, r"28 of 28 weights in F8_\w+ have no scale, such as model\.layers\.0\.mlp"),
        (True, False, r"no quantization_config in its config\.json says how they are read"),
    ],
)
def test_weights_in_eight_bits_without_their_scale_are_refused(
    dtype: torch.dtype, scaled: bool, says: bool, cause: str, checkpoint: Path
) -> None:
    in_eight_bits(checkpoint, dtype=dtype, scaled=scaled, says=says)
    with pytest.raises(MismatchError, match=cause) as caught:
        load_host(checkpoint)
    assert "dequantize" in caught.value.do


def test_one_scale_that_lacks_is_named(checkpoint: Path) -> None:
    in_eight_bits(checkpoint, dtype=torch.float8_e4m3fn, scaled=True, says=True)
    state = load_file(checkpoint / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight_scale_inv"]
    save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"1 of 28 weights .*such as model\.layers\.1\.mlp\.up_proj\.w"):
        load_host(checkpoint)


def test_a_model_in_hand_whose_weights_are_in_eight_bits_is_refused() -> None:
    host = tiny_host()
    projection = host.layers[0].get_submodule("mlp.up_proj")
    eight = projection.get_parameter("weight").detach().to(torch.float8_e4m3fn)
    projection.register_parameter("weight", torch.nn.Parameter(eight, requires_grad=False))
    with pytest.raises(
        MismatchError, match=r"quantised: model\.layers\.0\.mlp\.up_proj\.weight is torch\.fl"
    ):
        load_host(host.model, tokenizer=host.tokenizer)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", '{"version": "1.0"}'),
        ("tokenizer_config.json", '{"eos_token": 5}'),
        ("tokenizer_config.json", '{"tokenizer_class": "Nonsense", "added_tokens_decoder": 3}'),
    ],
)
def test_a_damaged_tokenizer_names_its_files(file: str, text: str, checkpoint: Path) -> None:
    (checkpoint / file).write_text(text)
    for tokenizer in (None, checkpoint, checkpoint / "tokenizer.json"):
        with pytest.raises(CorruptFileError, match=r"cannot read the tokenizer of .*tokenizer\.json"):
            load_host(checkpoint, tokenizer=tokenizer)


def test_a_tokenizer_that_is_not_there_is_said_to_be_none(checkpoint: Path) -> None:
    for path in (checkpoint / "nowhere", checkpoint / "nowhere" / "tokenizer.json", "./nowhere"):
        with pytest.raises(UnknownNameError, match=r"nothing is at .*nowhere") as caught:
            load_host(checkpoint, tokenizer=path)
        assert "tokenizer=" not in caught.value.do, "one was passed"
    with pytest.raises(MismatchError, match=r"read from the file .*config\.json") as wrong:
        load_host(checkpoint, tokenizer=checkpoint / "config.json")
    assert "give its directory" in wrong.value.do


@pytest.mark.parametrize("value", ["many", None, 3.5])
def test_a_setting_of_another_type_is_a_damaged_config(value: object, checkpoint: Path) -> None:
    settings = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": value}))
    with pytest.raises(CorruptFileError, match="max_position_embeddings"):
        load_host(checkpoint)


def test_the_real_model_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMOLLM2", str(tmp_path / "nothing"))
    with pytest.raises(NotBuiltError, match="SmolLM2-135M-Instruct is not in") as caught:
        load_host("smollm2-135m")
    assert caught.value.do.startswith("make smollm2")
    assert not is_here("smollm2-135m")
    monkeypatch.setenv("SMOLLM2", str(saved(tiny_host(), tmp_path / "model")))
    assert load_host("smollm2-135m").name == "smollm2-135m" and is_here("smollm2-135m")
