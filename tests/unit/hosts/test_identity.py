"""What a model is: its tensors, what its configuration makes of them, its tokenizer and its ends of text."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import reasonmech as rm
from reasonmech.coders import CoderConfig, load_coder, train_coders
from reasonmech.coders.recipe import CONFIG_FILE
from reasonmech.errors import MismatchError, OutputError
from reasonmech.experiments.run import _plan, default_path
from reasonmech.hosts import Host, ModelPair, load_host
from reasonmech.interventions import Features, clamp
from reasonmech.interventions.axes import Direction
from reasonmech.locate.rows.checks import check_coder
from reasonmech.runtime import Activations, capture, forward
from reasonmech.runtime.activations.origin import Origin
from reasonmech.testing import ARCHITECTURES, tiny_coder, tiny_host, tiny_tokenizer
from tests.hosts import post_norm_host
from tests.layouts import LAYOUTS, layout, layout_host, layout_model

TEXTS = ["w1 w2 . w3", "w9 w1 w22 w4"]


def saved(host: Host, path: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    host.model.save_pretrained(path)
    host.tokenizer.save_pretrained(path)
    if change is not None:
        edit(path / "config.json", change)
    return path


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def put(**settings: object) -> Callable[[dict[str, Any]], None]:
    return lambda values: values.update(settings)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_model_that_was_saved_and_loaded_is_the_same(name: str, tmp_path: Path) -> None:
    host = layout_host(name)
    path = saved(host, tmp_path / "another-name")
    again = load_host(path, name="x")
    assert again.model_identity() == host.model_identity() and again.fingerprint == host.fingerprint
    host.tokenizer(
        ["w1 w2", "w1"], padding=True, truncation=True, max_length=4
    )  # leaves a trace in its state
    assert load_host(host.model, tokenizer=host.tokenizer, name="y").fingerprint == host.fingerprint


@pytest.mark.parametrize("arch", [*ARCHITECTURES, "gemma2", "gemma3"])
def test_every_architecture_is_itself_again(arch: str, tmp_path: Path) -> None:
    host = post_norm_host(int(arch[-1])) if arch in ("gemma2", "gemma3") else tiny_host(arch)
    path = saved(host, tmp_path / "m")
    words = PreTrainedTokenizerFast.from_pretrained(path)
    assert load_host(path, tokenizer=words).fingerprint == host.fingerprint


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_a_bridge_over_a_model_is_that_model(arch: str) -> None:
    host = tiny_host(arch)
    again = load_host(host.lens, tokenizer=host.tokenizer, name="bridge")
    assert again.fingerprint == host.fingerprint


SETTINGS = [
    {"rms_norm_eps": 0.5},
    {"hidden_act": "relu"},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}},
    {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
    {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16},
]


@pytest.mark.parametrize("change", SETTINGS, ids=lambda change: ",".join(change))
def test_a_setting_that_changes_a_pass_makes_another_model(change: dict[str, object], tmp_path: Path) -> None:
    host = load_host(saved(tiny_host(), tmp_path / "a"))
    other = load_host(saved(tiny_host(), tmp_path / "b", put(**change)))
    assert host.weight_hash == other.weight_hash and host.fingerprint != other.fingerprint
    ours, theirs = host.model_identity(), other.model_identity()
    assert ours.config != theirs.config and (ours.vocabulary, ours.ends) == (theirs.vocabulary, theirs.ends)
    logits = [forward(one, TEXTS).logits[0] for one in (host, other)]
    assert not torch.equal(*logits)


@pytest.mark.parametrize(
    ("gemma", "change"),
    [(2, {"final_logit_softcapping": 3.0}), (2, {"sliding_window": 2}), (3, {"sliding_window": 2})],
)
def test_softcaps_and_windows_count(gemma: int, change: dict[str, object], tmp_path: Path) -> None:
    words = tiny_tokenizer()
    host = load_host(saved(post_norm_host(gemma), tmp_path / "a"), tokenizer=words)
    other = load_host(saved(post_norm_host(gemma), tmp_path / "b", put(**change)), tokenizer=words)
    assert host.weight_hash == other.weight_hash and host.fingerprint != other.fingerprint


def test_names_paths_versions_and_dropouts_do_not_count(tmp_path: Path) -> None:
    quiet = put(
        _name_or_path="/elsewhere",
        transformers_version="4.0.0",
        use_cache=False,
        attention_dropout=0.3,
        initializer_range=1.0,
        architectures=["LlamaForCausalLM"],
        id2label={"0": "x"},
    )
    other = load_host(saved(tiny_host(), tmp_path / "b", quiet), name="other")
    assert other.fingerprint == tiny_host().fingerprint


def words_swapped(words: PreTrainedTokenizerFast) -> None:
    model = json.loads(words.backend_tokenizer.to_str())["model"]["vocab"]
    model["w3"], model["w4"] = model["w4"], model["w3"]
    words.backend_tokenizer.model = type(words.backend_tokenizer.model)(model, unk_token="<unk>")


def lower_case(words: PreTrainedTokenizerFast) -> None:
    words.backend_tokenizer.normalizer = normalizers.Lowercase()


def split_digits(words: PreTrainedTokenizerFast) -> None:
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.Digits(individual_digits=True)


def one_more(words: PreTrainedTokenizerFast) -> None:
    words.add_tokens(["w1 w2"])


def another_bos(words: PreTrainedTokenizerFast) -> None:
    words.bos_token = "w1"


@pytest.mark.parametrize("change", [words_swapped, lower_case, split_digits, one_more, another_bos])
def test_a_tokenizer_that_reads_otherwise_makes_another_model(
    change: Callable[[PreTrainedTokenizerFast], None],
) -> None:
    words = tiny_tokenizer()
    change(words)
    host, other = tiny_host(), Host(tiny_host().model, words, name="other")
    ours, theirs = host.model_identity(), other.model_identity()
    assert ours.weights == theirs.weights and ours.vocabulary != theirs.vocabulary
    assert ours.config == theirs.config
    merges = copy.deepcopy(layout("qwen2"))
    state = json.loads(merges.backend_tokenizer.to_str())
    state["model"]["merges"] = state["model"]["merges"][:-1]
    merges = PreTrainedTokenizerFast(
        tokenizer_object=type(merges.backend_tokenizer).from_str(json.dumps(state)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    assert merges.get_vocab() == layout("qwen2").get_vocab()
    shorter = Host(layout_host("qwen2").model, merges, name="merges")
    assert shorter.fingerprint != layout_host("qwen2").fingerprint


def test_a_tokenizer_that_is_added_to_in_hand_is_noticed() -> None:
    host = tiny_host()
    before = host.fingerprint
    host.tokenizer.bos_token = "w1"
    assert host.fingerprint != before


@pytest.mark.parametrize("name", ["gemma", "llama2"])
def test_a_bos_that_is_left_out_from_now_on_is_noticed(name: str) -> None:
    host = Host(layout_model(name), copy.deepcopy(layout(name)), name="bos")
    before, ids = host.fingerprint, host.encode("Yes.")
    host.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    assert host.encode("Yes.") == ids[1:] and host.fingerprint != before


def test_other_ends_make_another_model() -> None:
    host, model = tiny_host(), tiny_host().model
    model.generation_config.eos_token_id = [1, 9]  # pyright: ignore
    other = Host(model, tiny_tokenizer(), name="other")
    assert host.weight_hash == other.weight_hash
    assert host.model_identity().ends != other.model_identity().ends


# edits in place -------------------------------------------------------------------------------------------


EDITS: dict[str, Callable[[torch.nn.Parameter], object]] = {
    "add": lambda p: p.add_(1.0),
    "data": lambda p: p.data.mul_(1.01),
    "new data": lambda p: setattr(p, "data", p.data * 2),
    "copy": lambda p: p.copy_(torch.ones_like(p)),
    "one element": lambda p: p.data.view(-1)[7].add_(1.0),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_the_weights_is_noticed(name: str) -> None:
    host = tiny_host()
    before, coder = host.weight_hash, tiny_coder(host)
    assert host.weight_hash == before
    with torch.no_grad():
        EDITS[name](host.model.get_parameter("model.layers.2.mlp.up_proj.weight"))
    assert host.weight_hash != before and host.fingerprint != tiny_host().fingerprint
    with pytest.raises(MismatchError, match=before[:12]):
        forward(host, TEXTS, [clamp(Features(coder, (3,)), 5.0)])


def test_a_large_matrix_is_noticed_too_and_an_unchanged_one_is_not_hashed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = tiny_host(vocab_size=3000)
    before = host.weight_hash
    monkeypatch.setattr("reasonmech.state_hash.hash_tensors", lambda state, salt: "again")
    assert host.weight_hash == before
    with torch.no_grad():
        host.unembedding().data.mul_(1.01)
    assert host.weight_hash == "again"


# whatever belongs to a model ------------------------------------------------------------------------------


def changes() -> dict[str, Host]:
    """Hosts over the weights of `tiny_host()` that are other models."""
    model = copy.deepcopy(tiny_host().model)
    model.config.rms_norm_eps = 0.5
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 0.5
    ends = tiny_host().model
    ends.generation_config.eos_token_id = [1, 9]  # pyright: ignore
    words = tiny_tokenizer()
    lower_case(words)
    hosts = {
        "config": Host(model, tiny_tokenizer(), name="other"),
        "tokenizer": Host(tiny_host().model, words, name="other"),
        "set of ends of text": Host(ends, tiny_tokenizer(), name="other"),
    }
    assert {host.weight_hash for host in hosts.values()} == {tiny_host().weight_hash}
    return hosts


CHANGES = changes()
CONFIGURATIONS = rm.sweeps.grid(
    {"v": Direction.along(torch.ones(32), "resid_post.1")}, "steer", amounts=(5.0,)
)


@pytest.mark.parametrize("part", CHANGES)
def test_coders_and_activations_of_another_model_are_refused(part: str, tmp_path: Path) -> None:
    host, other = tiny_host(), CHANGES[part]
    coder, acts = tiny_coder(host), capture(host, TEXTS, ["resid_post.1"], progress=False)
    coder.save(tmp_path / "coder")
    acts.save(tmp_path / "acts")
    assert load_coder(tmp_path / "coder", host=host) and Activations.load(tmp_path / "acts", host=host)
    for call in (
        lambda: load_coder(tmp_path / "coder", host=other),
        lambda: forward(other, TEXTS, [clamp(Features(coder, (3,)), 5.0)]),
        lambda: check_coder(coder, other.model_identity()),
        lambda: Activations.load(tmp_path / "acts", host=other),
        lambda: acts.check(other),
        lambda: rm.train_coder(
            acts, CoderConfig(architecture="topk", d_sae=8, k=2, steps=1), host=other, progress=False
        ),
    ):
        with pytest.raises(MismatchError, match=f"under another {part}"):
            call()
    trained = rm.train_coder(
        acts,
        CoderConfig(architecture="topk", d_sae=8, k=2, steps=1, batch_size=4),
        site="resid_post.1",
        progress=False,
    )
    with pytest.raises(MismatchError, match=f"under another {part}"):
        forward(other, TEXTS, [clamp(Features(trained, (3,)), 5.0)])


@pytest.mark.parametrize("part", CHANGES)
def test_finished_and_interrupted_work_of_another_model_is_not_taken(part: str, tmp_path: Path) -> None:
    host, other = tiny_host(), CHANGES[part]
    metric = rm.metrics.logit_diff(host, good="w1", bad="w2")

    def sweep(one: Host) -> object:
        return rm.sweep(one, TEXTS, CONFIGURATIONS, metric=metric, out=tmp_path / "sweep", progress=False)

    sweep(host)
    sweep(host)
    with pytest.raises(OutputError, match="identity"):
        sweep(other)
    acts = {one.name: capture(one, TEXTS, ["resid_post.1"], progress=False) for one in (host, other)}
    config = CoderConfig(architecture="topk", d_sae=8, k=2, steps=1, batch_size=4)

    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reasonmech.coders.train.train_together", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_coders(acts[host.name], {"a": config}, out=tmp_path / "coders", progress=False)
        with pytest.raises(OutputError, match="identity"):
            train_coders(acts["other"], {"a": config}, out=tmp_path / "coders", progress=False)


@pytest.mark.parametrize("part", CHANGES)
def test_a_run_of_another_model_has_another_plan(part: str) -> None:
    accept = ("special_tokens", "encoding", "added_tokens")
    pair = ModelPair("p", tiny_host(), tiny_host(seed=1), "chain", accept=accept)
    other = ModelPair("p", CHANGES[part], tiny_host(seed=1), "chain", accept=accept)
    experiment = rm.experiments.load_experiment("smoke")
    assert _plan(experiment, pair) != _plan(experiment, other)
    assert default_path(experiment, pair) != default_path(experiment, other)


# files of a time that kept the weights' hash alone --------------------------------------------------------


def test_an_old_coder_is_held_to_the_weights_and_says_so(tmp_path: Path) -> None:
    host = tiny_host()
    tiny_coder(host).save(tmp_path / "coder")
    edit(tmp_path / "coder" / CONFIG_FILE, lambda c: c["metadata"]["reasonmech"].pop("model_identity"))
    with pytest.warns(UserWarning, match="hash of its model's weights alone"):
        coder = load_coder(tmp_path / "coder", host=host)
    assert coder.model_hash == host.weight_hash
    forward(host, TEXTS, [clamp(Features(coder, (3,)), 5.0)])
    with pytest.warns(UserWarning, match="weights alone"):
        load_coder(tmp_path / "coder", host=CHANGES["config"])
    with pytest.raises(MismatchError, match=host.weight_hash[:12]):
        load_coder(tmp_path / "coder", host=tiny_host(seed=1))


def test_an_old_store_is_held_to_the_weights_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, write = tiny_host(), Origin.to_json
    monkeypatch.setattr(Origin, "to_json", lambda self: _without(write(self), "identity"))
    capture(host, TEXTS, ["resid_post.1"], progress=False).save(tmp_path / "acts")
    with pytest.warns(UserWarning, match="weights alone"):
        acts = Activations.load(tmp_path / "acts", host=host)
    assert acts.model_identity().beyond_weights() is None and len(acts) == 8
    with pytest.raises(MismatchError, match=host.weight_hash[:12]):
        Activations.load(tmp_path / "acts", host=tiny_host(seed=1))


def _without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != key}


def _drop(value: Any, key: str) -> None:
    """Take a key out of everything inside."""
    if isinstance(value, dict):
        value.pop(key, None)
        for item in value.values():
            _drop(item, key)


def test_an_old_sweep_is_read_and_gone_on_with(tmp_path: Path) -> None:
    host, out = tiny_host(), tmp_path / "sweep"
    metric = rm.metrics.logit_diff(host, good="w1", bad="w2")

    def sweep(one: Host) -> Any:
        return rm.sweep(one, TEXTS, CONFIGURATIONS, metric=metric, out=out, progress=False)

    first = sweep(host).table
    edit(out / "plan.json", lambda plan: _drop(plan, "identity"))
    with pytest.warns(UserWarning, match="weights alone"):
        assert sweep(host).table.equals(first)
    with pytest.raises(OutputError, match="host"):
        sweep(tiny_host(seed=1))
    shutil.rmtree(out)
