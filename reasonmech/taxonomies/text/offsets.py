"""Where each generated token stands in the text of its rollout."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reasonmech.errors import DataError
from reasonmech.hosts.characters import character_spans
from reasonmech.rollout import Rollout
from reasonmech.taxonomies.text.segmentation import CharSpan


def token_offsets(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> list[CharSpan]:
    """Characters of `rollout.text` that each generated token wrote, wholly or in part: all tokens that share
    a character have it.

    Spans are in order and cover the text. They are read off the tokens as they were generated: encoding the
    text again would give offsets, too, but of other tokens.

    Raises:
        DataError: the tokenizer has no Rust backend, or the tokens do not decode to the text.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise DataError(
            f"{type(tokenizer).__name__} has no Rust backend to decode by token",
            allowed="a fast tokenizer",
            do="load it with AutoTokenizer from a directory that has tokenizer.json",
        )
    try:
        spans = character_spans(tokenizer, rollout.ids, rollout.text)
    except DataError as error:
        raise DataError(
            f"rollout of {rollout.problem.id}: {error.happened}", allowed=error.allowed, do=error.do
        ) from error
    return [CharSpan(*span) for span in spans]
