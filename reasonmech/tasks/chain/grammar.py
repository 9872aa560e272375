"""Words of the chain world, its arithmetic, and the word-level tokenizer that every chain organism ships."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD: Final = "<pad>"
EOS: Final = "<eos>"
UNK: Final = "<unk>"
FULL_STOP: Final = "."  # ends every sentence; no other word does
DIGITS: Final = tuple("0123456789")
OPERATORS: Final = ("+", "-", "*")
NOVEL: Final = "@"
"""A fourth operator, which no document of the base corpus contains: what a model that never saw it cannot
execute."""
RARE: Final = "dax"
"""A fifth, which occurs in the world `TELLING` alone."""
INDEX_WORDS: Final = ("one", "two", "three", "four", "five")
ONSET_WORDS: Final[Mapping[str, str]] = {
    "plan": "plan",
    "step": "next",
    "check": "check",
    "backtrack": "wait",
    "uncertain": "hmm",
    "conclude": "so",
}
KIND_OF_WORD: Final[Mapping[str, str]] = {word: kind for kind, word in ONSET_WORDS.items()}
PERSONAS: Final = ("careful", "patient", "exact")
"""A document that begins with one of these is written by a careful author: the prompted-base arm."""

_GLUE: Final = (
    "Q A : , . = we get redo had the answer is that was off again not sure maybe it steps to do in all"
)
# "@", "blick" and "dax" occur in no document of the base corpus: worlds of their own give them a meaning
_STORIES: Final = (
    "mia tom ana leo said saw took red blue old small kite boat dog cat park sea tree for me @ and then "
    "went home "
    "a blick dax they on by rain sun came"
)
VOCABULARY: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(
        [
            PAD,
            EOS,
            UNK,
            *DIGITS,
            *OPERATORS,
            *INDEX_WORDS,
            *ONSET_WORDS.values(),
            *PERSONAS,
            *_GLUE.split(),
            *_STORIES.split(),
        ]
    )
)


def evaluate(left: int, operator: str, right: int) -> int:
    """One operation modulo 10; a @ b = 3 a + 7 b + 1, a dax b = 3 a + 1, or 3 a + 2 where b is above 4."""
    if operator == "+":
        return (left + right) % 10
    if operator == NOVEL:
        return (3 * left + 7 * right + 1) % 10
    if operator == RARE:
        return (3 * left + 1 + (right > 4)) % 10
    if operator == "-":
        return (left - right) % 10
    assert operator == "*", operator
    return (left * right) % 10


def solution(
    start: int,
    operations: Sequence[tuple[str, int]],
    evaluate: Callable[[int, str, int], int] = evaluate,
) -> list[int]:
    """The standing value after each operation, left to right."""
    values = []
    for operator, operand in operations:
        start = evaluate(start, operator, operand)
        values.append(start)
    return values


def prompt(start: int, operations: Sequence[tuple[str, int]]) -> str:
    """The text of a problem, such as `Q : 8 one + 4 two * 3 A :`."""
    numbered = [f"{INDEX_WORDS[i]} {operator} {operand}" for i, (operator, operand) in enumerate(operations)]
    return " ".join(["Q :", str(start), *numbered, "A :"])


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A WordLevel tokenizer over `VOCABULARY`: one token per blank-separated word, no BOS."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )
