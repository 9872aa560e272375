"""How problems and values are written in the letters world, its arithmetic, and its worlds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from reasonmech.tasks.chain.grammar import solution as standing_solution
from reasonmech.tasks.chain.world import World

LETTERS: Final = "abcdefgh"
DIGITS: Final = tuple("0123456789")
SPOKEN: Final = MappingProxyType({"+": "plus", "-": "minus"})
PERSONAS: Final = ("Be careful.", "Take care.", "Be exact.")
"""A document that begins with one of these is written by a careful author: the prompted-base arm."""

_EQUATION: Final = r"(?<!\d)(\d+) ([+-]) (\d+) = ?"
EQUATION_AHEAD: Final = re.compile(_EQUATION + r"$")
"""At the end of an unfinished sentence: the value of an equation comes next."""
EVALUATED: Final = re.compile(_EQUATION + r"(\d+)")

WORLD: Final = World(
    "letters",
    operators=tuple(SPOKEN),
    onset_words=MappingProxyType({"step": "Now", "check": "Check", "backtrack": "Wait", "conclude": "So"}),
)
FORMS: Final = World(
    "letters-forms",
    operators=tuple(SPOKEN),
    onset_words=MappingProxyType(
        {
            "step": ("Now", "Next", "Then"),
            "check": ("Check", "Again", "Verify"),
            "backtrack": ("Wait", "No", "Actually"),
            "conclude": ("So", "Thus", "Hence"),
        }
    ),
)
"""Three first words for every kind of sentence: which of them is said is no decision about the kind."""

WORLDS: Final = (WORLD, FORMS)


def evaluate(left: int, operator: str, right: int) -> int:
    """One operation on whole numbers."""
    return left + right if operator == "+" else left - right


def solution(start: int, operations: Sequence[tuple[str, int]]) -> list[int]:
    """The value of each letter after the first one."""
    return standing_solution(start, operations, evaluate)


def prompt(start: int, operations: Sequence[tuple[str, int]]) -> str:
    """The text of a problem: two lines, the second of which is "A:"."""
    facts = [f"{LETTERS[0]} is {start}."]
    for before, letter, (operator, operand) in zip(LETTERS, LETTERS[1:], operations, strict=False):
        facts.append(f"{letter} is {before} {SPOKEN[operator]} {operand}.")
    return f"Q: {' '.join(facts)} What is {LETTERS[len(operations)]}?\nA:"


def allowed_values(operations: Sequence[tuple[str, int]]) -> list[int]:
    """The values, of 0 to 9, from which these operations lead to none outside 0 to 9."""
    return [v for v in range(10) if all(0 <= value <= 9 for value in solution(v, operations))]


def read_back(value: str) -> str:
    """What the environment writes behind the value of a check."""
    return f", I had {value}."
