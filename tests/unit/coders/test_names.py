"""A coder that knows its model by name alone is held to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonmech.coders import load_coder
from reasonmech.errors import MismatchError
from reasonmech.hosts import Host
from reasonmech.testing import tiny_coder, tiny_host


def named(path: Path, name: str | None) -> Path:
    """A coder as others publish them: a model's name and no weight hash."""
    tiny_coder(tiny_host()).save(path)
    config = json.loads((path / "cfg.json").read_text())
    del config["metadata"]["reasonmech"], config["metadata"]["model_name"]
    config["metadata"] |= {} if name is None else {"model_name": name}
    (path / "cfg.json").write_text(json.dumps(config))
    return path


def host(name: str) -> Host:
    plain = tiny_host()
    return Host(plain.model, plain.tokenizer, name=name)


@pytest.mark.parametrize(
    ("recorded", "of_host"),
    [
        ("Qwen/Qwen3-1.7B-Base", "Qwen/Qwen3-1.7B-Base"),
        ("qwen3-1.7b-base", "Qwen/Qwen3-1.7B-Base"),
        ("Qwen/Qwen3-1.7B-Base", "/models/Qwen3-1.7B-Base"),
        ("Qwen/Qwen3-1.7B-Base", "/cache/models--Qwen--Qwen3-1.7B-Base/snapshots/0f1e"),
    ],
)
def test_the_same_model_by_another_path_is_the_same(recorded: str, of_host: str, tmp_path: Path) -> None:
    assert load_coder(named(tmp_path / "c", recorded), host=host(of_host)).model_hash is None


@pytest.mark.parametrize(
    ("recorded", "of_host"),
    [
        ("Qwen/Qwen3-1.7B-Base", "Qwen/Qwen3-1.7B"),  # the thinking sibling
        ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-1.7B-Base"),
        ("Qwen/Qwen3-1.7B-Base", "/models/copy"),
        ("google/gemma-2-2b", "google/gemma-2-2b-it"),
    ],
)
def test_another_model_is_refused_unless_one_vouches_for_it(
    recorded: str, of_host: str, tmp_path: Path
) -> None:
    path = named(tmp_path / "c", recorded)
    with pytest.raises(MismatchError, match=f"trained on '{recorded}'[\\s\\S]*trained_on='{recorded}'"):
        load_coder(path, host=host(of_host))
    with pytest.raises(MismatchError, match="the host is"):
        load_coder(path, host=host(of_host), trained_on="something else")
    assert load_coder(path, host=host(of_host), trained_on=recorded).d_in == 32
    assert load_coder(path).d_in == 32  # without a host there is nothing to check


def test_a_coder_that_names_no_model_needs_a_word(tmp_path: Path) -> None:
    path = named(tmp_path / "c", None)
    with pytest.raises(MismatchError, match="does not say which model"):
        load_coder(path, host=host("m"))
    assert load_coder(path, host=host("m"), trained_on="m").model_hash is None


def test_a_weight_hash_cannot_be_talked_away(tmp_path: Path) -> None:
    tiny_coder(tiny_host()).save(tmp_path / "c")
    with pytest.raises(MismatchError, match="trained on a model with weights"):
        load_coder(tmp_path / "c", host=tiny_host(seed=1), trained_on="tiny-llama-0")
