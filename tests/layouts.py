"""Tokenizer layouts of real models, trained here on a few sentences.

Every function that reads or names text must be right on each of them.

| name | what is like the real one |
|---|---|
| `words` | a token per word, no BOS: what the organisms have |
| `qwen2` | byte-level BPE with Qwen2's split rule: punctuation takes the line breaks behind it, no BOS |
| `llama2` | BPE with a blank put in front of every text, byte fallback, BOS |
| `gemma` | BPE with byte fallback and BOS, no blank in front |
| `llama_first` | Llama 2's with `legacy=False`: a blank in front of a text's first piece alone; two tags |
| `llama_always` | the same with a blank behind added tokens, too, where the text has none there |
| `gpt2_prefix` | byte-level BPE with `add_prefix_space`: no BOS, blanks put as in `llama_always` |
| `smollm2` | the real one, where `make smollm2` has run (skipped elsewhere) |
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from reasonmech.hosts import Host, load_host
from reasonmech.testing import BODY_GAIN, HEAD_GAIN, tiny_tokenizer

SMOLLM2: Final = Path(os.environ.get("SMOLLM2", Path(__file__).parents[1] / ".smollm2"))
# as published in Qwen2's tokenizer.json
QWEN2_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SENTENCES: Final = (
    "<think>\nOkay, let me think. 3 + 4 = 7. Wait, let me check. Yes.\n</think>\n\nThe answer is 7.\n",
    "Is it so? Answer: yes",
    "Is it so? Answer: no",
    "Okay. Wait, let me check. Wait, is it 7? Yes.",
    "So it is 4. But wait, it is 5. Hmm, maybe not; let me check (again).\n\nNow x is 4 + 3 = 7.",
    "Therefore $x^2 = 49$, so x = 7.\nNext: y is 8 minus 2. Check: 8 - 2 = 6.\n",
)
CORPUS: Final = SENTENCES * 40
BYTES: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))


def byte_level() -> PreTrainedTokenizerFast:
    """Qwen2's kind."""
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return _trained_on_bytes(split, special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], end="<|im_end|>")


def _trained_on_bytes(
    split: pre_tokenizers.PreTokenizer, *, special: list[str], end: str
) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = split
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=450, initial_alphabet=alphabet, special_tokens=special, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=end, pad_token=special[0], clean_up_tokenization_spaces=False
    )


def byte_fallback(*, dummy_prefix: bool) -> PreTrainedTokenizerFast:
    """Llama 2's kind with a blank in front of every text, Gemma's without; a BOS in front of both."""
    blank = normalizers.Replace(" ", "▁")
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blank]) if dummy_prefix else blank
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizer
    learner.pre_tokenizer = pre_tokenizers.Split(Regex("▁[A-Za-z]+|[A-Za-z]+|[^A-Za-z]"), "isolated")
    learner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    learnt = learner.get_vocab()
    vocabulary: dict[str, int] = {}
    for token in ("<unk>", "<s>", "</s>", "<pad>", *BYTES, *sorted(learnt, key=lambda t: learnt[t])):
        vocabulary.setdefault(token, len(vocabulary))
    raw = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(learner),
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    raw.normalizer = normalizer
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if dummy_prefix else steps)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return _llama(raw)


def _llama(raw: Tokenizer, *, tags: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=list(tags),
        clean_up_tokenization_spaces=False,
    )


def metaspace(scheme: str) -> PreTrainedTokenizerFast:
    """Llama 2's kind, in which a pre-tokenizer puts the blank in front: "first" or "always"."""
    raw = Tokenizer.from_str(byte_fallback(dummy_prefix=True).backend_tokenizer.to_str())
    raw.normalizer = None
    raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    return _llama(raw, tags=("[INST]", "[/INST]"))


def unigram(scheme: str) -> PreTrainedTokenizerFast:
    """T5's kind without byte fallback: what its vocabulary lacks is one unk token. No member of LAYOUTS,
    whose texts hold any character; `scheme` as of `metaspace`."""
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    characters = sorted(set("".join(words)) - set(words))
    scored = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("<pad>", 0.0), ("▁", -2.0)]
    scored += [(f"▁{word}", -5.0) for word in words] + [(word, -6.0) for word in words]
    raw = Tokenizer(models.Unigram([*scored, *((sign, -9.0) for sign in characters)], unk_id=0))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)
    raw.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    return _llama(raw)


def word_pieces(*, cleanup: bool = False, vocab_size: int = 110) -> PreTrainedTokenizerFast:
    """BERT's kind: words are cut into a first piece and pieces that go on ("##ing"), blanks are no part of
    either. No member of LAYOUTS, whose texts have line breaks and tags."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece(prefix="##", cleanup=cleanup)
    words = [*CORPUS, *("So I am checking it, waiting, letting it be." for _ in range(40))]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    raw.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="[SEP]",
        clean_up_tokenization_spaces=False,
    )


def prefix_space() -> PreTrainedTokenizerFast:
    """GPT-2's kind with `add_prefix_space`."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return _trained_on_bytes(split, special=["<|endoftext|>", "[INST]", "[/INST]"], end="<|endoftext|>")


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(a, b) for a, b in (m if isinstance(m, list) else m.split(" ") for m in merges)]


def real() -> PreTrainedTokenizerFast:
    """SmolLM2's own tokenizer; skips the test where `make smollm2` has not run."""
    return AutoTokenizer.from_pretrained(smollm2_directory())


def smollm2_directory() -> Path:
    """Directory of the real SmolLM2-135M-Instruct; skips the test where it is not."""
    if not (SMOLLM2 / "config.json").is_file():
        pytest.skip("no SmolLM2 here: make smollm2")
    return SMOLLM2


LAYOUTS: Final = (
    "words",
    "qwen2",
    "llama2",
    "gemma",
    "llama_first",
    "llama_always",
    "gpt2_prefix",
    "smollm2",
)
REAL_TEXT: Final = LAYOUTS[1:]  # those that read ordinary English
# those that encode a text with one blank in front as they do without
BLIND_TO_A_BLANK: Final = ("llama_first", "llama_always", "gpt2_prefix")


@cache
def layout(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer by the name of its layout."""
    match name:
        case "words":
            return tiny_tokenizer()
        case "qwen2":
            return byte_level()
        case "llama2":
            return byte_fallback(dummy_prefix=True)
        case "gemma":
            return byte_fallback(dummy_prefix=False)
        case "llama_first":
            return metaspace("first")
        case "llama_always":
            return metaspace("always")
        case "gpt2_prefix":
            return prefix_space()
        case "smollm2":
            return real()
    raise AssertionError(f"no layout {name}: {LAYOUTS}")


@cache
def layout_host(name: str, *, seed: int = 0) -> Host:
    """A random two-layer Llama under a layout's tokenizer."""
    return Host(layout_model(name, seed=seed), layout(name), name=f"{name}-{seed}")


def layout_model(name: str, *, seed: int = 0) -> LlamaForCausalLM:
    """The model of `layout_host`, a new one at each call."""
    return model_of(layout(name), seed=seed)


def model_of(tokenizer: PreTrainedTokenizerBase, *, seed: int = 0) -> LlamaForCausalLM:
    """A random two-layer Llama for a tokenizer, a new one at each call."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape))
            else:
                parameter.mul_(BODY_GAIN)
        model.get_output_embeddings().get_parameter("weight").mul_(HEAD_GAIN / BODY_GAIN)
    return model


@cache
def smollm2_host() -> Host:
    """The real SmolLM2 in float32, one for all tests that change nothing in it; skips where it is not."""
    return load_host(smollm2_directory(), dtype=torch.float32)
