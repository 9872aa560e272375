"""Rollouts of real text from a byte-level tokenizer trained on the spot."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Trace
from reasonmech.taxonomies.text import TextSentence, cut

CORPUS = (
    "<think>\nOkay, so I need to find x. Let me try x = 5. Wait, that's wrong.\n\nSo it is 3.14, i.e. "
    "\\(x\\).\n",
    "所以答案是五。对吗？ Hmm... maybe. ```python\nprint(1)\n``` $a + b$ 🙂",
) * 4


@cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, 320 tokens: rare characters are several tokens, common words one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", clean_up_tokenization_spaces=False
    )


def word_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """One token per blank-separated word."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def written(text: str, *, problem: str = "p", ids: list[int] | None = None) -> Rollout:
    """A rollout that wrote `text`, in the tokenizer's own tokens or in `ids`."""
    token_ids = tuple(byte_tokenizer().encode(text, add_special_tokens=False) if ids is None else ids)
    no = (False,) * len(token_ids)
    return Rollout(
        Problem(problem, "Q", "A"), 0, (1, 2), token_ids, no, no, "eos", byte_tokenizer().decode(token_ids)
    )


def cut_text(text: str, *, problem: str = "p") -> Trace[TextSentence]:
    return cut([written(text, problem=problem)], byte_tokenizer())[0]
