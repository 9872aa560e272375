"""Settings that a configuration tells with care: stretched rope, text models in larger ones, samplers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.experiments.assemble import _describe_host
from reasonmech.hosts import Host, load_host
from reasonmech.runtime import Decode, capture, forward, generate
from reasonmech.testing import tiny_host, tiny_tokenizer
from tests.layouts import smollm2_directory


def llama(**settings: object) -> LlamaForCausalLM:
    shape = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": None,
        "eos_token_id": 1,
        "tie_word_embeddings": False,
    }
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        model = LlamaForCausalLM(LlamaConfig(**(shape | settings))).eval()  # pyright: ignore
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model


def rope(kind: str, **settings: object) -> dict[str, object]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **settings}}


@pytest.mark.parametrize(
    ("settings", "n"),
    [
        ({}, 32),
        (rope("yarn", factor=4.0, original_max_position_embeddings=32), 128),
        (rope("yarn", factor=4.0, original_max_position_embeddings=8), 32),  # stretched already
        (rope("linear", factor=2.0), 64),
        (rope("yarn", factor=4.0), 128),  # no length before: it is taken to be max_position_embeddings
        (rope("dynamic", factor=3.0), 32),  # longer texts would depend on the batch
        (
            rope(
                "longrope",
                factor=4.0,
                original_max_position_embeddings=16,
                short_factor=[1.0] * 4,
                long_factor=[1.0, 2.0, 3.0, 4.0],
            ),
            16,
        ),
        (
            rope(
                "llama3",
                factor=8.0,
                original_max_position_embeddings=8,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
            ),
            32,
        ),
    ],
)
def test_stretched_rope_has_as_many_positions_as_it_reaches(settings: dict[str, object], n: int) -> None:
    model = llama(**settings)
    host = Host(model, tiny_tokenizer(), name="rope")
    assert host.n_positions == n
    long = "w1 " * (n + 1)
    with pytest.raises(DataError, match=f"at most {n}, the positions"):
        capture(host, [long], ["resid_post.0"], progress=False)
    assert forward(host, ["w1 " * n]).logits[0].shape[0] == n
    [rollout] = generate(host, ["w1 w2 w3"], decode=Decode(max_new_tokens=n - 3), progress=False)
    ids = torch.tensor([host.encode("w1 w2 w3")])
    hf = model.generate(  # pyright: ignore
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=n - 3, do_sample=False, pad_token_id=0
    )[0, 3:]
    assert list(rollout.ids) == hf.tolist()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("dynamic", {"factor": 4.0}),
        (
            "longrope",
            {
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "short_factor": [1.0] * 4,
                "long_factor": [1.0, 2.0, 3.0, 4.0],
            },
        ),
    ],
)
def test_no_text_depends_on_a_longer_one_beside_it(kind: str, settings: dict[str, object]) -> None:
    host = Host(llama(**rope(kind, **settings)), tiny_tokenizer(), name="rope")
    words = [f"w{i}" for i in range(40)]
    short, long = " ".join(words[:9]), " ".join(words[: host.n_positions])
    alone = forward(host, [short]).logits[0]
    assert torch.allclose(forward(host, [short, long]).logits[0], alone, atol=1e-5)
    ids = torch.tensor([host.encode(" ".join(words))])
    beside = host.model(torch.cat([ids[:, :9].repeat(1, 5)[:, :40], ids])).logits[0, :9]
    assert not torch.allclose(beside, alone, atol=1e-3)  # what is not done: 40 tokens in the batch
    with pytest.raises(DataError, match=rf"its rope \({kind}\) turns all texts of a batch"):
        forward(host, [" ".join(words)])
    with pytest.raises(DataError, match=rf"its rope \({kind}\) turns all texts of a batch"):
        generate(host, [short], decode=Decode(max_new_tokens=30), progress=False)


def test_a_configuration_without_a_cache_changes_no_token() -> None:
    with_cache, without = (
        Host(llama(use_cache=use), tiny_tokenizer(), name=str(use)) for use in (True, False)
    )
    decode = Decode(max_new_tokens=16)
    texts = ["w1 w2 w3", "w7"]
    runs = [generate(host, texts, decode=decode, progress=False) for host in (with_cache, without)]
    assert [r.ids for r in runs[0]] == [r.ids for r in runs[1]]


# a text model inside a larger one -------------------------------------------------------------------------


def seeing(**text: object) -> Gemma3ForConditionalGeneration:
    """A tiny Gemma 3 that sees images."""
    shape = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "eos_token_id": [1, 40],
        "bos_token_id": None,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=shape | text,
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=60,
        boi_token_index=61,
        eoi_token_index=62,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = Gemma3ForConditionalGeneration(config).eval()
        for parameter in model.model.language_model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(20)
    return model


class Capping(Gemma3ForConditionalGeneration):
    """One whose class does apply the cap, as Gemma 3n's does."""

    def forward(self, *arguments: object, **settings: object) -> object:
        out = super().forward(*arguments, **settings)  # pyright: ignore
        out.logits = 2.0 * torch.tanh(out.logits / 2.0)
        return out


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("applies", [False, True])
def test_a_text_model_inside_a_larger_one_is_read_by_its_settings(cap: float | None, applies: bool) -> None:
    model = seeing(final_logit_softcapping=cap)
    if applies and cap is not None:
        model.__class__ = Capping
    host = Host(model, tiny_tokenizer(), name="seeing")
    assert (host.n_layers, host.n_heads, host.n_positions, host.eos_ids) == (3, 4, 64, (1, 40))
    ids = torch.tensor([[6, 9, 12, 7, 30]])
    seen: list[torch.Tensor] = []
    handle = host.hook_point("resid_post.2").attach(seen.append)
    with torch.no_grad():
        logits = model(ids).logits
        handle.remove()
        torch.testing.assert_close(host.logits_of(seen[0]), logits, atol=1e-5, rtol=1e-5)
        assert logits.abs().max() > (0.5 if cap is None or not applies else 0.0)
    texts = ["w1 w2 w3", "w7 w9"]
    batch = generate(host, texts, decode=Decode(max_new_tokens=8), progress=False)
    model.__class__ = Gemma3ForConditionalGeneration  # a cap changes no argmax
    for rollout, text in zip(batch, texts, strict=True):
        prompt = torch.tensor([host.encode(text)])
        mask = torch.ones_like(prompt)
        hf = model.generate(  # pyright: ignore
            prompt, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        assert list(rollout.ids) == hf[0, prompt.shape[1] :].tolist()


# samplers that are not applied ----------------------------------------------------------------------------


def test_what_the_generation_config_says_of_sampling_is_listed_and_not_applied(tmp_path: Path) -> None:
    model = tiny_host().model
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.95, top_k=20, repetition_penalty=1.3, eos_token_id=1
    )
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    host = load_host(tmp_path, name="sampled")
    listed = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.3}
    assert host.sampling == listed and "not applied: {'do_sample': True" in repr(host)
    assert _describe_host(host)["sampling_not_applied"] == listed
    plain = generate(tiny_host(), ["w1 w2"], decode=Decode(max_new_tokens=12), progress=False)
    assert generate(host, ["w1 w2"], decode=Decode(max_new_tokens=12), progress=False)[0].ids == plain[0].ids
    neutral = GenerationConfig(temperature=1.0, top_p=1.0, repetition_penalty=1.0, num_beams=1, top_k=0)
    model.generation_config = neutral
    assert load_host(model, tokenizer=tiny_tokenizer(), name="n").sampling == {}
    assert tiny_host().sampling == {} and "not applied" not in repr(tiny_host())


