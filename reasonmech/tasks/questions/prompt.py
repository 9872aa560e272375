"""The plain prompt of a question, and where a text goes on to a question of its own."""

from __future__ import annotations

from typing import Final

QUESTION: Final = "Question:"
PLAIN: Final = QUESTION + " {question}\nAnswer:"
NEXT_QUESTION: Final = (
    f"\n{QUESTION}"  # a base model goes on so; a stop string for it, and no part of an answer
)


def plain_prompt(question: str) -> str:
    """What a model is given where nobody says how it is to be prompted."""
    return PLAIN.replace("{question}", question.strip())
