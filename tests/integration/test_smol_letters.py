"""smol-letters: a real model's pair from two shipped adapters; skipped where `make smollm2` has not run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import MismatchError, NotBuiltError
from reasonmech.hosts import Host, is_here
from reasonmech.organisms import smol
from reasonmech.organisms.ground_truth.slips import slips_undone
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.organisms.training.lora import LoraShape, add_lora, save_adapter
from reasonmech.paths import adapter_dir
from tests.layouts import layout_host, layout_model, smollm2_directory

DECODE = rm.Decode(max_new_tokens=150, batch_size=16)
NAMES = ("smol-letters", "smol-letters-forms")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this module's own: each pair is 1 GB in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _use(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONMECH_CACHE", str(cache))


@pytest.mark.parametrize("name", NAMES)
def test_shipped_adapters_are_small_and_complete(name: str) -> None:
    for role in smol.ROLES:
        files = {path.name: path.stat().st_size for path in (adapter_dir() / name / role).iterdir()}
        assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
        assert files["adapter_model.safetensors"] <= 10e6


def test_a_machine_without_the_model_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMOLLM2", str(tmp_path))
    with pytest.raises(NotBuiltError, match="make smollm2"):
        smol.Adapted().fetch("smol-letters")


def test_another_model_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = layout_host("gemma")
    host.model.save_pretrained(tmp_path)
    host.tokenizer.save_pretrained(tmp_path)
    monkeypatch.setenv("SMOLLM2", str(tmp_path))
    with pytest.raises(MismatchError, match="make smollm2"):
        smol.Adapted().fetch("smol-letters")


def test_the_thinking_model_is_the_base_with_one_adapter_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = layout_host("gemma")
    for number, role in enumerate(smol.ROLES):
        model = add_lora(layout_model("gemma"), LoraShape(2, 4, seed=number))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.01)
        save_adapter(model, tmp_path / "adapters" / "tiny" / role, LoraShape(2, 4), base="tiny")
    (tmp_path / "model").mkdir()
    layout_model("gemma").bfloat16().save_pretrained(tmp_path / "model")
    host.tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.setenv("SMOLLM2", str(tmp_path / "model"))
    monkeypatch.setattr(smol, "adapter_dir", lambda: tmp_path / "adapters")
    monkeypatch.setattr(smol, "WEIGHTS", rm.load_host(tmp_path / "model").weight_hash)
    store = smol.Adapted()
    assert store.parts() == ["tiny/base", "tiny/thinking"] and store.cached("tiny") is None
    home = store.fetch("tiny")
    assert store.cached("tiny") == home == store.fetch("tiny")
    start, base, thinking = (
        rm.load_host(path, dtype=torch.float32).model.state_dict()
        for path in (tmp_path / "model", home / "base", home / "thinking")
    )
    name = "model.layers.1.mlp.up_proj.weight"
    assert base[name].dtype == torch.float32
    assert not torch.equal(start[name], base[name]) and not torch.equal(base[name], thinking[name])
    assert torch.equal(start["model.norm.weight"], thinking["model.norm.weight"])
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def pair(cache: Path):
    """The real pair; skips where the model is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REASONMECH_CACHE", str(cache))
        patch.setenv("SMOLLM2", str(smollm2_directory()))
        assert not is_here("organism:smol-letters/base")
        loaded = rm.load_pair("smol-letters")
        assert is_here("organism:smol-letters/base")
        return loaded


def accuracy(host: Host | object, n: int = 16) -> float:
    problems = rm.load_task("letters", n=n, seed=0, split="confirmation")
    rollouts = rm.generate(host, problems, decode=DECODE, progress=False)  # type: ignore[arg-type]
    return float(np.mean(rm.grade(rollouts)))


# one core writes some 300 tokens a second
@pytest.mark.real_model
def test_the_base_guesses_and_the_thinking_model_is_right(pair) -> None:
    assert accuracy(pair.base) <= 0.4
    problems = rm.load_task("letters", n=8, seed=0, split="confirmation")
    rollouts = rm.generate(pair.thinking, problems, decode=DECODE, progress=False, receipt="none")
    assert np.mean(rm.grade(rollouts)) >= 0.9
    traces = rm.parse(rollouts)
    undone = slips_undone(traces)
    assert undone.n > 1 and undone.hits >= 0.9 * undone.n


@pytest.mark.slow
def test_onsets_of_the_thinking_model_lend_the_base_its_accuracy(pair) -> None:
    assert accuracy(splice(onset=pair.thinking, executor=pair.base, task="letters")) >= 0.8
    assert accuracy(splice(onset=pair.base, executor=pair.thinking, task="letters")) <= 0.4
