"""Checkpoints are checked before anything is believed of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.hosts import Host, load_host
from reasonmech.testing import ARCHITECTURES, tiny_host

IDS = torch.tensor([[6, 9, 12, 7, 30]])


def saved(host: Host, path: Path) -> Path:
    host.model.save_pretrained(path)
    host.tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return saved(tiny_host(), tmp_path / "model")


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
