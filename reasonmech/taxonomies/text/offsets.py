"""Where each generated token stands in the text of its rollout."""

from __future__ import annotations

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reasonmech.errors import DataError
from reasonmech.rollout import Rollout
from reasonmech.taxonomies.text.segmentation import CharSpan


def token_offsets(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> list[CharSpan]:
    """Characters of `rollout.text` that each generated token wrote; tokens that share one character share its
    span.

    The tokens are decoded one by one as they were generated. Encoding the text again would give offsets too,
    but of other tokens: a model need not write the tokens that a tokenizer would.

    Raises:
        DataError: the tokenizer has no Rust backend, or the tokens do not decode to the text.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise DataError(
            f"{type(tokenizer).__name__} has no Rust backend to decode by token",
            allowed="a fast tokenizer",
            do="load it with AutoTokenizer from a directory that has tokenizer.json",
        )
    backend, stream = tokenizer.backend_tokenizer, DecodeStream(skip_special_tokens=False)
    spans: list[CharSpan] = []
    at = waiting = 0  # `waiting` tokens have written only a part of the character at `at`
    for token in rollout.ids:
        piece = stream.step(backend, token)
        if piece is None:
            waiting += 1
            continue
        if not rollout.text.startswith(piece, at):
            raise _other_text(rollout, at, piece)
        spans += [CharSpan(at, at + 1)] * waiting if piece else [CharSpan(at, at)] * waiting
        spans.append(CharSpan(at, at + len(piece)))
        at, waiting = at + len(piece), 0
    spans += [CharSpan(at, len(rollout.text))] * waiting
    if not waiting and at != len(rollout.text):
        raise _other_text(rollout, at, "")
    return spans


def _other_text(rollout: Rollout, at: int, piece: str) -> DataError:
    return DataError(
        f"rollout of {rollout.problem.id}: its tokens go on with {piece!r} at character {at}, its text with "
        f"{rollout.text[at : at + 20]!r}",
        allowed="a text that is its tokens decoded, special tokens included",
        do="use the tokenizer that the rollout was generated with",
    )
