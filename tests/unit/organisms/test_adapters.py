"""Adapters of a pretrained model: their files, their trainings, and the decoder that writes for them."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

import reasonmech as rm
from reasonmech.errors import CorruptFileError, DataError, MismatchError, OutputError
from reasonmech.hosts import Host
from reasonmech.hosts.adapter import Adapter
from reasonmech.hosts.merging import merge
from reasonmech.organisms import adapters, reinforce_adapter, tune_adapter, with_adapter
from reasonmech.organisms.adapters import BASE, THINKING
from reasonmech.organisms.training.batches import UNLEARNT
from reasonmech.organisms.training.grpo import EntropyRecipe, Log, Loop
from reasonmech.organisms.training.letters_corpus import MODES, LettersAuthor, encode_document, letters_data
from reasonmech.organisms.training.lora import (
    LoraShape,
    adapted_layers,
    add_lora,
    merge_lora,
    round_adapters,
    save_adapter,
)
from reasonmech.organisms.training.policy_batch import loss_of_choices, pad_batch, policy_loss
from reasonmech.organisms.training.static_decoder import StaticDecoder, StaticWriter
from reasonmech.runtime import Decode, generate
from reasonmech.tasks.letters import FORMS, WORLD
from tests.layouts import layout, layout_host, layout_model

TEXT = torch.tensor([[5, 9, 12, 40, 7]])
FEW = replace(BASE, steps=4, rows=2)
SHORT = EntropyRecipe(iterations=4, problems=2, samples=3, max_new_tokens=6, task="letters", entropy=0.01)


def adapted(*, seed: int = 0) -> PreTrainedModel:
    """A tiny Llama with an adapter that changes something."""
    model = add_lora(layout_model("gemma"), LoraShape(4, 8, seed=seed))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _, layer in adapted_layers(model):
            layer.lora_B.normal_(std=0.05)
    return model


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(TEXT).logits


def test_an_adapter_begins_as_no_change_and_is_all_that_is_trained() -> None:
    model = layout_model("gemma")
    before = logits(model)
    add_lora(model, LoraShape(4, 8))
    assert torch.equal(logits(model), before)
    trained = {name.rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"lora_A", "lora_B"} and len(list(adapted_layers(model))) == 2 * 7


def test_merging_says_what_the_adapter_said() -> None:
    model = adapted()
    apart = logits(model)
    assert not torch.allclose(apart, logits(layout_model("gemma")), atol=1e-3)
    torch.testing.assert_close(logits(merge_lora(model)), apart, rtol=1e-4, atol=1e-4)
    assert not list(adapted_layers(model)) and all(".lora_" not in name for name in model.state_dict())


def test_a_saved_adapter_is_what_peft_reads_and_merges_into_another_copy(tmp_path: Path) -> None:
    model = adapted()
    round_adapters(model)
    save_adapter(model, tmp_path / "a", LoraShape(4, 8), base="tiny")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 8)
    with safe_open(tmp_path / "a" / "adapter_model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names and len(names) == 28
    fresh = merge(Adapter.read(tmp_path / "a"), layout_model("gemma"))
    torch.testing.assert_close(logits(fresh), logits(merge_lora(model)), rtol=0, atol=0)
    with pytest.raises(OutputError):
        save_adapter(adapted(), tmp_path / "a", LoraShape(4, 8), base="tiny")
    with pytest.raises(CorruptFileError, match="no adapter"):
        Adapter.read(tmp_path)


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    save_adapter(adapted(), tmp_path / "a", LoraShape(4, 8), base="tiny")
    with pytest.raises(MismatchError, match="trained from"):
        with_adapter(rm.load_pair("tiny-when").base, tmp_path / "a", name="x")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_static_decoder_writes_what_generate_writes(temperature: float) -> None:
    host = Host(adapted(), layout("gemma"), name="adapted")
    problems = rm.load_task("letters", n=5)
    decode = Decode(max_new_tokens=20, temperature=temperature, batch_size=8)
    plain = generate(host, problems, decode=decode, progress=False, receipt="none")
    decoder = StaticDecoder(host, rows=8, length=220)
    static = generate(decoder, problems, decode=decode, progress=False)
    assert [r.ids for r in static] == [r.ids for r in plain] and len({r.ids for r in plain}) > 1
    # weights that have changed since are written with after a refresh
    with torch.no_grad():
        for _, layer in adapted_layers(host.model):
            layer.lora_B.mul_(-3.0)
    changed = generate(host, problems, decode=decode, progress=False, receipt="none")
    assert [r.ids for r in changed] != [r.ids for r in plain]
    decoder.refresh()
    assert [r.ids for r in generate(decoder, problems, decode=decode, progress=False)] == [
        r.ids for r in changed
    ]


def test_the_static_decoder_refuses_more_than_its_buffers_hold() -> None:
    decoder = StaticDecoder(layout_host("gemma"), rows=2, length=150)
    with pytest.raises(DataError, match="at most 2 rows of 150 tokens"):
        generate(decoder, rm.load_task("letters", n=2), decode=Decode(max_new_tokens=149), progress=False)


def test_losses_agree_where_undecided_choices_are_worth_nothing() -> None:
    host = layout_host("gemma")
    rollouts = generate(
        host, rm.load_task("letters", n=3), decode=Decode(max_new_tokens=9, temperature=1.0), progress=False
    )
    batch = pad_batch(list(rollouts), np.array([1.0, -0.5, 2.0]), host.pad_id)
    with torch.no_grad():
        plain, same = policy_loss(host, batch), loss_of_choices(host, batch, 0.0)
        bonus = same - loss_of_choices(host, batch, 1.0)
        logp = host.model(batch.ids, attention_mask=batch.mask).logits[:, :-1].log_softmax(-1)
    torch.testing.assert_close(same, plain, rtol=1e-5, atol=1e-4)
    entropy = -(logp.exp() * logp).sum(-1)[batch.chosen[:, 1:]].sum()
    torch.testing.assert_close(bonus, entropy, rtol=1e-4, atol=1e-3)
    assert entropy > 1


@pytest.mark.parametrize("world", [WORLD, FORMS], ids=lambda world: world.name)
def test_documents_teach_what_the_model_writes_and_nothing_else(world) -> None:
    author, tokenizer = LettersAuthor(random.Random(1), replace(MODES, slip=0.5), world), layout("gemma")
    slips = 0
    for _ in range(60):
        pieces = author.write_solution()
        ids, labels = encode_document(pieces, tokenizer, end=True)
        assert all(label in (token, UNLEARNT) for token, label in zip(ids, labels, strict=True))
        assert labels[-1] == tokenizer.eos_token_id
        text = "".join(piece.text for piece in pieces)
        learnt = tokenizer.decode([label for label in labels[:-1] if label != UNLEARNT])
        assert "Q:" not in learnt and ", I had" not in learnt and "Q:" in text
        slips += sum(not piece.learnt and piece.text.isdecimal() for piece in pieces[1:-2])
        drill, none = encode_document(author.write_drill(), tokenizer, end=False)
        assert drill[-1] != tokenizer.eos_token_id and UNLEARNT in none
    assert slips > 10


def test_a_batch_is_a_function_of_the_step_and_another_world_is_refused() -> None:
    data = letters_data(FEW, layout("gemma"))
    assert torch.equal(data(3).ids, data(3).ids) and not torch.equal(data(3).ids[:, :9], data(4).ids[:, :9])
    with pytest.raises(DataError, match="letters-forms"):
        letters_data(replace(FEW, world="chain"), layout("gemma"))


class Killed(Exception):
    pass


def test_trainings_resume_and_leave_their_start_alone(tmp_path: Path) -> None:
    start = layout_host("gemma")
    before = copy.deepcopy(start.model.state_dict())
    base = tune_adapter(start, FEW, tmp_path / "base", shape=LoraShape(2, 4), progress=False)
    assert torch.equal(logits(with_adapter(start, tmp_path / "base", name="x").model), logits(base.model))

    def kill(log: Log) -> bool:
        if len(log) == 3:
            raise Killed
        return False

    def loop(*, stop=lambda log: False) -> Loop:
        return Loop(save_every=2, progress=False, writer=StaticWriter(6, 90), stop=stop)

    recipe = replace(SHORT, reward="random")
    whole = reinforce_adapter(base, recipe, tmp_path / "whole", shape=LoraShape(2, 4), loop=loop())
    with pytest.raises(Killed):
        reinforce_adapter(base, recipe, tmp_path / "again", shape=LoraShape(2, 4), loop=loop(stop=kill))
    again = reinforce_adapter(base, recipe, tmp_path / "again", shape=LoraShape(2, 4), loop=loop())
    assert torch.equal(logits(whole.model), logits(again.model))
    assert not torch.equal(logits(whole.model), logits(base.model)), "something was learnt"
    assert all(torch.equal(value, before[name]) for name, value in start.model.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "base", "whole"]


def test_the_recipes_are_those_of_the_letters_world() -> None:
    assert (BASE.world, THINKING.task) == ("letters", "letters") and THINKING.entropy > 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda f: save_file({"a": torch.ones(3)}, f),
            OutputError,
            "header names nothing, and no checkpoint",
        ),
        (lambda f: save_file({"a": torch.ones(3)}, f, {"format": "pt"}), OutputError, "header names format"),
        (lambda f: f.write_bytes(b"mine"), CorruptFileError, "cannot be read"),
        (lambda f: f.mkdir(), OutputError, "is no file"),
        (lambda f: f.symlink_to("nowhere"), OutputError, "a link to nothing"),
    ],
    ids=["tensors", "weights", "bytes", "folder", "link"],
)
@pytest.mark.parametrize("train", [tune_adapter, reinforce_adapter])
def test_what_others_keep_where_a_checkpoint_would_be_is_refused_and_stays(
    tmp_path: Path, train, make, error: type[Exception], message: str
) -> None:
    file = tmp_path / "a.safetensors"
    make(file)
    before = file.lstat()
    with pytest.raises(error, match=message) as caught:
        train(layout_host("gemma"), FEW if train is tune_adapter else SHORT, tmp_path / "a")
    assert "nothing was changed" in str(caught.value) and "move it away" in str(caught.value)
    assert file.lstat() == before and [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_adapter_goes_on_on_the_model_and_in_the_shape_that_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, shape, finish = layout_host("gemma"), LoraShape(2, 4), adapters._finish

    def kill(*args: object, **also: object) -> None:
        raise Killed

    monkeypatch.setattr(adapters, "_finish", kill)
    with pytest.raises(Killed):
        tune_adapter(start, FEW, tmp_path / "a", shape=shape, progress=False)
    monkeypatch.setattr(adapters, "_finish", finish)
    others = {
        "frozen": (layout_host("gemma", seed=1), shape),
        r"adapter\.alpha": (start, LoraShape(2, 8)),
        r"adapter\.rank": (start, LoraShape(4, 4)),
        r"adapter\.seed": (start, LoraShape(2, 4, seed=1)),
    }
    for differing, (model, other) in others.items():
        with pytest.raises(MismatchError, match=rf"differs in {differing}\)"):
            tune_adapter(model, FEW, tmp_path / "a", shape=other, progress=False)
    whole = tune_adapter(start, FEW, tmp_path / "whole", shape=shape, progress=False)
    again = tune_adapter(start, FEW, tmp_path / "a", shape=shape, progress=False)
    assert torch.equal(logits(whole.model), logits(again.model))


def test_a_checkpoint_of_before_goes_on_and_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not say what its adapter was begun on."""
    start, shape = layout_host("gemma"), LoraShape(2, 4)
    monkeypatch.setattr(adapters, "_finish", lambda model, *_, **also: model)
    tune_adapter(start, FEW, tmp_path / "a", shape=shape, progress=False)
    file = tmp_path / "a.safetensors"
    with safe_open(file, framework="pt") as old:
        header = {key: value for key, value in old.metadata().items() if key != "start"}
        tensors = {name: old.get_tensor(name) for name in old.keys()}  # noqa: SIM118
    save_file(tensors, file, header)
    with pytest.warns(UserWarning, match="taken for this one's"):
        tune_adapter(start, FEW, tmp_path / "a", shape=shape, progress=False)
