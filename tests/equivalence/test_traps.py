"""Upstream traps as they are today, each beside the guard that closes it here.

A test that fails with "closed upstream" is good news: its message says what may go. The page is
docs/upstream-traps.md.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sae_lens  # noqa: TID251 - the peer whose traps these are
import torch
from sae_lens.config import LoggingConfig, SAETrainerConfig  # noqa: TID251
from torch import Tensor
from transformers import AutoTokenizer

import reasonmech as rm
from reasonmech.errors import BindError
from reasonmech.hosts import Host
from reasonmech.hosts.lens import build_lens
from reasonmech.runtime.forward import forward
from reasonmech.testing import tiny_coder, tiny_host

SITE = "resid_post.1"
HOOK = "blocks.1.hook_out"
IDS = torch.tensor([[6, 9, 12, 7, 30], [8, 8, 20, 11, 6]])
PUSH = torch.full((32,), 5.0)


def still_open(trap: bool, what: str, *, delete: str) -> None:
    assert trap, f"closed upstream: {what}. Delete {delete}, this test and its row in docs/upstream-traps.md."


def push(stream: Tensor, hook: object) -> Tensor:
    return stream + PUSH


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def carrier(host: Host) -> sae_lens.SAETransformerBridge:
    return sae_lens.SAETransformerBridge.boot_transformers(
        "t", hf_model=copy.deepcopy(host.model), tokenizer=host.tokenizer, device="cpu"
    )


def test_a_filter_that_matches_no_hook_gives_an_empty_cache() -> None:
    host = tiny_host()
    _, cache = host.lens.run_with_cache(IDS, names_filter="blocks.9.hook_out")
    still_open(
        len(cache) == 0,
        "run_with_cache names a hook that does not exist",
        delete="the check of hook names in interventions/fwd_hooks.py (the check of sites stays)",
    )
    with pytest.raises(rm.errors.UnknownNameError, match=r"resid_post\.3"):
        rm.capture(host, ["w1 w2"], ["resid_post.9"], progress=False)


def test_a_hook_is_dead_where_an_sae_has_been() -> None:
    host = tiny_host()
    bridge = carrier(host)
    clean = bridge(IDS)
    assert not torch.allclose(bridge.run_with_hooks(IDS, fwd_hooks=[(HOOK, push)]), clean)
    bridge.run_with_saes(IDS, saes=[tiny_coder(host).sae])
    still_open(
        torch.equal(bridge.run_with_hooks(IDS, fwd_hooks=[(HOOK, push)]), clean),
        "a hook at a site that carried an SAE works after it was taken off",
        delete="nothing in the library, which never splices through SAETransformerBridge; the warning about "
        "it",
    )
    texts = ["w1 w2 . w3"]
    features, steered = [rm.clamp(rm.Features(tiny_coder(host), (3,)), 6.0)], [rm.steer(rm.Whole(SITE), PUSH)]
    before = forward(host, texts, steered).logits[0]
    assert not torch.equal(forward(host, texts, features).logits[0], before)
    assert torch.equal(forward(host, texts, steered).logits[0], before)


def test_an_alias_is_no_hook_of_a_bridge_that_carries_saes() -> None:
    bridge = carrier(tiny_host())
    clean = bridge(IDS)
    alias = "blocks.1.hook_resid_post"
    assert alias in tiny_host().lens.hook_dict
    still_open(
        alias not in bridge.hook_dict
        and torch.equal(bridge.run_with_hooks(IDS, fwd_hooks=[(alias, push)]), clean),
        "SAETransformerBridge knows hook_resid_post",
        delete="the preference for canonical names in coders/hookname.py",
    )
    assert tiny_coder(tiny_host()).sae.cfg.metadata.hook_name == HOOK


def test_a_padded_tensor_without_a_mask_is_read_as_text() -> None:
    host = tiny_host("gpt2")
    padded = torch.tensor([[0, 0, *IDS[0].tolist()]])
    alone = host.lens(IDS[:1])[0, -1]
    still_open(
        not torch.allclose(host.lens(padded)[0, -1], alone, atol=1e-2),
        "a bridge takes the tokenizer's pad token for padding",
        delete="nothing: masks and positions are passed whatever upstream does",
    )
    text = " ".join(host.tokenizer.convert_ids_to_tokens(IDS[0].tolist()))
    longer, shorter = forward(host, [f"w1 w2 {text}", text]).logits
    assert len(longer) == len(shorter) + 2 and torch.allclose(shorter[-1], alone, atol=1e-4)


def test_a_prompt_that_begins_with_the_pad_token_loses_it() -> None:
    """With pad = bos = eos, masks rebuilt from ids hide real leading tokens."""
    host = tiny_host()
    for role in ("pad_token", "bos_token", "eos_token"):
        setattr(host.tokenizer, role, "<eos>")
    host = Host(host.model, host.tokenizer, name="one special token")
    texts = ["<eos> w5 w6", "w9 w1 w22 w4 w7 w8"]
    lens = build_lens(host.model, host.tokenizer, name="t")
    lens.cfg.default_prepend_bos = False
    settings = {"max_new_tokens": 6, "do_sample": False, "stop_at_eos": False, "verbose": False}
    ids = torch.tensor([host.encode(texts[0])])
    alone = lens.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, -6:].tolist()
    together = lens.generate(texts, prepend_bos=False, return_type="tokens", **settings)[0, -6:].tolist()
    still_open(
        together != alone,
        "a batch with pad = bos = eos equals its rows",
        delete="nothing: the runtime knows its padding and never looks for it in the ids",
    )
    decode = rm.Decode(max_new_tokens=6)
    one = rm.generate(host, texts[:1], decode=decode, progress=False)
    both = rm.generate(host, texts, decode=decode, progress=False)
    assert both[0].ids == one[0].ids and list(one[0].ids) == alone[: len(one[0].ids)]


def test_automodels_tokenizer_beside_qwen2_weights_encodes_to_nothing(tmp_path: Path) -> None:
    host = tiny_host("qwen2")
    host.model.save_pretrained(tmp_path)
    host.tokenizer.save_pretrained(tmp_path)
    still_open(
        AutoTokenizer.from_pretrained(tmp_path).encode("w1 w2 w3", add_special_tokens=False) == [],
        "AutoTokenizer respects tokenizer_class beside Qwen2 weights",
        delete="the round trip in hosts/vocabulary.py",
    )


def test_a_trainer_with_default_settings_stops_at_a_bare_assertion() -> None:
    config = sae_lens.TopKTrainingSAEConfig(k=4, d_in=32, d_sae=64)
    try:
        sae_lens.SAETrainer(
            SAETrainerConfig(total_training_samples=64, train_batch_size_samples=32),
            sae_lens.TopKTrainingSAE(config),
            iter([]),
        )
        failed = None
    except AssertionError as error:
        failed = str(error)
    still_open(
        failed == "", "SAETrainerConfig has an lr_end by default", delete="lr_end= in coders/saelens.py::fit"
    )


def test_a_finite_data_provider_runs_dry() -> None:
    config = sae_lens.TopKTrainingSAEConfig(k=4, d_in=32, d_sae=64)
    trainer = sae_lens.SAETrainer(
        SAETrainerConfig(
            total_training_samples=128, train_batch_size_samples=32, lr_end=1e-4, dead_feature_window=10
        ),
        sae_lens.TopKTrainingSAE(config),
        iter([torch.randn(32, 32)]),
    )
    try:
        with torch.enable_grad():
            trainer.fit()
        dry = False
    except (StopIteration, RuntimeError):
        dry = True
    still_open(dry, "SAETrainer repeats a finite provider", delete="the endless batches in coders/train.py")


def test_logging_to_wandb_is_on_by_default_except_where_we_rely_on_it() -> None:
    still_open(
        LoggingConfig().log_to_wandb,
        "LoggingConfig().log_to_wandb is False",
        delete="nothing; this test and its row",
    )
    quiet = SAETrainerConfig(total_training_samples=1, train_batch_size_samples=1).logger
    assert not quiet.log_to_wandb, (
        "SAETrainerConfig logs by default now: say logger= in coders/saelens.py::fit"
    )


def test_a_hook_added_after_compiling_is_ignored_and_a_compiled_host_is_refused() -> None:
    host = tiny_host()
    layer = host.model.get_submodule("model.layers.1")
    host.model.compile(backend="eager")
    clean = host.model(IDS, use_cache=False).logits
    handle = layer.register_forward_hook(lambda module, args, out: out + PUSH)
    hooked = host.model(IDS, use_cache=False).logits
    handle.remove()
    torch._dynamo.reset()
    still_open(
        torch.equal(clean, hooked),
        "torch.compile guards on hooks (torch._dynamo.config.skip_nnmodule_hook_guards)",
        delete="the refusal of compiled models in hosts/host.py",
    )
    plan = [rm.steer(rm.Whole(SITE), PUSH)]
    for run in (
        lambda: forward(host, ["w1 w2"], plan),
        lambda: rm.capture(host, ["w1 w2"], [SITE], progress=False),
    ):
        with pytest.raises(BindError, match="is compiled"):
            run()


SIDE_EFFECTS = """
import logging, socket, sys, warnings
import torch, transformers

addresses = []
socket.socket.connect = lambda self, address: addresses.append(address)
logging.getLogger("transformers").setLevel(logging.INFO)
filters = list(warnings.filters)
import transformer_lens
changed = [f for f in warnings.filters if f not in filters]
print(logging.getLogger("transformers").level, len(changed), len(addresses))
"""


def test_importing_transformer_lens_silences_a_logger_and_filters_warnings() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SIDE_EFFECTS], capture_output=True, text=True, check=True
    )
    level, n_filters, n_connections = map(int, run.stdout.split()[-3:])
    still_open(
        level == 40 or n_filters > 0,
        "importing transformer_lens leaves logging and warnings alone",
        delete="quiet.py",
    )
    assert n_connections == 0, (
        "importing transformer_lens opens a connection now: keep it out of every command"
    )
