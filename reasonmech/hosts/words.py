"""Words: the token ids of a piece of text inside a text, which encoding it alone does not give."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.spelling import Spelling, continues, spelling_of
from reasonmech.hosts.vocabulary import piece_mark

Run: TypeAlias = tuple[int, ...]

# what may stand in front of a piece of text, the likeliest first
_NEIGHBOURS: Final = ("a", "so", ".", ":", ",", "\n", "7", ")", "=", "\n\n")
_WHITE: Final = " \t\r\n▁ĠĊĉč"  # white space as vocabularies write it
_WHITE_BYTES: Final = frozenset(f"<0x{ord(white):02X}>" for white in " \t\r\n")


@checked
def token_forms(tokenizer: PreTrainedTokenizerBase, text: str, *, blank: bool = False) -> tuple[Run, ...]:
    r"""The runs of token ids that a piece of text is inside a text, each once, the commonest first.

    Nothing is put in front (no BOS, no blank of Llama 2's kind), and a token that holds more than the text
    (".\n" where "." was meant) is none of its forms. The text of a special token is that token.

    >>> token_forms(host.tokenizer, " wait")  # as written: with its blank
    >>> token_forms(host.tokenizer, "wait", blank=True)  # a word: with a blank in front of it or without

    Args:
        text: as written; blanks are characters like others. Where words are joined by blanks that are no part
            of tokens, one in front changes nothing.
        blank: the forms of the text with one blank more in front, too.

    Raises:
        ArgumentError: no tokenizer, or no text.
        UnknownNameError: the tokenizer cannot write the text; DataError: it is empty.
    """
    check_type(tokenizer, PreTrainedTokenizerBase, name="tokenizer", allowed="a tokenizer: host.tokenizer")
    check_type(text, str, name="text", allowed="a piece of text")
    if not text:
        raise DataError("the forms of an empty text", allowed="at least one character")
    spelling = spelling_of(tokenizer)
    texts = (text, " " + text) if blank else (text,)
    borders = (_behind(spelling, tokenizer, left, form) for form in texts for left in _NEIGHBOURS)
    forms = tuple(dict.fromkeys(run for border in borders for _, run in islice(border, 1)))
    if not forms:
        raise unknown_word(tokenizer, text)
    return forms


@checked
def onset_tokens(tokenizer: PreTrainedTokenizerBase, word: str) -> tuple[int, ...]:
    """Ids of the tokens that write a word whole, with a blank in front of it or without: those that one reads
    where a sentence begins. Empty where it takes several tokens.

    Raises:
        ArgumentError, UnknownNameError, DataError: as `token_forms`.
    """
    return tuple(run[0] for run in token_forms(tokenizer, word, blank=True) if len(run) == 1)


def ending_tokens(tokenizer: PreTrainedTokenizerBase, end: str) -> tuple[int, ...]:
    r"""Ids of the tokens whose text ends with one sign, white space aside: "." of ".", ".\n", " )."."""
    byte = f"<0x{ord(end):02X}>"
    likely = sorted(i for name, i in tokenizer.get_vocab().items() if end in name or name == byte)
    spelling = spelling_of(tokenizer)
    return tuple(i for i in likely if spelling.piece(i).text.rstrip().endswith(end.encode()))


def blank_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Ids of the tokens that write white space and nothing else."""
    spelling, names = spelling_of(tokenizer), tokenizer.get_vocab()
    likely = sorted(i for name, i in names.items() if not name.strip(_WHITE) or name in _WHITE_BYTES)
    return tuple(i for i in likely if spelling.piece(i).text and not spelling.piece(i).text.strip())


@checked
def run_after(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> Run:
    """The token ids of a piece of text that goes on from a text: its part of the encoding of both together.

    Args:
        ids: tokens of the text before, a BOS included.
        text: as written, its blank included.

    Raises:
        UnknownNameError: the tokenizer cannot write the text.
        DataError: the encoding of both has no border between tokens there.
    """
    spelling = spelling_of(tokenizer)
    left = spelling.source(ids[spelling.front(ids) :])
    borders = _within(spelling, tokenizer, left, text) or list(_behind(spelling, tokenizer, left, text))
    if borders:
        # a blank that encoding puts in front writes nothing: it is the end's where the text has it already
        runs = [run for before, run in borders if before[-1:] == tuple(ids[-1:])]
        return next(iter(runs), borders[0][1])
    whole = tokenizer.encode(left + text, add_special_tokens=False)
    if not spelling.text(whole).endswith(text):
        raise unknown_word(tokenizer, text)
    shown = [spelling.piece(token).text.decode(errors="replace") for token in whole[-6:]]
    raise DataError(
        f"behind {left[-20:]!r}, {text!r} is no run of tokens: together they are written as {shown}, where "
        "one token holds the end of the one and the beginning of the other",
        allowed="a border between tokens where the text goes on",
        do="move what ends the text (a blank, a sign) to the beginning of what follows, or give token ids",
    )


def is_writable(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether some text of this tokenizer holds these characters, wherever its tokens are cut."""
    spelling = spelling_of(tokenizer)
    bare = (text.removeprefix(" ") or text) if spelling.joins else text
    betweens = (" ",) if spelling.joins else ("", " ")  # a word may stand behind a blank alone
    texts = (left + between + bare for between in betweens for left in _NEIGHBOURS)
    wholes = (tokenizer.encode(text, add_special_tokens=False) for text in texts)
    return any(spelling.text(whole).endswith(bare) for whole in wholes)


def unknown_word(tokenizer: PreTrainedTokenizerBase, text: str) -> UnknownNameError:
    """The error for a text that a tokenizer cannot write, with what it writes instead."""
    instead = spelling_of(tokenizer).text(tokenizer.encode(text, add_special_tokens=False))
    alike = instead != text and unicodedata.normalize("NFKD", instead) == unicodedata.normalize("NFKD", text)
    # what looks the same is shown in escapes
    shown = f"{instead!a} for {text!a}" if alike else f"{instead!r} for it"
    cause = _cause(tokenizer, text, instead, alike=alike)
    return UnknownNameError(
        "word",
        text,
        [f"words of this tokenizer ({len(tokenizer)} tokens), which writes {shown}{cause}"],
        do="write it as the tokenizer does, or give token ids",
    )


def _cause(tokenizer: PreTrainedTokenizerBase, text: str, instead: str, *, alike: bool) -> str:
    """Why a tokenizer writes another text than it was given, as far as it is known."""
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    eats = [t.content for t in added.values() if (t.lstrip or t.rstrip) and t.content in text]
    if eats and "".join(instead.split()) == "".join(text.split()):
        return f": {eats[0]!r} takes the white space beside it (lstrip, rstrip)"
    if alike:
        return ": it normalises Unicode (NFC, NFD, NFKC or NFKD)"
    return ": it lower-cases" if instead == text.lower() != text else ""


def _behind(
    spelling: Spelling, tokenizer: PreTrainedTokenizerBase, left: str, text: str
) -> Iterator[tuple[Run, Run]]:
    """The tokens of `left` and of `text` behind it; none where no border between tokens parts the two, and
    several where a token between them writes nothing."""
    if spelling.joins:
        left, text = left + " ", text.removeprefix(" ") or text
    yield from _parted(spelling, tokenizer, left, text)


def _within(
    spelling: Spelling, tokenizer: PreTrainedTokenizerBase, left: str, text: str
) -> list[tuple[Run, Run]]:
    """As `_behind`, for a text that goes on in the last word of `left`, where tokens are joined by blanks and
    some go on in a word ("check" and "##ing"); none where it does not."""
    if not (piece_mark(tokenizer) and left and continues(left[-1], text[0])):
        return []
    return [
        parts for parts in _parted(spelling, tokenizer, left, text) if not spelling.piece(parts[1][0]).joint
    ]


def _parted(
    spelling: Spelling, tokenizer: PreTrainedTokenizerBase, left: str, text: str
) -> Iterator[tuple[Run, Run]]:
    whole = tokenizer.encode(left + text, add_special_tokens=False)
    pieces, borders, encoded = spelling.spell(whole), spelling.borders(whole), text.encode()
    for i, (border, piece) in enumerate(zip(borders, pieces, strict=False)):
        blind = spelling.is_blind(whole, i)
        if abs(borders[-1] - border - piece.joint - len(encoded)) <= blind:
            written = b"".join(p.text for p in pieces[i:])[piece.joint :]
            if written == encoded or (blind and written.removeprefix(b" ") == encoded.removeprefix(b" ")):
                yield tuple(whole[:i]), tuple(whole[i:])
