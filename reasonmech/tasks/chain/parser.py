"""Cut a chain rollout into sentences by token offset and read what each one states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reasonmech.errors import DataError
from reasonmech.rollout import Relation, Rollout, Sentence, Trace
from reasonmech.tasks.chain.environment import equation_before
from reasonmech.tasks.chain.grammar import DIGITS, EOS, INDEX_WORDS, KIND_OF_WORD, evaluate


def words_of(rollout: Rollout) -> list[str]:
    """One word per generated token. Raises DataError when text and tokens do not line up."""
    words = rollout.text.split()
    if len(words) == len(rollout.ids) - 1 and rollout.stop == "eos":
        words.append(EOS)
    if len(words) != len(rollout.ids):
        raise DataError(
            f"rollout of {rollout.problem.id} has {len(rollout.ids)} tokens but {len(words)} words",
            allowed="one blank-separated word per token",
            do="generate it with a chain organism's own tokenizer",
        )
    return words


def boundaries(words: list[str]) -> list[tuple[int, int]]:
    """Half-open sentence spans: a sentence ends with ".", or where the text does; the end token is a
    sentence."""
    spans, start = [], 0
    for t, word in enumerate(words):
        if word == ".":
            spans.append((start, t + 1))
            start = t + 1
        elif word == EOS:
            if t > start:
                spans.append((start, t))
            spans.append((t, t + 1))
            start = t + 1
    if start < len(words):
        spans.append((start, len(words)))
    return spans


def parse(rollout: Rollout, kind_of_word: Mapping[str, str] = KIND_OF_WORD) -> Trace:
    """Sentences with kind (by first word), item, stated value and what that does to the standing value."""
    words = words_of(rollout)
    sentences: list[Sentence] = []
    standing: dict[int, int] = {}
    item: int | None = None  # the operation that is worked on
    found: tuple[int, int] | None = None  # an operation, and what a check of it found instead of what stands
    for start, stop in boundaries(words):
        kind = "stop" if words[start] == EOS else kind_of_word.get(words[start], "other")
        sentence = _read(words, (start, stop), kind, item, standing)
        if found is not None and _goes_on_from(sentence, found[0]) == found[1]:
            sentence = replace(sentence, adopts=found[0], adopted=found[1])
            standing[found[0]] = found[1]
        if sentence.relation == "verifies":
            assert sentence.item is not None and sentence.value is not None
            found = None if sentence.value == sentence.standing else (sentence.item, sentence.value)
        elif sentence.relation is not None:
            found = None
        if sentence.relation in ("establishes", "revises"):
            assert sentence.item is not None and sentence.value is not None
            item, standing[sentence.item] = sentence.item, sentence.value
        sentences.append(sentence)
    return Trace(rollout, tuple(sentences), tuple(words))


def _goes_on_from(sentence: Sentence, item: int) -> int | None:
    """The value of an operation that the next one, or the answer, is built on; None for any other
    sentence."""
    if sentence.relation == "concludes":
        return sentence.value
    if sentence.relation != "establishes" or sentence.item == item or sentence.equation is None:
        return None
    return int(sentence.equation.split()[0])


def _read(
    words: list[str], span: tuple[int, int], kind: str, item: int | None, standing: dict[int, int]
) -> Sentence:
    start, stop = span
    if kind == "conclude":
        digits = [t for t in range(start, stop) if words[t] in DIGITS]
        at = digits[-1] if digits else None
        value = None if at is None else int(words[at])
        return Sentence(
            kind, start, stop, value=value, value_at=at, relation=None if at is None else "concludes"
        )
    at = next(
        (t for t in range(start + 4, stop) if words[t] in DIGITS and equation_before(words[start:t])), None
    )
    if at is None:
        return Sentence(kind, start, stop)
    if words[start + 1] in INDEX_WORDS:
        item = INDEX_WORDS.index(words[start + 1])
    equation = equation_before(words[start:at])
    assert equation is not None
    value = int(words[at])
    stands = None if item is None else standing.get(item)
    relation: Relation | None = None
    if item is not None:
        reads_back = "had" in words[at + 1 : stop] or kind == "check"
        relation = "establishes" if stands is None else "verifies" if reads_back else "revises"
    written = " ".join(map(str, equation))
    return Sentence(
        kind, start, stop, item, value, at, evaluate(*equation) == value, relation, stands, written
    )


def standing_values(trace: Trace) -> dict[int, int]:
    """The last value of every operation: {operation index: value}."""
    values: dict[int, int] = {}
    for sentence in trace.sentences:
        if sentence.adopts is not None and sentence.adopted is not None:
            values[sentence.adopts] = sentence.adopted
        if (
            sentence.relation in ("establishes", "revises")
            and sentence.item is not None
            and sentence.value is not None
        ):
            values[sentence.item] = sentence.value
    return values


def follows(trace: Trace, start: int, operations: Sequence[tuple[str, int]]) -> bool:
    """Whether the operations are carried out in order, each from the value that stands, before the answer is
    stated.

    Values may be wrong on the way (a slip) if they are revised before the next operation begins.
    """
    values: list[int] = []
    for sentence in trace.sentences:
        if sentence.adopted is not None and sentence.adopts == len(values) - 1:
            values[-1] = sentence.adopted
        if sentence.relation == "concludes":
            break
        if (
            sentence.relation not in ("establishes", "revises")
            or sentence.item is None
            or sentence.value is None
        ):
            continue
        item = sentence.item
        if item not in (len(values) - 1, len(values)) or item >= len(operations):
            return False
        del values[item:]
        operator, operand = operations[item]
        if sentence.equation != f"{values[-1] if values else start} {operator} {operand}":
            return False
        values.append(sentence.value)
    return len(values) == len(operations)
