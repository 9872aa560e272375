"""Checks that a tokenizer really turns text into tokens and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from transformers import PreTrainedTokenizerBase

from reasonmech.errors import MismatchError

N_PROBES: Final = 64


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of token ids, special tokens included, spacing untouched."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def hash_vocabulary(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over every token and its id, special ones included."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def check_round_trip(tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Encode and decode some of the tokenizer's own words; at least half must survive.

    transformers builds a tokenizer of the class that a checkpoint's model_type suggests, whatever its files
    say: a word-level tokenizer beside Qwen2 weights then encodes every text to nothing, without a warning.

    Raises:
        MismatchError: it does not return what was put in.
    """
    special = set(tokenizer.all_special_ids)
    ordinary = sorted(set(tokenizer.get_vocab().values()) - special)
    step = max(1, len(ordinary) // N_PROBES)
    words = [decode(tokenizer, [i]).strip() for i in ordinary[::step]]
    words = [word for word in words if word and "�" not in word]
    lost = [word for word in words if _round_trip(tokenizer, word) != word]
    if not words or 2 * len(lost) > len(words):
        shown = ", ".join(f"{w!r} -> {tokenizer.encode(w, add_special_tokens=False)}" for w in lost[:3])
        raise MismatchError(
            f"the tokenizer of {name!r} ({type(tokenizer).__name__}) loses {len(lost)} of {len(words)} of "
            "its own "
            f"words ({shown or 'none decodes to text'}): it silently encodes text to nothing, or to other "
            "text",
            allowed="a tokenizer that decodes what it encoded",
            do='give its file, which is read as it stands: tokenizer="DIRECTORY/tokenizer.json", or in a '
            "pair file base: {model: DIRECTORY, tokenizer: DIRECTORY/tokenizer.json}",
        )


def _round_trip(tokenizer: PreTrainedTokenizerBase, word: str) -> str:
    return decode(tokenizer, tokenizer.encode(word, add_special_tokens=False)).strip()
