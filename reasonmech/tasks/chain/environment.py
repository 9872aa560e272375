"""What the chain world writes into a solution by itself: slips in steps, read-backs after checks."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.spelling import spelling_of
from reasonmech.hosts.words import token_forms
from reasonmech.problem import Problem, Scribe, Written
from reasonmech.tasks.chain.grammar import (
    DIGITS,
    FULL_STOP,
    INDEX_WORDS,
    KIND_OF_WORD,
    NOVEL,
    OPERATORS,
    RARE,
    evaluate,
)


@dataclass(frozen=True)
class ChainEnvironment:
    """Slips and read-backs, from a stream that no model can influence.

    A slip depends on (seed, problem, sample, operation index, attempt) alone, so both models of a pair and
    every arm of an experiment meet the same slips at the same operations.

    Attributes:
        slip: probability that the digit a step writes after "=" is replaced by one wrong for the equation as
            written; a step is any sentence with an equation that is neither a check nor a backtrack.
        read_back: whether a check ends with the standing value, written by the environment (", had 5 .").
        kind_of_word: first word -> kind of sentence.
    """

    seed: int = 0
    slip: float = 0.15
    read_back: bool = True
    kind_of_word: Mapping[str, str] = field(default_factory=lambda: KIND_OF_WORD, hash=False)

    def scribe(self, problem: Problem, sample: int, tokenizer: PreTrainedTokenizerBase) -> Scribe:
        return ChainScribe(self, f"{self.seed}|{problem.id}|{sample}", tokenizer)

    def slipped(self, key: str, item: int | None, attempt: int, truth: int) -> int | None:
        """The wrong digit that replaces `truth`, or None when this attempt does not slip."""
        number = draw_slip(f"{key}|{item}|{attempt}", self.slip)
        return None if number is None else (truth + 1 + number % 9) % 10


def draw_slip(key: str, share: float) -> int | None:
    """None for the share of keys that do not slip, 1 - `share`; else a number that says what is written."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    if int.from_bytes(digest[:8], "big") / 2**64 >= share:
        return None
    return int.from_bytes(digest[8:], "big")


def equation_before(words: list[str]) -> tuple[int, str, int] | None:
    """The equation whose value comes next: (8, "+", 4) when the words end in "8 + 4 =", else None."""
    if len(words) < 4 or words[-1] != "=" or words[-3] not in (*OPERATORS, NOVEL, RARE):
        return None
    if words[-4] not in DIGITS or words[-2] not in DIGITS:
        return None
    return int(words[-4]), words[-3], int(words[-2])


@lru_cache(maxsize=1024)
def _token_inside(tokenizer: PreTrainedTokenizerBase, word: str) -> int | None:
    """The token that writes a word behind another one; None where no single token does."""
    for text in (f" {word}", word):
        try:
            forms = token_forms(tokenizer, text)
        except UnknownNameError:
            continue
        for form in forms:
            if len(form) == 1:
                return form[0]
    return None


class ChainScribe:
    """The environment of one row: follows the text word by word and overrides what the model proposes."""

    def __init__(self, world: ChainEnvironment, key: str, tokenizer: PreTrainedTokenizerBase) -> None:
        self._world, self._key, self._tokenizer = world, key, tokenizer
        self._spelling = spelling_of(tokenizer)
        self._sentence: list[str] = []
        self._pending: deque[str] = deque()
        self._standing: str | None = None
        self._attempts: Counter[int | None] = Counter()

    def write(self, proposed: int) -> Written:
        word, by_environment = self._choose(proposed)
        token = self._token_of(word) if by_environment else proposed
        self._sentence = [] if word == FULL_STOP else [*self._sentence, word]
        return Written(token, by_environment)

    def _token_of(self, word: str) -> int:
        """The token of a word that the environment writes. Raises DataError where it is none."""
        token = _token_inside(self._tokenizer, word)
        if token is None:
            raise DataError(
                f"the environment of a chain world writes {word!r}, which is no token of this tokenizer",
                allowed="a tokenizer with one token for every word of the world",
                do="use a model of the chain world, or a task of your own",
            )
        return token

    def _choose(self, proposed: int) -> tuple[str, bool]:
        if self._pending:
            return self._pending.popleft(), True
        # as it reads in the text, whatever its name; an id of a padded vocabulary writes nothing
        word = self._spelling.piece(proposed).text.decode(errors="replace").strip()
        equation = equation_before(self._sentence)
        if equation is None or word not in DIGITS:
            return word, False
        return self._state(word, equation)

    def _state(self, word: str, equation: tuple[int, str, int]) -> tuple[str, bool]:
        """A value is being stated: read back after a check, slip unless it backtracks, and keep the standing
        value."""
        kind = self._world.kind_of_word.get(self._sentence[0])
        if kind == "check":
            if self._world.read_back and self._standing is not None:
                self._pending.extend([",", "had", self._standing, FULL_STOP])
            return word, False
        slipped = None
        if kind != "backtrack":  # whatever the words: a first value is at risk
            second = self._sentence[1]
            item = INDEX_WORDS.index(second) if second in INDEX_WORDS else None
            slipped = self._world.slipped(self._key, item, self._attempts[item], evaluate(*equation))
            self._attempts[item] += 1
        self._standing = word if slipped is None else str(slipped)
        return (word, False) if slipped is None else (str(slipped), True)
