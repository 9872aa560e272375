"""Spelling: the bytes that each token writes inside a text, from the ids alone and left to right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple, final

from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.vocabulary import decode

_BYTE: Final = re.compile("<0x([0-9A-Fa-f]{2})>")
_BLANKS: Final = (" ", "▁", "Ġ")  # how vocabularies write a blank that is part of a token
_LOST: Final = "\ufffd"


class TokenText(NamedTuple):
    """What one token writes.

    Attributes:
        text: bytes of UTF-8, possibly a part of a character; empty for an id that no text encodes to.
        joint: 1 where the first byte is a blank that decoding puts between tokens, and no part of this one.
    """

    text: bytes
    joint: int = 0


@final
class Spelling:
    """What the tokens of one tokenizer write.

    Texts are what was encoded: a blank that the tokenizer puts in front of every text (Llama 2, Mistral) is
    no part of them, nor is one that decoding puts in front of a text's first token. All is bytes, because a
    token may hold a part of a character, and left to right: a longer text must not change what was written.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Read what each token writes when it is first asked for; see `spelling_of`."""
        self.tokenizer, self._pieces = tokenizer, dict[int, TokenText]()
        added: dict[int, Any] = tokenizer.added_tokens_decoder
        # all that is marked as special: nothing that a text says begins or ends inside one
        self.special = frozenset(tokenizer.all_special_ids) | {i for i, t in added.items() if t.special}
        self._anchor = self._word()
        self._front = decode(tokenizer, self._anchor)
        alone = tokenizer.encode(self._front.strip(), add_special_tokens=False)
        first = self.piece(alone[0]) if alone else TokenText(b"")
        self.joins = first.joint == 1  # decoding puts blanks between tokens: no token has one
        self.prefixes = first.text[:1] == b" " and not self.joins  # encoding puts a blank in front of a text
        self._prefixed = self._begins_behind() if self.prefixes else frozenset()

    def _begins_behind(self) -> frozenset[int]:
        """Special tokens behind which encoding puts a blank, as in front of a text: a BOS, or all of them."""
        word = self._front.strip()
        encode: Any = self.tokenizer.encode
        bos = frozenset(encode(word)[:1]) & self.special
        for token in sorted(self.special):
            ids = encode(word + decode(self.tokenizer, [token]) + word, add_special_tokens=False)
            if token in ids[:-1]:
                behind = self.piece(ids[ids.index(token) + 1])
                return self.special if behind.text[:1] == b" " else bos
        return bos

    def _word(self) -> list[int]:
        """An ordinary token that writes ASCII letters: what another one adds behind it is read off."""
        for token in sorted(set(self.tokenizer.get_vocab().values()) - self.special):
            text = decode(self.tokenizer, [token]).strip()
            if text.isascii() and text.isalnum() and not _BYTE.fullmatch(self._name(token) or ""):
                return [token]
        return []

    def _name(self, token: int) -> str | None:
        # unknown ids are refused by some tokenizers, and have no name in others
        if not 0 <= token < len(self.tokenizer):
            return None
        name: Any = self.tokenizer.convert_ids_to_tokens(token)
        return name

    def piece(self, token: int) -> TokenText:
        """What a token writes behind another one."""
        if token not in self._pieces:
            self._pieces[token] = self._read(token)
        return self._pieces[token]

    def is_byte(self, token: int) -> bool:
        """Whether the token is one byte of a vocabulary that falls back to bytes (Llama 2's, Gemma's)."""
        return token not in self.special and _BYTE.fullmatch(self._name(token) or "") is not None

    def _read(self, token: int) -> TokenText:
        name = self._name(token)
        if name is None:
            return TokenText(b"")
        if token not in self.special and (byte := _BYTE.fullmatch(name)):
            return TokenText(bytes([int(byte[1], 16)]))
        written = decode(self.tokenizer, [*self._anchor, token]).removeprefix(self._front)
        if _LOST in written and all(character in _BYTE_LEVEL for character in name):
            return TokenText(bytes(_BYTE_LEVEL[character] for character in name))
        return TokenText(written.encode(), int(written[:1] == " " and not name.startswith(_BLANKS)))

    def spell(self, ids: Sequence[int]) -> list[TokenText]:
        """What each token of a text writes; `ids` begin where the text does."""
        pieces = [self.piece(int(token)) for token in ids]
        for i, piece in enumerate(pieces):
            starts = i == 0 or int(ids[i - 1]) in self._prefixed
            if starts and (piece.joint or (self.prefixes and piece.text[:1] == b" ")):
                pieces[i] = TokenText(piece.text[1:])
        return pieces

    def part(self, ids: Sequence[int], start: int, stop: int) -> list[TokenText]:
        """`spell(ids)[start:stop]`, without reading the rest: what the tokens [start, stop) write."""
        before = 1 if start else 0
        return self.spell(ids[start - before : stop])[before:]

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, without the blank that encoding puts in front; half a character is "�"."""
        return b"".join(piece.text for piece in self.spell(ids)).decode(errors="replace")

    def borders(self, ids: Sequence[int]) -> list[int]:
        """Bytes written before each token, and by all of them [token + 1]."""
        return list(accumulate((len(piece.text) for piece in self.spell(ids)), initial=0))


def continues(left: str, right: str) -> bool:
    """Whether there is no border of words between two characters: both are letters of a script that parts
    words by blanks, or both digits, or the right one is an accent of the left one."""
    letters = left.lower() != left.upper() and right.lower() != right.upper()
    return letters or (left.isdigit() and right.isdigit()) or bool(unicodedata.combining(right))


def _byte_level() -> dict[str, int]:
    """The characters with which byte-level vocabularies (GPT-2's kind) write the 256 bytes."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + n): b for n, b in enumerate(hidden)}


_BYTE_LEVEL: Final = _byte_level()


def spelling_of(tokenizer: PreTrainedTokenizerBase) -> Spelling:
    """The spelling of a tokenizer, read once; again where tokens were added to it since."""
    return _spelling(tokenizer, len(tokenizer))


@lru_cache(maxsize=8)
def _spelling(tokenizer: PreTrainedTokenizerBase, size: int) -> Spelling:
    return Spelling(tokenizer)
