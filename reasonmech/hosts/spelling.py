"""Spelling: the bytes that each token writes inside a text, from the ids alone and left to right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from functools import cached_property, lru_cache
from itertools import accumulate, takewhile
from typing import Any, Final, NamedTuple, final

from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.vocabulary import affixes, decode, reading_of

_BYTE: Final = re.compile("<0x([0-9A-Fa-f]{2})>")
_BLANKS: Final = (" ", "▁", "Ġ")  # how vocabularies write a blank that is part of a token
_LOST: Final = "\ufffd"
_RARE: Final = ("\ua66e", "\U00010400", "\u4f60", "\u2603")  # of which a vocabulary without bytes lacks one
_JOINERS: Final = "\u200c\u200d"  # without width, inside words of Persian, Hindi, ...
# names of characters of scripts that do not part words by blanks
_WITHOUT_BLANKS: Final = re.compile(
    "(CJK|IDEOGRAPHIC|HIRAGANA|((COMBINING|HALFWIDTH) )?KATAKANA|BOPOMOFO|YI |TANGUT|NUSHU|THAI|LAO|KHMER"
    "|MYANMAR|TIBETAN|TAI |NEW TAI|JAVANESE|BALINESE)"
)
_HANGUL: Final = re.compile("HANGUL (SYLLABLE|CHOSEONG|JUNGSEONG|JONGSEONG)")
_HANGUL_BEGINS: Final = re.compile("HANGUL (SYLLABLE|CHOSEONG)")


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
        ids = set(tokenizer.get_vocab().values())
        self._largest = max(ids, default=-1)  # a vocabulary with holes has larger ids than words
        self._anchor = self._word(ids - self.special)
        self._front = decode(tokenizer, self._anchor)
        alone = tokenizer.encode(self._front.strip(), add_special_tokens=False)
        first = self.piece(alone[0]) if alone else TokenText(b"")
        self.joins = first.joint == 1  # decoding puts blanks between tokens: no token has one
        self.prefixes = first.text[:1] == b" " and not self.joins  # encoding puts a blank in front of a text
        self._fronts = frozenset(affixes(tokenizer)[0])
        self._prefixed, self._blind = self._read_borders(added)

    def _read_borders(self, added: dict[int, Any]) -> tuple[frozenset[int], frozenset[int]]:
        """Added tokens behind which encoding puts a blank, as in front of a text; and those behind which it
        makes no difference whether a text has one: what a text has there can't be told from the ids."""
        word = self._front.strip()
        prefixed, blind = set[int](), set[int]()
        for token in sorted(i for i, t in added.items() if self.prefixes or t.rstrip):
            tag = word + decode(self.tokenizer, [token])
            behind, behind_blank = (self._behind(token, tag + text) for text in (word, " " + word))
            if not behind:
                continue
            if behind == behind_blank:
                blind.add(token)
            elif self.piece(behind[0]).text[:1] == b" ":
                prefixed.add(token)
        return frozenset(prefixed), frozenset(blind)

    def _behind(self, token: int, text: str) -> list[int]:
        """The tokens behind the first `token` of an encoded text."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids[ids.index(token) + 1 :] if token in ids else []

    def _word(self, ordinary: Set[int]) -> list[int]:
        """An ordinary token that writes ASCII letters: what another one adds behind it is read off."""
        for token in sorted(ordinary):
            text = decode(self.tokenizer, [token]).strip()
            if text.isascii() and text.isalnum() and not _BYTE.fullmatch(self._name(token) or ""):
                return [token]
        return []

    def _name(self, token: int) -> str | None:
        # unknown ids are refused by some tokenizers, and have no name in others
        if not 0 <= token <= self._largest:
            return None
        name: Any = self.tokenizer.convert_ids_to_tokens(token)
        return name

    def piece(self, token: int) -> TokenText:
        """What a token writes behind another one."""
        if token not in self._pieces:
            self._pieces[token] = self._read(token)
        return self._pieces[token]

    def is_token(self, token: int) -> bool:
        """Whether the vocabulary has a token of this id; a model whose rows are padded may write others."""
        return self._name(token) is not None

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

    def front(self, ids: Sequence[int]) -> int:
        """How many tokens at the beginning of a text are of those that encoding puts in front of it."""
        return sum(1 for _ in takewhile(lambda token: int(token) in self._fronts, ids))

    def is_blind(self, ids: Sequence[int], at: int) -> bool:
        """Whether a text with a blank in front of what token `at` writes and one without have the same ids.

        So it is behind some added tokens; there the blank that the token writes is said to be the text's.
        """
        return at > 0 and int(ids[at - 1]) in self._blind

    def spell(self, ids: Sequence[int]) -> list[TokenText]:
        """What each token of a text writes; `ids` begin where the text does."""
        return self.part(ids, 0, len(ids))

    def part(self, ids: Sequence[int], start: int, stop: int) -> list[TokenText]:
        """`spell(ids)[start:stop]`, without reading the rest: what the tokens [start, stop) write."""
        pieces = [self.piece(int(token)) for token in ids[start:stop]]
        front = self.front(ids)
        for i, piece in enumerate(pieces, start):
            begins = i == 0 or (self.prefixes and i == front) or int(ids[i - 1]) in self._prefixed
            if begins and (piece.joint or (self.prefixes and piece.text[:1] == b" ")):
                pieces[i - start] = TokenText(piece.text[1:])
        return pieces

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, without the blank that encoding puts in front; half a character is "�"."""
        return b"".join(piece.text for piece in self.spell(ids)).decode(errors="replace")

    def source(self, ids: Sequence[int]) -> str:
        """A text that has these tokens when it is encoded: `text`, with a character that the vocabulary lacks
        for each unk token. Its name is a special token, behind which encoding may put a blank."""
        pieces, unk = self.spell(ids), self.tokenizer.unk_token_id
        unknown = self._unknown.encode()
        written = (
            unknown if unknown and int(token) == unk else piece.text
            for token, piece in zip(ids, pieces, strict=True)
        )
        return b"".join(written).decode(errors="replace")

    @cached_property
    def _unknown(self) -> str:
        """A character that encoding writes as the unk token; "" where it has tokens for any text."""
        unk, word = self.tokenizer.unk_token_id, self._front.strip()
        for sign in _RARE:
            if unk is not None and unk in self.tokenizer.encode(word + sign, add_special_tokens=False):
                return sign
        return ""

    def borders(self, ids: Sequence[int]) -> list[int]:
        """Bytes written before each token, and by all of them [token + 1]."""
        return list(accumulate((len(piece.text) for piece in self.spell(ids)), initial=0))


