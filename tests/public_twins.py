"""Twins of public models: their depth, architecture, spare rows, special tokens and ends of text, over random
weights of a few dimensions.

Written from the published configurations and tokenizers; the ordinary vocabulary is a small byte-level one.
An id of the twin is not the original's, but the order of the added tokens is.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import torch
from tokenizers import Tokenizer, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reasonmech.hosts import Host
from tests.layouts import byte_level

BASE_END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
R1_BOS, R1_END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
THINK: Final = ("<think>", "</think>")
_VISION: Final = (
    "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>",
    "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_TOOLS: Final = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
QWEN25: Final = (BASE_END, TURN, TURN_END, *_VISION, *_TOOLS)
QWEN3: Final = (*QWEN25, "<tool_response>", "</tool_response>", *THINK)
R1_QWEN: Final = (
    R1_END, "<｜User｜>", "<｜Assistant｜>", R1_BOS, "<|EOT|>", *THINK, *_VISION[4:], *_TOOLS
)  # fmt: skip
LLAMA3: Final = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", "<|reserved_special_token_3|>",
    "<|reserved_special_token_4|>", "<|reserved_special_token_5|>", "<|reserved_special_token_6|>",
    "<|reserved_special_token_7|>",
)  # fmt: skip
R1_LLAMA: Final = (R1_BOS, R1_END, *LLAMA3[2:11], "<｜User｜>", "<｜Assistant｜>", *THINK, "<｜▁pad▁｜>")
NOT_SPECIAL: Final = frozenset({*THINK, *_TOOLS, "<tool_response>", "</tool_response>", "<short>"})
CHATML: Final = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
R1_TEMPLATE: Final = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}"
    "{% if m['role'] == 'user' %}<｜User｜>{{ m['content'] }}{% endif %}{% if m['role'] == 'assistant' %}"
    "<｜Assistant｜>{{ m['content'].split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)


class Layout(NamedTuple):
    """How a family's tokenizer is laid out.

    Attributes:
        added: tokens after the ordinary ones, in order.
        eos, pad: of the tokenizer.
        ends: what ends a text, as `generation_config.json` has it.
        bos: put in front of every text ("": nothing is).
        template: of chats ("": there is none).
    """

    added: tuple[str, ...]
    eos: str
    pad: str
    ends: tuple[str, ...]
    bos: str = ""
    template: str = ""


LAYOUTS: Final = {
    "qwen2.5": Layout(QWEN25, BASE_END, BASE_END, (BASE_END,), template=CHATML),
    "qwq": Layout(
        (*QWEN25, *QWEN3[-4:]), TURN_END, BASE_END, (TURN_END, BASE_END), template=CHATML + "<think>\n"
    ),
    "qwen3-base": Layout(QWEN3, BASE_END, BASE_END, (BASE_END,), template=CHATML),
    "qwen3": Layout(QWEN3, TURN_END, BASE_END, (TURN_END, BASE_END), template=CHATML),
    "r1-qwen": Layout(R1_QWEN, R1_END, R1_END, (R1_END,), bos=R1_BOS, template=R1_TEMPLATE),
    "thinkless": Layout((*R1_QWEN, "<short>"), R1_END, R1_END, (R1_END,), bos=R1_BOS, template=R1_TEMPLATE),
    "llama3": Layout(LLAMA3, LLAMA3[1], LLAMA3[1], (LLAMA3[1],), bos=LLAMA3[0]),
    "r1-llama": Layout(R1_LLAMA, R1_END, R1_END, (R1_END,), bos=R1_BOS, template=R1_TEMPLATE),
}


class Twin(NamedTuple):
    """What of a public model decides whether it can be read, and compared with its sibling."""

    architecture: str
    n_layers: int
    layout: str
    spare: int = 20  # rows of the unembedding beyond the tokens: 151,936 rows for 151,665 tokens, ...
    tied: bool = False


def _qwen25(n_layers: int, *, tied: bool = False, layout: str = "qwen2.5") -> Twin:
    spare = 20 - {"qwen2.5": 0, "qwq": 4, "r1-qwen": 0, "thinkless": 1}[layout]  # one matrix, other tokens
    return Twin("qwen2", n_layers, layout, spare, tied)


MODELS: Final = {
    "Qwen/Qwen2.5-0.5B": _qwen25(24, tied=True),
    "Qwen/Qwen2.5-1.5B": _qwen25(28, tied=True),
    "Qwen/Qwen2.5-7B": _qwen25(28),
    "Qwen/Qwen2.5-14B": _qwen25(48),
    "Qwen/Qwen2.5-32B": _qwen25(64),
    "Qwen/Qwen2.5-Math-1.5B": _qwen25(28, tied=True),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-0.5B": _qwen25(24, tied=True),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-1.5B": _qwen25(28, tied=True),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-7B": _qwen25(28),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-32B": _qwen25(64),
    "Qwen/QwQ-32B": _qwen25(64, layout="qwq"),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": _qwen25(28, layout="r1-qwen"),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": _qwen25(48, layout="r1-qwen"),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": _qwen25(64, layout="r1-qwen"),
    "THU-KEG/AdaptThink-1.5B-delta0.05": _qwen25(28, layout="r1-qwen"),
    "Vinnnf/Thinkless-1.5B-RL-DeepScaleR": _qwen25(28, layout="thinkless"),
    "Qwen/Qwen3-1.7B-Base": Twin("qwen3", 28, "qwen3-base", tied=True),
    "Qwen/Qwen3-1.7B": Twin("qwen3", 28, "qwen3", tied=True),
    "Qwen/Qwen3-8B-Base": Twin("qwen3", 36, "qwen3-base"),
    "Qwen/Qwen3-8B": Twin("qwen3", 36, "qwen3"),
    "meta-llama/Llama-3.1-8B": Twin("llama", 32, "llama3", spare=0),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": Twin("llama", 32, "r1-llama", spare=0),
}
_ARCHITECTURES: Final = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a layout: one small byte-level vocabulary, then the layout's own tokens."""
    layout = LAYOUTS[name]
    raw = byte_level().backend_tokenizer.to_str()
    for number, token in enumerate((BASE_END, TURN, TURN_END)):  # of the small one: ordinary here
        raw = raw.replace(token, f"<ordinary{number}>")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(raw),
        clean_up_tokenization_spaces=False,
    )
    for token in layout.added:
        tokenizer.add_tokens([token], special_tokens=token not in NOT_SPECIAL)
    tokenizer.eos_token, tokenizer.pad_token = layout.eos, layout.pad
    if layout.bos:
        tokenizer.bos_token = layout.bos
        at = tokenizer.convert_tokens_to_ids(layout.bos)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{layout.bos} $A", pair=f"{layout.bos} $A $B", special_tokens=[(layout.bos, at)]
        )
    if layout.template:
        tokenizer.chat_template = layout.template
    return tokenizer


def twin_model(name: str, *, seed: int) -> PreTrainedModel:
    """A random model of a public one's depth and architecture, 16 dimensions wide."""
    twin, tokenizer = MODELS[name], tokenizer_of(MODELS[name].layout)
    config_class, model_class = _ARCHITECTURES[twin.architecture]
    ends = tokenizer.convert_tokens_to_ids(list(LAYOUTS[twin.layout].ends))
    config = config_class(
        vocab_size=len(tokenizer) + twin.spare,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=twin.n_layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends[0],
        tie_word_embeddings=twin.tied,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config).eval()
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    return model


@cache
def twin_host(name: str) -> Host:
    """A host of the twin, named after the original; one for all tests, which change nothing in it."""
    return Host(twin_model(name, seed=len(name)), tokenizer_of(MODELS[name].layout), name=name)
