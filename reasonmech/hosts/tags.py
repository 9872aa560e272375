"""Tags: texts in angle brackets that templates and thoughts are marked with, and what tokens they are."""

from __future__ import annotations

import re
from typing import Final

from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.characters import token_name

_TAG: Final = re.compile(r"</?[A-Za-z][\w-]*>|<\|[^<>|\s]+\|>|\[/?[A-Z]{3,}\]")


def name_tags(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """A line for every tag of a text that is no token of its own, with the tokens that write it.

    In a prompt such a tag is text like any other, and the model reads it so. What must find it in what is
    written (a mask, a stop string) finds it across borders of tokens.
    """
    vocabulary = tokenizer.get_vocab()
    lines = []
    for tag in dict.fromkeys(_TAG.findall(text)):
        if tag not in vocabulary:
            ids = list(tokenizer.encode(tag, add_special_tokens=False))
            pieces = ", ".join(repr(token_name(tokenizer, token)) for token in ids)
            lines.append(f"({tag} is {len(ids)} tokens here: {pieces})")
    return lines
