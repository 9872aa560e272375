"""A pair from outside: a shipped organism as somebody else would have saved it.

The models compute the text of the organism's, but nothing else is like it: Qwen2 directories, bfloat16, a
tokenizer that puts a BOS in front, other names and places of the special tokens, the ids of all words
permuted (and the rows of embedding and head with them), more rows than words, ends of a text in a generation
config.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from reasonmech.hosts import Host
from reasonmech.organisms import load_pair

BOS: Final = "<|startoftext|>"
RENAMED: Final = {"<pad>": "<|endoftext|>", "<eos>": "<|im_end|>", "<unk>": "<|unk|>"}
UNUSED: Final = ("<|im_start|>", "<think>", "</think>")  # words without a life of their own
ROWS: Final = 200  # of embedding and head: more than there are words
BLANK: Final = "Ġ"  # a blank in the vocabulary of a byte-level tokenizer
SEED: Final = 7  # of the permutation


def write_outside_pair(
    folder: Path,
    *,
    organism: str = "tiny-when",
    dtype: torch.dtype = torch.bfloat16,
    bos_row: str = "<eos>",
    blanks: bool = False,
) -> Path:
    """Write both models and `pair.yaml`, whose path is returned.

    Args:
        bos_row: the organism's word whose embedding the BOS has. After "<eos>" (which stood between the
            documents of the corpus) the text is the same; after "<pad>" the base steps more often.
        blanks: whether the blank in front of a word is part of its token ("Ġnext", as Qwen2 has it) or stands
            between tokens.
    """
    pair = load_pair(organism)
    for side, host in (("base", pair.base), ("thinking", pair.thinking)):
        _write_model(folder / side, host, dtype=dtype, bos_row=bos_row, blanks=blanks)
    role = {side: {"model": side, "tokenizer": f"{side}/tokenizer.json"} for side in ("base", "thinking")}
    text = {"name": f"outside-{organism}", **role, "task": pair.task, "steering_layer": pair.steering_layer}
    (folder / "pair.yaml").write_text(yaml.safe_dump(text))
    return folder / "pair.yaml"


def _write_model(folder: Path, host: Host, *, dtype: torch.dtype, bos_row: str, blanks: bool) -> None:
    ours = dict(sorted(host.tokenizer.get_vocab().items(), key=lambda item: item[1]))
    row = {RENAMED.get(word, word): i for word, i in ours.items()}
    words = [word for word in row if word not in RENAMED.values()]
    row |= {BOS: ours[bos_row]} | dict.fromkeys(UNUSED, ours["<unk>"])
    # what stands in front of a text only is read and never written: its row of the head is an unknown word's
    unwritten = [BOS]
    if blanks:
        row |= {BLANK + word: row[word] for word in words}
        unwritten += words
    ids = _permuted(list(row))
    model = _as_qwen2(host, [row[word] for word in sorted(ids, key=lambda word: ids[word])], ids)
    model.lm_head.weight.data[[ids[word] for word in unwritten]] = host.unembedding()[ours["<unk>"]]
    nn.Module.to(model, dtype=dtype)
    model.save_pretrained(folder)
    _tokenizer(ids, blanks=blanks).save_pretrained(folder)
    ends = GenerationConfig(
        bos_token_id=ids[BOS],
        eos_token_id=[ids[RENAMED["<eos>"]], ids[RENAMED["<pad>"]]],
        pad_token_id=ids[RENAMED["<pad>"]],
        do_sample=True,
        temperature=0.6,
        top_p=0.95,
        top_k=20,
    )
    ends.save_pretrained(folder)


def _permuted(words: list[str]) -> dict[str, int]:
    """Word -> id, in an order that has nothing to do with that of the words."""
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(SEED)).tolist()
    return {word: order[i] for i, word in enumerate(words)}


def _as_qwen2(host: Host, rows: list[int], ids: dict[str, int]) -> Qwen2ForCausalLM:
    """The model under its new ids. Qwen2 is Llama with biases, which are 0 here."""
    theirs = host.model.config
    config = Qwen2Config(
        vocab_size=ROWS,
        hidden_size=theirs.hidden_size,
        intermediate_size=theirs.intermediate_size,
        num_hidden_layers=theirs.num_hidden_layers,
        num_attention_heads=theirs.num_attention_heads,
        num_key_value_heads=theirs.num_key_value_heads,
        max_position_embeddings=theirs.max_position_embeddings,
        rms_norm_eps=theirs.rms_norm_eps,
        rope_parameters=dict(theirs.rope_parameters),
        tie_word_embeddings=False,
        bos_token_id=ids[BOS],
        eos_token_id=ids[RENAMED["<eos>"]],
        pad_token_id=ids[RENAMED["<pad>"]],
    )
    model = Qwen2ForCausalLM(config)
    weights = host.model.state_dict()
    padded = [*rows, *[rows[ids[UNUSED[0]]]] * (ROWS - len(rows))]
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights[name][padded].clone()
    absent, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.endswith(".bias") for name in absent), (absent, unexpected)
    for name in absent:
        model.get_parameter(name).data.zero_()
    return model.eval()


def _tokenizer(ids: dict[str, int], *, blanks: bool) -> PreTrainedTokenizerFast:
    """A token per word, as the task asks for, behind a BOS."""
    raw = Tokenizer(models.WordLevel(ids, unk_token=RENAMED["<unk>"]))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if blanks:
        words, byte_level = (
            Regex(" ?[^ ]+"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        )
        split = pre_tokenizers.Split(words, "isolated")
        raw.pre_tokenizer, raw.decoder = pre_tokenizers.Sequence([split, byte_level]), decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, ids[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=BOS,
        eos_token=RENAMED["<eos>"],
        pad_token=RENAMED["<pad>"],
        unk_token=RENAMED["<unk>"],
        additional_special_tokens=list(UNUSED),
        clean_up_tokenization_spaces=False,
    )
