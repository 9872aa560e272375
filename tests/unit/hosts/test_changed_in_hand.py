"""A model, tokenizer or coder that is changed in hand: results follow it, or are refused; what was fitted
before is never taken for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn.utils import parametrizations, prune

import reasonmech as rm
from reasonmech.errors import ArgumentError, BindError, MismatchError, OutputError, ReasonmechError
from reasonmech.hosts import Host
from reasonmech.hosts.deviations import Deviations
from reasonmech.interventions import Features, clamp, steer
from reasonmech.interventions.axes import Direction
from reasonmech.runtime import capture, forward
from reasonmech.testing import ARCHITECTURES, tiny_coder, tiny_host, tiny_tokenizer
from tests.hosts import every_host, post_norm_host

TEXTS = ["w1 w2 . w3", "w9 w1 w22 w4"]
STEER = [steer(Direction.along(torch.ones(32), "resid_post.1"), 3.0)]


def plain_logits(model: Any, host: Host) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([host.encode(TEXTS[0])]), use_cache=False).logits[0]


class Doubled(nn.Module):
    """What wraps a linear map, as adapters do."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_layer, self.scaling = base, 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) * self.scaling


def act_fn(model: Any) -> None:
    model.model.layers[1].mlp.act_fn = nn.ReLU()


def adapter(model: Any) -> None:
    model.model.layers[1].mlp.up_proj = Doubled(model.model.layers[1].mlp.up_proj)


def swapped(model: Any) -> None:
    layers = model.model.layers
    layers[0], layers[1] = layers[1], layers[0]


def shorter(model: Any) -> None:
    model.model.layers = model.model.layers[:3]


def eps(model: Any) -> None:
    model.model.layers[1].input_layernorm.variance_epsilon = 0.5


def scaling(model: Any) -> None:
    model.model.layers[1].self_attn.scaling = 3.0


def buffer(model: Any) -> None:
    model.model.rotary_emb.inv_freq.mul_(0.1)


def new_buffer(model: Any) -> None:
    model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq * 0.1


def hook(model: Any) -> None:
    model.model.layers[1].mlp.register_forward_hook(lambda module, args, out: out * 2)


def pre_hook(model: Any) -> None:
    model.model.layers[1].register_forward_pre_hook(lambda module, args: (args[0] * 2, *args[1:]))


def hook_on_a_block(model: Any) -> None:
    model.model.layers[1].register_forward_hook(lambda module, args, out: out * 2)


def stand_in(model: Any) -> None:
    mlp = model.model.layers[1].mlp
    mlp.forward = partial(_twice, mlp.forward)


