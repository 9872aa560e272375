"""Rollouts of real text, cut into sentences by character and by token."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from reasonmech.labels import Span
from reasonmech.rollout import Rollout
from reasonmech.taxonomies.text.offsets import token_offsets
from reasonmech.taxonomies.text.segmentation import CharSpan, segment


@dataclass(frozen=True)
class TextSentence:
    """A sentence of real text.

    Attributes:
        text: as written.
        chars: where, in `rollout.text`.
        tokens: its tokens, as offsets from the first generated token; never empty.
    """

    text: str
    chars: CharSpan
    tokens: Span


@dataclass(frozen=True)
class CutRollout:
    """A rollout and its sentences. Every generated token belongs to exactly one of them, if there is any."""

    rollout: Rollout
    sentences: tuple[TextSentence, ...]


def cut(rollouts: Sequence[Rollout], tokenizer: PreTrainedTokenizerBase) -> list[CutRollout]:
    """Cut rollouts into sentences (`segment`), each with the tokens that wrote it.

    A token belongs to the sentence of its first visible character; one that writes only white space, or
    nothing, to the sentence before it. A sentence without a token of its own is joined to the one before it,
    in whose token it stands. A rollout without a visible character has no sentence.

    Raises:
        DataError: the tokenizer is not that of the rollouts, or has no Rust backend.
    """
    return [CutRollout(rollout, _sentences(rollout, tokenizer)) for rollout in rollouts]


def _sentences(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> tuple[TextSentence, ...]:
    text, found = rollout.text, segment(rollout.text)
    if not found:
        return ()
    firsts = _first_tokens(text, found, token_offsets(rollout, tokenizer))
    owners = [i for i, first in enumerate(firsts) if first is not None]
    sentences = []
    for i, after in zip(owners, [*owners[1:], len(found)], strict=True):
        chars = CharSpan(found[i].start, found[after - 1].stop)
        start, stop = firsts[i], firsts[after] if after < len(found) else len(rollout.ids)
        assert start is not None and stop is not None
        tokens = Span(start if sentences else 0, stop)
        sentences.append(TextSentence(text[chars.start : chars.stop], chars, tokens))
    return tuple(sentences)


def _first_tokens(text: str, found: Sequence[CharSpan], offsets: Sequence[CharSpan]) -> list[int | None]:
    """Per sentence, its first token: the first whose first visible character lies in it (None: there is
    none)."""
    starts = [s.start for s in found]
    firsts: list[int | None] = [None] * len(found)
    for t, (start, stop) in enumerate(offsets):
        piece = text[start:stop]
        visible = piece.lstrip()
        if visible:
            at = bisect_right(starts, start + len(piece) - len(visible)) - 1
            firsts[at] = t if firsts[at] is None else firsts[at]
    return firsts
