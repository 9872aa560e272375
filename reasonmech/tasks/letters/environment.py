"""What the letters world writes into a solution by itself: slips in steps, read-backs after checks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

from transformers import PreTrainedTokenizerBase

from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.spelling import spelling_of
from reasonmech.hosts.words import Run, token_forms
from reasonmech.problem import Problem, Scribe, Written
from reasonmech.tasks.chain.environment import draw_slip
from reasonmech.tasks.letters.grammar import (
    DIGITS,
    EQUATION_AHEAD,
    LETTERS,
    WORLD,
    allowed_values,
    evaluate,
    read_back,
)


@dataclass(frozen=True)
class LettersEnvironment:
    """Slips and read-backs, from a stream that no model can influence.

    A slip depends on (seed, problem, sample, letter, attempt) alone, so both models of a pair and every arm
    of an experiment meet the same slips at the same letters.

    Attributes:
        slip: probability that the digit a step writes after "=" is replaced by one wrong for the equation as
            written, from which the problem's later operations stay within 0 to 9; a step is any sentence with
            an equation that is neither a check nor a backtrack.
        read_back: whether a check ends with the standing value, written by the environment (", I had 5.").
        kind_of_word: first word -> kind of sentence.
    """

    seed: int = 0
    slip: float = WORLD.slip
    read_back: bool = WORLD.read_back
    kind_of_word: Mapping[str, str] = field(default_factory=lambda: WORLD.kind_of_word, hash=False)

    def scribe(self, problem: Problem, sample: int, tokenizer: PreTrainedTokenizerBase) -> Scribe:
        """The environment of one row.

        Raises:
            DataError: the tokenizer has no single token for a digit, or cannot write a read-back.
        """
        return LettersScribe(self, problem, f"{self.seed}|{problem.id}|{sample}", digit_tokens(tokenizer))

    def slipped(self, key: str, attempt: int, candidates: Sequence[int]) -> int | None:
        """The candidate that is written instead of the right value; None when this attempt does not slip."""
        number = draw_slip(f"{key}|{attempt}", self.slip)
        return candidates[number % len(candidates)] if candidates and number is not None else None


@final
@dataclass(frozen=True)
class DigitTokens:
    """The tokens of one tokenizer that the environment reads and writes.

    Attributes:
        text: token -> what it writes, for every token that was asked for.
        digits: token -> (what stands in front of the digit that it writes, the digit).
        written: the same, the other way round.
        read_backs: digit -> the tokens of its read-back.
    """

    tokenizer: PreTrainedTokenizerBase
    text: dict[int, str]
    digits: Mapping[int, tuple[str, str]]
    written: Mapping[tuple[str, str], int]
    read_backs: Mapping[str, Run]

    def text_of(self, token: int) -> str:
        if token not in self.text:
            self.text[token] = spelling_of(self.tokenizer).piece(token).text.decode(errors="replace")
        return self.text[token]


@lru_cache(maxsize=8)
def digit_tokens(tokenizer: PreTrainedTokenizerBase) -> DigitTokens:
    """The tokens that write digits. Raises DataError where a digit is no single token of this tokenizer."""
    spelling = spelling_of(tokenizer)
    digits: dict[int, tuple[str, str]] = {}
    for digit in DIGITS:
        for run in _forms(tokenizer, digit, blank=True):
            text = spelling.piece(run[0]).text.decode()
            if len(run) == 1 and text.strip() == digit:
                digits[run[0]] = (text[: -len(digit)], digit)
    written = {form: token for token, form in digits.items()}
    heads = {head for head, _ in written}
    partial = [digit for digit in DIGITS if any((head, digit) not in written for head in heads) or not heads]
    if partial or spelling.joins:
        cause = f"has no single token for the digits {', '.join(partial)}"
        raise DataError(
            f"the tokenizer {cause if partial else 'puts blanks between all tokens when it decodes'}",
            allowed="one token for every digit, and sentences such as 'Check: 4 + 3 = 7, I had 7.'",
            do="use a tokenizer whose digits are single tokens; word-level models have the task 'chain'",
        )
    read_backs = {digit: _forms(tokenizer, read_back(digit))[0] for digit in DIGITS}
    return DigitTokens(tokenizer, {}, digits, written, read_backs)


def _forms(tokenizer: PreTrainedTokenizerBase, text: str, *, blank: bool = False) -> tuple[Run, ...]:
    try:
        return token_forms(tokenizer, text, blank=blank)
    except UnknownNameError as error:
        raise DataError(
            f"the environment of the letters world writes {text!r}, which this tokenizer cannot",
            allowed="a tokenizer with digits, signs and the words of a read-back",
            do="use a model of English text; word-level models have the task 'chain'",
        ) from error


@final
class LettersScribe:
    """The environment of one row: follows the text token by token and overrides what the model proposes."""

    def __init__(self, world: LettersEnvironment, problem: Problem, key: str, tokens: DigitTokens) -> None:
        self._world, self._problem, self._key, self._tokens = world, problem, key, tokens
        self._sentence = ""
        self._pending: deque[int] = deque()
        self._standing: str | None = None
        self._attempts: Counter[int | None] = Counter()

    def write(self, proposed: int) -> Written:
        token, by_environment = proposed, False
        if self._pending:
            token, by_environment = self._pending.popleft(), True
        elif proposed in self._tokens.digits and (equation := EQUATION_AHEAD.search(self._sentence)):
            left, operator, right = equation.groups()
            token, by_environment = self._state(proposed, evaluate(int(left), operator, int(right)))
        text = self._tokens.text_of(token)
        self._sentence = "" if text.rstrip().endswith(".") else self._sentence + text
        return Written(token, by_environment)

    def _state(self, proposed: int, truth: int) -> tuple[int, bool]:
        """A value is being stated: read back after a check, slip unless it backtracks, and keep the standing
        value."""
        head, digit = self._tokens.digits[proposed]
        words = self._sentence.split()
        kind = self._world.kind_of_word.get(words[0].rstrip(":,"))
        if kind == "check":
            if self._world.read_back and self._standing is not None:
                self._pending.extend(self._tokens.read_backs[self._standing])
            return proposed, False
        slipped = None
        if kind != "backtrack":  # whatever the words: a first value is at risk
            item = item_of(words)
            later = self._problem.data["operations"][(0 if item is None else item) + 1 :]
            candidates = [v for v in allowed_values([(o, n) for o, n in later]) if v != truth]
            slipped = self._world.slipped(f"{self._key}|{item}", self._attempts[item], candidates)
            self._attempts[item] += 1
        self._standing = digit if slipped is None else str(slipped)
        return (proposed, False) if slipped is None else (self._tokens.written[head, str(slipped)], True)


def item_of(words: Sequence[str]) -> int | None:
    """Index of the operation that a sentence such as "Now b is ..." works on; None where it names none."""
    letter = words[1] if len(words) > 2 and words[2] == "is" else ""
    return LETTERS.index(letter) - 1 if len(letter) == 1 and letter in LETTERS[1:] else None