def _twice(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return 2 * forward(x)


def parametrized(model: Any) -> None:
    parametrizations.weight_norm(model.model.layers[1].mlp.up_proj)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.parametrizations.weight.original0.mul_(2)


def pruned(model: Any) -> None:
    prune.random_unstructured(model.model.layers[1].mlp.up_proj, "weight", amount=0.5)


def half(model: Any) -> None:
    model.half()


def resized(model: Any) -> None:
    model.resize_token_embeddings(70, mean_resizing=False)


CHANGES = [
    act_fn,
    adapter,
    swapped,
    shorter,
    eps,
    scaling,
    buffer,
    new_buffer,
    hook,
    pre_hook,
    hook_on_a_block,
    stand_in,
    parametrized,
    pruned,
    half,
    resized,
]


@pytest.fixture(params=CHANGES, ids=lambda change: change.__name__)
def change(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    return request.param


@pytest.mark.filterwarnings("ignore:.*random_unstructured.*")
def test_passes_follow_a_change_and_nothing_fitted_before_is_taken_for_it(
    change: Callable[[Any], None], tmp_path: Path
) -> None:
    host = tiny_host()
    coder, acts = tiny_coder(host), capture(host, TEXTS, ["resid_post.1"], progress=False)
    metric = rm.metrics.logit_diff(host, good="w1", bad="w2")
    plans = rm.sweeps.grid({"v": STEER[0].axis}, "steer", amounts=(5.0,))
    sweep = partial(rm.sweep, host, TEXTS, plans, metric=metric, out=tmp_path / "sweep", progress=False)
    sweep()
    before, logits = host.fingerprint, forward(host, TEXTS).logits[0]
    change(host.model)
    host.model.eval()
    changed = forward(host, TEXTS).logits[0]
    assert not torch.equal(changed.float(), logits[..., : changed.shape[-1]])
    assert torch.allclose(changed, plain_logits(host.model, host), atol=1e-5)
    assert host.fingerprint != before
    with pytest.raises(MismatchError):
        forward(host, TEXTS, [clamp(Features(coder, (3,)), 5.0)])
    with pytest.raises(MismatchError):
        acts.check(host)
    with pytest.raises(OutputError):
        sweep()
    # another host over it is the same model, and one over the model as it was is not
    assert Host(host.model, host.tokenizer, name="again").fingerprint == host.fingerprint
    assert tiny_host().fingerprint == before


@pytest.mark.filterwarnings("ignore:.*random_unstructured.*")
def test_sites_are_where_they_are_after_a_change(change: Callable[[Any], None]) -> None:
    host = tiny_host()
    change(host.model)
    host.model.eval()
    again = Host(host.model, host.tokenizer, name="again")
    assert (host.n_layers, host.vocab_size, host.dtype) == (again.n_layers, again.vocab_size, again.dtype)
    sites = ["resid_post.1", "z.1", "mlp_out.1", "resid_mid.1"]
    ours, theirs = (capture(one, TEXTS, sites, progress=False) for one in (host, again))
    for site in sites:
        assert torch.equal(ours.at(site), theirs.at(site)), site
    steered, other = (forward(one, TEXTS, STEER).logits for one in (host, again))
    assert all(torch.equal(a, b) for a, b in zip(steered, other, strict=True))


def test_an_error_says_what_changed() -> None:
    host = tiny_host()
    coder = tiny_coder(host)
    hook(host.model)
    eps(host.model)
    with pytest.raises(MismatchError) as error:
        forward(host, TEXTS, [clamp(Features(coder, (3,)), 5.0)])
    assert "forward hook function hook.<locals>.<lambda>" in str(error.value)
    assert "on model.layers.1.mlp" in str(error.value) and "variance_epsilon is 0.5" in str(error.value)


@pytest.mark.parametrize("arch", [*ARCHITECTURES, "gemma2", "gemma3", "gpt_neox_sequential"])
def test_a_model_that_was_only_loaded_deviates_in_nothing(arch: str) -> None:
    host = every_host(arch)
    assert Deviations(host.model).listed() == ()
    forward(host, TEXTS, STEER)
    capture(host, TEXTS, ["resid_post.1", "resid_pre.2"], progress=False)
    host.model(torch.tensor([host.encode(TEXTS[0])]), output_hidden_states=True)
    host.model.requires_grad_(False)
    assert Deviations(host.model).listed() == ()
    host.model.to(torch.bfloat16)
    assert Deviations(host.model).listed() == ()


def test_a_change_before_the_host_was_made_counts_as_much() -> None:
    model = copy.deepcopy(tiny_host().model)
    eps(model)
    assert Host(model, tiny_tokenizer(), name="x").fingerprint != tiny_host().fingerprint


def test_what_is_undone_is_the_model_again() -> None:
    host = tiny_host()
    before = host.fingerprint
    handle = host.layers[1].register_forward_hook(lambda *_: None)
    assert host.fingerprint != before
    handle.remove()
    assert host.fingerprint == before
    host.model.config.rms_norm_eps *= 2
    assert host.fingerprint != before
    host.model.config.rms_norm_eps /= 2
    assert host.fingerprint == before


def test_our_own_hooks_are_no_part_of_the_model() -> None:
    host = tiny_host()
    before, seen = host.fingerprint, list[str]()
    for site in ("resid_post.1", "resid_mid.1", "z.1", "resid_pre.1"):
        handle = host.hook_point(site).attach(lambda x: seen.append(host.fingerprint))
        handle.remove()
    handle = host.hook_point("resid_mid.1").attach(lambda x: None)
    assert host.fingerprint == before
    handle.remove()


def test_a_hook_of_the_caller_acts_once_where_a_pass_is_taken_up_from_a_block() -> None:
    host = tiny_host()
    hook_on_a_block(host.model)
    plans = rm.sweeps.grid(
        {"v": Direction.along(torch.ones(32), "resid_post.2")}, "steer", amounts=(1e-6, 5.0)
    )
    metric = rm.metrics.logit_diff(host, good="w1", bad="w2")
    table = rm.sweep(host, TEXTS, plans, metric=metric, progress=False).table
    for amount in (1e-6, 5.0):
        plan = [steer(Direction.along(torch.ones(32), "resid_post.2"), amount)]
        logits = forward(host, TEXTS, plan).logits
        good, bad = host.encode("w1")[0], host.encode("w2")[0]
        expected = [float(one[-1, good] - one[-1, bad]) for one in logits]
        rows = table[table["amount"] == amount]
        assert rows["value"].tolist() == pytest.approx(expected, abs=1e-4)


# modes ----------------------------------------------------------------------------------------------------


CALLS: dict[str, Callable[[Host], object]] = {
    "forward": lambda host: forward(host, TEXTS).logits,
    "plan": lambda host: forward(host, TEXTS, STEER).logits,
    "capture": lambda host: capture(host, TEXTS, ["resid_post.1"], progress=False).at("resid_post.1"),
    "generate": lambda host: [
        r.ids
        for r in rm.generate(host, TEXTS, decode=rm.Decode(max_new_tokens=4, temperature=1.0), progress=False)
    ],
    "sweep": lambda host: (
        rm.sweep(
            host,
            TEXTS,
            rm.sweeps.grid({"v": STEER[0].axis}, "steer", amounts=(5.0,)),
            metric=rm.metrics.logit_diff(host, good="w1", bad="w2"),
            progress=False,
        )
        .table["value"]
        .tolist()
    ),
    "logits_of": lambda host: host.logits_of(torch.ones(3, 32)).detach(),
}


def dropping(name: str) -> Host:
    """A host some of whose modules drop activations when they train."""
    host = tiny_host("gpt2")
    for module in host.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    return host


@pytest.mark.parametrize("call", [name for name in CALLS if name != "logits_of"])
@pytest.mark.parametrize("part", ["", "transformer.h.1.mlp.dropout"])
def test_a_model_in_training_mode_is_refused_until_it_is_in_eval_mode(call: str, part: str) -> None:
    host = dropping(call)
    CALLS[call](host)
    host.model.get_submodule(part).train()
    with pytest.raises(BindError, match="training mode"):
        CALLS[call](host)
    assert host.model.get_submodule(part).training  # left as it was
    host.model.eval()
    CALLS[call](host)


def same(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return all(same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


@pytest.mark.parametrize("call", CALLS)
def test_autocast_around_a_call_is_refused(call: str) -> None:
    host = tiny_host()
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(BindError, match="autocast"):
        CALLS[call](host)
    with torch.autocast("cpu", enabled=False):
        CALLS[call](host)


@pytest.mark.parametrize("call", CALLS)
def test_contexts_and_defaults_of_the_caller_change_no_number(call: str) -> None:
    plain = CALLS[call](tiny_host())
    host = tiny_host()
    with torch.inference_mode():
        assert same(CALLS[call](host), plain)
    assert same(CALLS[call](host), plain)  # nothing of that mode stays in the model
    with torch.enable_grad():
        assert same(CALLS[call](tiny_host()), plain)
    torch.set_default_dtype(torch.float64)
    try:
        assert same(CALLS[call](host), plain)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        assert same(CALLS[call](tiny_host()), plain)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("call", CALLS)
def test_the_random_state_of_the_caller_is_neither_used_nor_moved(call: str) -> None:
    import random

    import numpy as np

    host, results = tiny_host(), []
    for seed in (0, 1):
        torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        results.append(CALLS[call](host))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1] and np.random.get_state()[1].tolist() == states[2]
    assert same(*results)


# what a host says -----------------------------------------------------------------------------------------


def test_logits_follow_the_softcap_that_the_model_applies() -> None:
    host = post_norm_host(2)
    for cap in (30.0, 3.0, None):
        host.model.config.final_logit_softcapping = cap  # pyright: ignore
        acts = capture(host, TEXTS, ["resid_post.3"], progress=False).at("resid_post.3")
        logits = torch.cat(forward(host, TEXTS).logits)
        assert torch.allclose(host.logits_of(acts), logits, atol=1e-5), cap


def test_ends_of_text_follow_tokenizer_and_generation_config() -> None:
    host = tiny_host()
    before = host.fingerprint
    text = rm.generate(host, TEXTS, decode=rm.Decode(max_new_tokens=6), progress=False)[0]
    host.model.generation_config.eos_token_id = [1, text.ids[1]]  # pyright: ignore
    assert host.eos_ids == (1, text.ids[1]) and host.fingerprint != before
    again = rm.generate(host, TEXTS, decode=rm.Decode(max_new_tokens=6), progress=False)[0]
    assert again.ids == text.ids[:2] and again.stop == "eos"
    host.tokenizer.eos_token = "w5"
    assert host.eos_ids[0] == host.encode("w5")[0]


def lower_case(words: Any) -> None:
    words.backend_tokenizer.normalizer = normalizers.Lowercase()


def split_digits(words: Any) -> None:
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.Digits(individual_digits=True)


def front(words: Any) -> None:
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<unk> $A", special_tokens=[("<unk>", words.convert_tokens_to_ids("<unk>"))]
    )


def one_more(words: Any) -> None:
    words.add_tokens(["w1 w2"])


def another_bos(words: Any) -> None:
    words.bos_token = "w1"


def words_swapped(words: Any) -> None:
    import json

    model = json.loads(words.backend_tokenizer.to_str())["model"]["vocab"]
    model["w3"], model["w4"] = model["w4"], model["w3"]
    words.backend_tokenizer.model = type(words.backend_tokenizer.model)(model, unk_token="<unk>")


@pytest.mark.parametrize("edit", [lower_case, split_digits, front, one_more, another_bos, words_swapped])
def test_a_tokenizer_that_is_changed_in_hand_makes_another_model(edit: Callable[[Any], None]) -> None:
    host = tiny_host()
    before, acts = host.model_identity(), capture(host, TEXTS, ["resid_post.1"], progress=False)
    assert host.model_identity() == before
    edit(host.tokenizer)
    assert host.model_identity().vocabulary != before.vocabulary
    with pytest.raises(MismatchError):
        acts.check(host)
    assert host.encode("w3 w4") == Host(host.model, host.tokenizer, name="x").encode("w3 w4")


def test_a_host_is_not_given_another_model_or_tokenizer() -> None:
    host = tiny_host()
    for name, value in {
        "model": tiny_host(seed=1).model,
        "tokenizer": tiny_tokenizer(80),
        "name": "x",
    }.items():
        with pytest.raises(ArgumentError, match=name):
            setattr(host, name, value)


@pytest.mark.parametrize("where", ["row", "column"])
def test_an_edit_of_one_row_or_column_by_data_is_noticed(where: str) -> None:
    host = tiny_host(d_model=64, vocab_size=3000)
    for index in (0, 17, 63):
        before, rows = host.weight_hash, host.unembedding().data
        (rows[index] if where == "row" else rows[:, index]).mul_(1.5)
        assert host.weight_hash != before


def test_a_bridge_with_hooks_is_refused() -> None:
    host = tiny_host()
    bridge = host.lens
    bridge.add_perma_hook("blocks.1.hook_out", lambda x, hook: x * 2)
    with pytest.raises(ReasonmechError, match=r"hook"):
        rm.load_host(bridge, tokenizer=host.tokenizer, name="bridge")