def continues(left: str, right: str) -> bool:
    """Whether there is no border of words between two characters: both are letters of scripts that part words
    by blanks, or both numbers, or the right one is a mark (accent, vowel sign) of the left one."""
    kind = word_kind(right)
    return kind == "mark" or kind == "letter" == _without_mark(left) or kind == "number" == word_kind(left)


def ends_before(last: str, behind: str) -> bool:
    """Whether a word that ends with one character ends in front of another.

    Korean writes particles and endings behind a word without a blank: it ends in front of each syllable, but
    not in front of the rest of its own (a vowel or final consonant that is written apart).
    """
    if _HANGUL.match(unicodedata.name(last, "")) and _HANGUL_BEGINS.match(unicodedata.name(behind, "")):
        return True
    return not continues(last, behind)


@lru_cache(maxsize=4096)
def word_kind(character: str) -> str:
    """What a character is of a word: "letter", "number", "mark", or "" where none goes on in it.

    By Unicode's categories, so letters need no case (Hebrew, Arabic, Devanagari). Letters of scripts that are
    written without blanks (Chinese, Japanese, Thai, ...) go on in no word, for nothing tells where one ends.
    """
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if character in _JOINERS:
        return "letter"
    if category[0] == "M":
        return "" if name.startswith("VARIATION SELECTOR") else "mark"
    if category[0] in "LN" and not _WITHOUT_BLANKS.match(name):
        return "number" if category[0] == "N" else "letter"
    return ""


def _without_mark(character: str) -> str:
    """`word_kind` of the letter that a mark belongs to, where its script parts words by blanks."""
    kind = word_kind(character)
    if kind != "mark":
        return kind
    return "" if _WITHOUT_BLANKS.match(unicodedata.name(character, "")) else "letter"


def _byte_level() -> dict[str, int]:
    """The characters with which byte-level vocabularies (GPT-2's kind) write the 256 bytes."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + n): b for n, b in enumerate(hidden)}


_BYTE_LEVEL: Final = _byte_level()


def spelling_of(tokenizer: PreTrainedTokenizerBase) -> Spelling:
    """The spelling of a tokenizer, read once; again where it was changed since (`reading_of`)."""
    return _spelling(tokenizer, reading_of(tokenizer))


@lru_cache(maxsize=8)
def _spelling(tokenizer: PreTrainedTokenizerBase, reading: str) -> Spelling:
    return Spelling(tokenizer)
