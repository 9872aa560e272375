"""Rollouts of real text, cut into sentences by character and by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import cast

from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import as_sequence, check_type, describe
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts.sentences import GrowingText
from reasonmech.labels import Span
from reasonmech.rollout import OTHER, STOP, Rollout, Sentence, Trace
from reasonmech.taxonomies.text.offsets import token_offsets
from reasonmech.taxonomies.text.segmentation import CharSpan


@checked
@dataclass(frozen=True)
class TextSentence(Sentence):
    """A sentence of real text; its tokens, [start, stop), are never none.

    Attributes:
        text: as written.
        chars: where, in `rollout.text`.
        categories: of a taxonomy, all that it belongs to (`Annotation.with_kinds`); `kind` is one of them.
    """

    text: str
    chars: CharSpan
    categories: frozenset[str] = frozenset()

    @property
    def tokens(self) -> Span:
        return Span(self.start, self.stop)

    @checked
    def is_a(self, kind: str) -> bool:
        return kind == self.kind or kind in self.categories


def text_trace(trace: Trace) -> Trace[TextSentence]:
    """The trace itself, known to be one of real text.

    Raises:
        ArgumentError: no trace. DataError: its sentences have no characters, as those of a parsed task.
    """
    check_type(trace, Trace, name="trace", allowed="a trace: one of cut(rollouts, tokenizer)")
    for sentence in trace.sentences:
        if not isinstance(sentence, TextSentence):
            raise DataError(
                f"the trace of {trace.rollout.problem.id!r} has {describe(sentence)}, without characters",
                allowed="traces of real text",
                do="cut the rollouts by character: cut(rollouts, tokenizer)",
            )
    return cast("Trace[TextSentence]", trace)


def cut(
    rollouts: Rollout | Sequence[Rollout], tokenizer: PreTrainedTokenizerBase
) -> list[Trace[TextSentence]]:
    """Cut rollouts into sentences, each with the tokens that wrote it, none of a kind yet.

    By the rules of `segment`, token by token, as a text is cut while it is being written (`GrowingText`):
    masks, hybrids and this function see the same sentences. A token belongs to the sentence of its first
    visible character; one that writes only white space, or nothing, to the sentence before it. A sentence
    without a token of its own is joined to the one before it, in whose token it stands. A rollout without a
    visible character has no sentence; in all others every generated token belongs to exactly one.

    Raises:
        ArgumentError: no rollouts, or no tokenizer.
        DataError: the tokenizer is not that of the rollouts, or has no Rust backend.
    """
    rollouts = as_sequence(rollouts, Rollout, name="rollouts", allowed="rollouts: rm.generate(...)")
    check_type(
        tokenizer, PreTrainedTokenizerBase, name="tokenizer", allowed="the tokenizer that wrote the rollouts"
    )
    return [_cut(rollout, tokenizer) for rollout in rollouts]


@checked
def cut_by_pieces(rollout: Rollout) -> Trace[TextSentence]:
    """The same without a tokenizer, from what the rollout says that each of its tokens wrote.

    Raises:
        ArgumentError: no rollout. DataError: it does not say what each token wrote.
    """
    check_type(rollout, Rollout, name="rollout", allowed="a rollout: one of rm.generate(...)")
    stops = list(accumulate(map(len, written_pieces(rollout))))
    offsets = [_span(rollout.text, *ends) for ends in zip([0, *stops], stops, strict=False)]
    return _cut_at(rollout, offsets, marked=rollout.stop == "eos" and bool(rollout.ids))


def _span(text: str, start: int, stop: int) -> CharSpan:
    """Of a piece. One without text goes on in the character before it, where that has several bytes."""
    shared = start == stop and not text[max(start - 1, 0) : start].isascii()
    return CharSpan(start - shared, stop)


@checked
def written_pieces(rollout: Rollout) -> tuple[str, ...]:
    """What each token added to the text: `rollout.pieces`, or its words where blanks part them.

    Raises:
        DataError: the rollout does not say.
    """
    pieces = rollout.pieces
    if not pieces and rollout.ids:  # words parted by blanks, each a token
        first, *others = rollout.text.split(" ")
        pieces = (first, *(f" {word}" for word in others))
    if len(pieces) != len(rollout.ids) or "".join(pieces) != rollout.text:
        raise DataError(
            f"{len(rollout.ids)} tokens and {len(pieces)} pieces of text in {rollout.problem.id!r}",
            allowed="one piece for every token, which make the text",
            do="generate it with rm.generate, which notes what each token writes",
        )
    return pieces


def _cut(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> Trace[TextSentence]:
    offsets = token_offsets(rollout, tokenizer)
    return _cut_at(rollout, offsets, marked=_ends_with_a_mark(rollout, tokenizer))


def _cut_at(rollout: Rollout, offsets: Sequence[CharSpan], *, marked: bool) -> Trace[TextSentence]:
    # of tokens that share a character the first one has it
    stops = [span.stop for span in offsets]
    words = [rollout.text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
    sentences = _sentences(rollout, offsets, marked=marked)
    if marked and sentences and sentences[-1].start == len(rollout.ids) - 1:
        sentences = (*sentences[:-1], replace(sentences[-1], kind=STOP))
    return Trace(rollout, sentences, tuple(words), separator="")


def _ends_with_a_mark(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the last token is an end of text and no word: a model may have several, of any name."""
    if not rollout.ids:
        return False
    last = rollout.ids[-1]
    special = last in tokenizer.added_tokens_decoder
    return last == tokenizer.eos_token_id or (rollout.stop == "eos" and special)


def _sentences(rollout: Rollout, offsets: Sequence[CharSpan], *, marked: bool) -> tuple[TextSentence, ...]:
    text, n = rollout.text, len(rollout.ids)
    firsts = _first_tokens(text, offsets[: n - marked])
    end = offsets[-1].start if marked else len(text)
    mark = len(text) - len(text[end:].lstrip())
    if mark < len(text):
        firsts.append((n - 1, mark))
    # one that turned out to be white space is none
    stops = [*(start for _, start in firsts[1:]), len(text)]
    firsts = [pair for pair, stop in zip(firsts, stops, strict=False) if text[pair[1] : stop].strip()]
    if not firsts:
        return ()
    sentences: list[TextSentence] = []
    for (first, start), (last, stop) in zip(firsts, [*firsts[1:], (n, len(text))], strict=True):
        visible = text[start:stop].strip()
        start = text.index(visible, start)
        chars = CharSpan(start, start + len(visible))
        first = first if sentences else 0  # what is written before the first visible character is its too
        sentences.append(TextSentence(OTHER, first, last, text[chars.start : chars.stop], chars))
    return tuple(sentences)


def _first_tokens(text: str, offsets: Sequence[CharSpan]) -> list[tuple[int, int]]:
    """Of each sentence, its first token and character, as they are known while the text is written."""
    growing, firsts, at = GrowingText(), list[tuple[int, int]](), 0
    for t, (_, stop) in enumerate(offsets):
        partial = (
            t + 1 < len(offsets) and offsets[t + 1].start < stop
        )  # the next token goes on in a character
        complete = stop - partial
        start = growing.append(text[at:complete], partial=partial)
        at = max(at, complete)
        if start is not None:
            firsts.append((t, start))
    return firsts