# the batch, and what it may change ------------------------------------------------------------------------


QUESTIONS = ["What is 3+4?", "Why is the sky blue? Explain shortly.", "Is 7 prime?", "Name a colour."]


@pytest.mark.real_model
def test_in_float32_the_batch_changes_no_token_of_a_real_model() -> None:
    directory = smollm2_directory()
    host = load_host(directory, dtype=torch.float32)
    prompts = [
        host.tokenizer.apply_chat_template(
            [{"role": "user", "content": q}], tokenize=False, add_generation_prompt=True
        )
        for q in QUESTIONS
    ]
    decode = Decode(max_new_tokens=12)
    together = generate(host, prompts, decode=decode, progress=False)
    alone = generate(host, prompts, decode=decode.model_copy(update={"batch_size": 1}), progress=False)
    assert [r.ids for r in together] == [r.ids for r in alone]
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    for rollout in alone:
        ids = torch.tensor([list(rollout.prompt_ids)])
        hf = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert list(rollout.ids) == hf[0, ids.shape[1] :].tolist()


def test_what_the_batch_may_change_is_said_where_it_is_promised() -> None:
    text = Decode.model_fields["batch_size"].description or ""
    assert "float32" in text and "bfloat16" in text and "never results" not in text
    assert "bfloat16" in (rm.generate.__doc__ or "")
