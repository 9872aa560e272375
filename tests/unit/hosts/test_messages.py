"""What a failed load says: what happened, what is there, and what to do, as the cause bears it out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from reasonmech.coders import load_coder
from reasonmech.errors import CorruptFileError, NonFiniteError, UnknownNameError
from reasonmech.hosts import Host
from reasonmech.organisms import load_host, load_pair
from reasonmech.testing import tiny_host


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    host = tiny_host()
    host.model.save_pretrained(tmp_path / "model")
    host.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["tiny-when/coder", "tiny-when/base", "tiny-when", "nope/coder", ""])
def test_an_organism_without_a_coder_is_no_unknown_organism(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown coder of an organism") as caught:
        load_coder(f"organism:{name}")
    assert "/base" not in caught.value.allowed and "train-coder" in caught.value.do
    assert ("train-coder tiny-when topk" in caught.value.do) == name.startswith("tiny-when")


@pytest.mark.parametrize(
    ("models", "happened"),
    [
        ({"base": "x"}, "thinking sibling of base= 'x'"),
        ({"thinking": Path("x")}, "base sibling of thinking= 'x'"),
        ({"base": tiny_host()}, "thinking sibling of base= 'a Host'"),
        ({}, "pair"),
    ],
)
def test_half_a_pair_is_told_what_is_missing(models: dict[str, str | Path | Host], happened: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown {happened}") as caught:
        load_pair(**models)  # type: ignore[arg-type]
    assert "both base= and thinking=" in caught.value.do and "tiny-when" in caught.value.allowed
    assert "None" not in str(caught.value)


def test_an_organism_is_two_models() -> None:
    with pytest.raises(UnknownNameError, match="unknown organism 'organism:tiny-when'") as caught:
        load_host("organism:tiny-when")
    assert "organism:tiny-when/base or organism:tiny-when/thinking" in caught.value.do
    assert "load_pair('tiny-when')" in caught.value.do
    for name in ("organism:nope", "organism:", "organism:tiny-when/nope"):
        with pytest.raises(UnknownNameError, match="unknown organism") as caught:
            load_host(name)
        assert "organism:tiny-when/base" in caught.value.allowed and "rm.load_host" in caught.value.do


@pytest.mark.parametrize(
    ("cause", "do"),
    [
        (LocalEntryNotFoundError("no network"), r"cannot be reached.*hf download some/repo"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), "no such name"),  # without a response
        (None, "transformers says: it failed"),
    ],
)
def test_a_name_of_the_hub_that_is_not_read_says_why(
    cause: Exception | None, do: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **settings: object) -> object:
        raise OSError("it failed") from cause

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    monkeypatch.setattr("reasonmech.hosts.adapter.find_adapter_config_file", lambda name: None)
    with pytest.raises(UnknownNameError, match=f"'some/repo'[\\s\\S]*owner/name[\\s\\S]*{do}"):
        load_host("some/repo")


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("ends", [{"a": 1}, {}, "2", [1, "2"], [[1]], True, 2.0])
def test_ends_of_text_that_are_no_ids_are_a_damaged_file(checkpoint: Path, file: str, ends: object) -> None:
    path = checkpoint / file
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(settings | {"eos_token_id": ends}))
    with pytest.raises(CorruptFileError, match=rf"{file} says eos_token_id.* = (a|the) "):
        load_host(checkpoint)


@pytest.mark.parametrize("ends", [{"a": 1}, "2", [True]])
def test_ends_of_text_of_a_model_in_hand_are_ids(ends: object) -> None:
    host = tiny_host()
    assert host.model.generation_config is not None
    host.model.generation_config.eos_token_id = ends  # type: ignore[assignment]
    with pytest.raises(CorruptFileError, match="eos_token_id is"):
        assert Host(host.model, host.tokenizer, name="mine").eos_ids


def test_rows_that_no_token_has_are_named_where_they_alone_are_not_finite(checkpoint: Path) -> None:
    n_tokens = len(tiny_host().tokenizer)
    file = checkpoint / "model.safetensors"
    state, config = load_file(file), json.loads((checkpoint / "config.json").read_text())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in state:
            width = state[name].shape[1]
            state[name] = torch.cat([state[name][:n_tokens], torch.full((4, width), torch.nan)])
    save_file(state, file, metadata={"format": "pt"})
    (checkpoint / "config.json").write_text(json.dumps(config | {"vocab_size": n_tokens + 4}))
    with pytest.raises(NonFiniteError, match=f"rows {n_tokens} to {n_tokens + 3}, which none") as caught:
        load_host(checkpoint)
    assert f"weight[{n_tokens}:] = 0" in caught.value.do and "dtype" not in caught.value.do
    state["model.embed_tokens.weight"][3, 0] = torch.inf  # a token's, too
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(NonFiniteError, match="hold NaN or infinity") as caught:
        load_host(checkpoint)
    assert "dtype" in caught.value.do
