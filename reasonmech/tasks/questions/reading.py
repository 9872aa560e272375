"""Reading: which answer a text states, by fixed rules in a fixed order."""

from __future__ import annotations

import re
from typing import Final, Literal

from reasonmech.door import checked
from reasonmech.tasks.questions.prompt import NEXT_QUESTION

Last = Literal["number", "line"]
RULE: Final = (
    r"behind the last </think>: the last \boxed{}, else <answer>, else the last 'answer is' or 'Answer:', "
    "else the last '####', else the last number or formula (the last line, where the answer is no number)"
)
_THOUGHT: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*(?:(\{)|([^\s{}$]+))")
_TAG: Final = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
# English, German, French, Spanish, Chinese
_STATED: Final = re.compile(
    r"""(?: (?:final\s+)?answer[*_]*(?:\s+(?:to|for|of)\b[^.\n:=]{0,80}?)?\s*(?:\bis\b|\bare\b|[:：])
          | antwort[*_]*\s*(?:ist\b|lautet\b|[:：]) | r[ée]ponse[*_]*\s*(?:est\b|[:：])
          | respuesta[*_]*\s*(?:es\b|[:：]) | 答案\s*(?:是|为|為|[:：]) )[ \t]*[:：]?[*_]*""",
    re.IGNORECASE | re.VERBOSE,
)
_MARKED: Final = re.compile(r"####[ \t]*([^\n]*)")
_END: Final = re.compile(r"[.!?](?=\s|$)|[。！？]")
_FORMULA: Final = re.compile(
    r"\$\$(.+?)\$\$|\$(?!\s)((?:\\.|[^$\n\\])+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    r"|(\\[dt]?frac\s*\{[^{}]*\}\s*\{[^{}]*\}|\\sqrt\s*\{[^{}]*\})",
    re.DOTALL,
)
_NUMBER: Final = re.compile(
    r"(?<![\w.\\])(?:(?<![)\]])[-+−])?(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s?/\s?\d+)?(?:\s?\\?%)?"
)
_MATHS: Final = re.compile(r"\d|\\|^\W*[^\W\d_]\W*$")  # a digit, a command of LaTeX, one letter
_NO_WORD: Final = "and|or|percent|sqrt|sin|cos|tan|log|exp|plus|minus|times|over|squared|cubed|root"
_WORD: Final = re.compile(rf"(?<!\\)\b(?!(?:{_NO_WORD})\b)[^\W\d_]{{3,}}")
_GOES_ON: Final = re.compile(  # a number, and behind it words that are about it
    rf"([$€£¥]?{_NUMBER.pattern})(?:\s+{_WORD.pattern}|\s*[,;(—–]\s*(?:or|and|so|as|if|i\.e\.)?\s*{_WORD.pattern})(?!.*=)"
)


@checked
def read_answer(text: str, *, last: Last = "number") -> str | None:
    r"""The answer that a text states; None where it states none.

    What stands behind the last think tag is read (a text without one whole), up to a question that the model
    goes on to ask itself. The last one of the first of these kinds is read: \boxed{...}, <answer>,
    "the answer is" or "Answer:" (in English, German, French, Spanish, Chinese) up to the end of the sentence
    (where a number is meant, the last such sentence that has one, or a formula, if any has; of several
    numbers the one that words stand behind, "12, not 13"),
    "####" up to the end of the line. Without any, the last number or formula.

    A last box that is empty, or never closed, states nothing, whatever stands before it.

    Args:
        last: what is read where nothing marks an answer: the last number or formula, or the last line.
    """
    conclusion = _THOUGHT.split(text)[-1].split(NEXT_QUESTION)[0]
    for answer in (_boxed(conclusion), _tagged(conclusion), _stated(conclusion, last), _marked(conclusion)):
        if answer is not None:
            return answer.strip() or None
    return _last_line(conclusion) if last == "line" else _last_number(conclusion)


@checked
def boxed(text: str) -> str | None:
    r"""What is in the last \boxed{...}; empty where it is empty or never closed, None where there is none."""
    return _boxed(text)


def _boxed(text: str) -> str | None:
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return None
    if boxes[-1][2] is not None:
        return boxes[-1][2]
    depth, at = 1, boxes[-1].end()
    while at < len(text):
        if text[at] == "\\":
            at += 1
        else:
            depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[boxes[-1].end() : at]
        at += 1
    return ""


def _tagged(text: str) -> str | None:
    tags = _TAG.findall(text)
    return tags[-1] if tags else None


def _stated(text: str, last: Last) -> str | None:
    """The last sentence that states an answer; where a number is meant, the last one that has one, if any."""
    stated = [_behind(text[phrase.end() :], last) for phrase in _STATED.finditer(text)]
    if last == "number":
        return next((one for one in reversed(stated) if _MATHS.search(one)), stated[-1] if stated else None)
    return stated[-1] if stated else None


def _behind(text: str, last: Last) -> str:
    """What a phrase such as "the answer is" goes on to say in its sentence."""
    line = text.strip().split("\n")[0].strip().strip("*_").strip()
    if formula := _FORMULA.search(line):
        return next(part for part in formula.groups() if part is not None)
    end = _END.search(line)
    sentence = (line[: end.start()] if end else line).strip().strip("*_")
    numbers = [number[0] for number in _NUMBER.finditer(sentence)]
    if (
        last == "number" and len(numbers) > 1 and (first := _GOES_ON.match(sentence))
    ):  # "5 (see step 2)", "12, not 13"
        return first[1].strip()
    is_named = len(numbers) == 1 and not sentence.startswith(numbers[0]) and _WORD.search(sentence)
    return numbers[0] if is_named else sentence


def _marked(text: str) -> str | None:
    marks = _MARKED.findall(text)
    return marks[-1] if marks else None


def _last_number(text: str) -> str | None:
    formulas = list(_FORMULA.finditer(text))
    numbers = list(_NUMBER.finditer(text))
    if formulas and (not numbers or formulas[-1].end() >= numbers[-1].end()):
        formula = next(part for part in formulas[-1].groups() if part is not None)
        return formula.rpartition("=")[2].strip() or None
    return numbers[-1][0].strip() if numbers else None


def _last_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return lines[-1].strip() or None if lines else None
