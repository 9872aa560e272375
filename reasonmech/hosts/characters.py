"""Characters of a decoded text, token by token, where one is spread over several tokens too."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, compress, groupby, pairwise, takewhile
from typing import Final, TypeAlias

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reasonmech.errors import DataError
from reasonmech.hosts.spelling import spelling_of
from reasonmech.hosts.vocabulary import decode

CharSpans: TypeAlias = list[tuple[int, int]]

_LOST: Final = "\ufffd"  # what decoding writes for bytes that make no character


def character_spans(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> CharSpans:
    """Characters [start, stop) of a decoded text that each token wrote, wholly or in part.

    Tokens that share a character have it both. Starts and stops never fall, and the spans cover the text; a
    token that wrote nothing has an empty one, or that of the character in whose middle it stands.

    Args:
        text: `ids` decoded, special tokens included, spacing untouched. Encoding it again would give spans,
            too, but of other tokens: a model need not write those that a tokenizer would.

    Raises:
        DataError: the tokens do not decode to this text.
    """
    written, spans = _spell(tokenizer, ids)
    if written != text and written[:1] == " " and written[1:] == text:
        # decoding drops a blank in front of a text: Llama 2's kind, and tokenizers that join words by blanks
        return [(max(start - 1, 0), max(stop - 1, 0)) for start, stop in spans]
    if written == text:
        return spans
    streamed = _stream(tokenizer, ids, text)
    if streamed is None:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(written, text, strict=False))
        at = sum(1 for _ in same)
        raise DataError(
            f"its tokens go on with {written[at : at + 20]!r} at character {at}, its text with "
            f"{text[at : at + 20]!r}",
            allowed="a text that is its tokens decoded, special tokens included",
            do="use the tokenizer that the text was written with",
        )
    return streamed


def token_pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text, blanks in front included: joined, they are the text as it is decoded.

    A character that is spread over several tokens is the first one's; those that hold the rest add nothing.
    """
    ids = [int(token) for token in ids]
    text = decode(tokenizer, ids)
    stops = [stop for _, stop in character_spans(tokenizer, ids, text)]
    return [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def rollout_pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, ...]:
    """`token_pieces`, or none where blanks between tokens are no part of them: words are parted by those, as
    long as every token is one. Rows that a vocabulary is padded with may be written, too, and are none."""
    spelling = spelling_of(tokenizer)
    if spelling.joins and all(spelling.is_token(int(token)) for token in ids):
        return ()
    return tuple(token_pieces(tokenizer, ids))


def token_name(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """What one token writes, a part of a character as its bytes ("<0xE4>"); "[id 130]" for nothing."""
    piece, written = spelling_of(tokenizer).piece(token), ""
    text = piece.text[piece.joint :]
    while text:
        try:
            return written + text.decode()
        except UnicodeDecodeError as error:
            lost = "".join(f"<0x{byte:02X}>" for byte in text[error.start : error.end])
            written, text = written + text[: error.start].decode() + lost, text[error.end :]
    return written or f"[id {token}]"


def _spell(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, CharSpans]:
    """The text that decoding makes of the tokens, and the characters of each."""
    spelling, written, spans = spelling_of(tokenizer), "", list[tuple[int, int]]()
    # an id of no token is not there for decoding: bytes on both sides of it may be one character
    is_token = [spelling.is_token(int(token)) for token in ids]
    for is_byte, run in groupby(map(int, compress(ids, is_token)), key=spelling.is_byte):
        texts = [spelling.piece(token).text for token in run]
        part, part_spans = _characters(texts, one_by_one=is_byte)
        spans += [(len(written) + start, len(written) + stop) for start, stop in part_spans]
        written += part
    return written, spans if all(is_token) else _with_gaps(spans, is_token)


def _with_gaps(spans: CharSpans, is_token: Sequence[bool]) -> CharSpans:
    """The spans of all ids, from those of tokens: others wrote nothing, or stand in the middle of a
    character."""
    filled: CharSpans = []
    rest = iter(spans)
    following = next(rest, None)
    for known in is_token:
        if known:
            assert following is not None, "a span for each token"
            filled.append(following)
            following = next(rest, None)
        else:
            stop = filled[-1][1] if filled else 0
            filled.append((stop if following is None else min(stop, following[0]), stop))
    return filled


def _characters(texts: Sequence[bytes], *, one_by_one: bool) -> tuple[str, CharSpans]:
    """Characters of bytes that are decoded together.

    Args:
        one_by_one: where they make no text, each token is one lost character (tokens of one byte: Llama 2's
            kind); otherwise each sequence that makes none is one.
    """
    together, written = b"".join(texts), ""
    begins: list[int] = []  # byte at which each character begins
    at = 0
    while at < len(together):
        try:
            valid, lost = together[at:].decode(), 0
        except UnicodeDecodeError as error:
            if one_by_one:
                return _LOST * len(texts), [(i, i + 1) for i in range(len(texts))]
            valid, lost = together[at : at + error.start].decode(), error.end - error.start
        sizes = (len(character.encode()) for character in valid)
        begins += list(accumulate(sizes, initial=at))[: len(valid)]
        at += len(valid.encode())
        if lost:
            begins.append(at)
        written, at = written + valid + _LOST * bool(lost), at + lost
    borders = list(accumulate(map(len, texts), initial=0))
    return written, [_span(begins, start, stop, len(together)) for start, stop in pairwise(borders)]


def _span(begins: Sequence[int], start: int, stop: int, end: int) -> tuple[int, int]:
    """Characters of the bytes [start, stop), where each begins at a byte of `begins` and all end at `end`."""
    if start < stop:
        return bisect_right(begins, start) - 1, bisect_left(begins, stop)
    at = bisect_left(begins, start)
    between = start == end or begins[at : at + 1] == [start]
    return (at, at) if between else (at - 1, at)


def _stream(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> CharSpans | None:
    """The spans by decoding step by step, for a decoder whose tokens do not say alone what they write."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return None
    backend, stream = tokenizer.backend_tokenizer, DecodeStream(skip_special_tokens=False)
    spans: CharSpans = []
    at = waiting = 0  # `waiting` tokens have written only a part of the character at `at`
    for token in ids:
        piece = stream.step(backend, int(token))
        if piece is None:
            waiting += 1
            continue
        if not text.startswith(piece, at):
            return None
        spans += [(at, at + 1 if piece else at)] * waiting
        spans.append((at, at + len(piece)))
        at, waiting = at + len(piece), 0
    if not waiting and at != len(text):
        return None
    return spans + [(at, len(text))] * waiting
