"""smol-prompted: the worked examples of its prompts are right, and are what either model reads."""

from __future__ import annotations

import re
from typing import Any

import pytest

import reasonmech as rm
from reasonmech.hosts import pair_config
from reasonmech.tasks.letters.grammar import EVALUATED, SPOKEN, evaluate, prompt, solution
from tests.layouts import layout

SIGNS = {word: sign for sign, word in SPOKEN.items()}
PROMPTS = pair_config("smol-prompted").prompts


def read_question(text: str) -> tuple[int, list[tuple[str, int]]]:
    start = int(re.findall(r"a is (\d)\.", text)[0])
    operations = re.findall(r"is [a-h] (plus|minus) (\d)\.", text)
    return start, [(SIGNS[word], int(operand)) for word, operand in operations]


@pytest.mark.parametrize("number", range(4))
def test_worked_examples_are_right_and_end(number: int) -> None:
    direct, worked = (PROMPTS[role].examples[number] for role in ("base", "thinking"))
    start, operations = read_question(worked.question)
    assert worked.question == direct.question == prompt(start, operations)
    values = solution(start, operations)
    assert all(0 <= value <= 9 for value in values)
    for answer in (direct.answer, worked.answer):
        assert answer.endswith(f"So the answer is {values[-1]}.<|im_end|>")
    standing = {}
    for sentence in re.split(r"(?<=\.) ", worked.answer):
        for left, sign, right, value in EVALUATED.findall(sentence):
            true = evaluate(int(left), sign, int(right)) == int(value)
            assert true or (number, sentence) == (1, "Now b is 2 + 3 = 6."), (
                sentence
            )  # the slip, undone after
            if letter := re.match(r"(?:Now|Wait,) ([b-h]) is", sentence):
                standing[letter[1]] = int(value)
    assert list(standing.values()) == values


def test_what_either_model_reads_ends_with_the_problem() -> None:
    tokenizer, problem = layout("smollm2"), rm.load_task("letters", n=1)[0]
    ends: Any = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for role in ("base", "thinking"):
        text = PROMPTS[role].text(problem, tokenizer)
        assert text.endswith(problem.prompt) and text.count("<|im_end|>") == 4
        assert tokenizer.encode(text).count(ends) == 4  # as one token each, which ends a text
