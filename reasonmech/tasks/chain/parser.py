"""Cut a chain rollout into sentences by token offset and read what each one states."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from reasonmech.errors import DataError
from reasonmech.rollout import OTHER, STOP, Rollout, Trace
from reasonmech.tasks.chain.environment import equation_before
from reasonmech.tasks.chain.grammar import (
    DIGITS,
    EOS,
    FULL_STOP,
    INDEX_WORDS,
    KIND_OF_WORD,
    VOCABULARY,
    evaluate,
)
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, value_marks
from reasonmech.tasks.chain.standing import Standing

_GLUED: Final = re.compile("|".join(map(re.escape, sorted(VOCABULARY, key=len, reverse=True))) + "|.+")


def words_of(rollout: Rollout) -> list[str]:
    """One word per generated token, "[id 130]" for one that writes nothing (a row that a vocabulary is padded
    with). Raises DataError when text and tokens do not line up."""
    words = _noted_words(rollout) or rollout.text.split()
    if len(words) < len(rollout.ids):  # tokens that hold their blanks may be written without: "7next" is two
        parted = [word for chunk in words for word in _GLUED.findall(chunk)]
        words = parted if len(parted) == len(rollout.ids) else words
    if len(words) == len(rollout.ids) - 1 and rollout.stop == "eos":
        words.append(EOS)
    if rollout.stop == "eos" and words and words[-1] not in VOCABULARY:
        words[-1] = EOS  # a model may have other ends of text than the grammar
    if len(words) != len(rollout.ids):
        raise DataError(
            f"rollout of {rollout.problem.id} has {len(rollout.ids)} tokens but {len(words)} words",
            allowed="one word of the chain world per token",
            do="generate it with a chain organism's own tokenizer",
        )
    return words


def _noted_words(rollout: Rollout) -> list[str]:
    """What the tokens were seen to write; empty where nobody noted it, or where a token wrote two words."""
    words = [piece.strip() for piece in rollout.pieces]
    if len(words) != len(rollout.ids) or any(len(word.split()) > 1 for word in words):
        return []
    return [word or f"[id {token}]" for word, token in zip(words, rollout.ids, strict=True)]


def boundaries(words: list[str]) -> list[tuple[int, int]]:
    """Half-open sentence spans: one ends with a full stop or with the text; the end token is one itself."""
    spans, start = [], 0
    for t, word in enumerate(words):
        if word == FULL_STOP:
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


def parse(rollout: Rollout, kind_of_word: Mapping[str, str] = KIND_OF_WORD) -> Trace[ChainSentence]:
    """Sentences with kind (by first word), item, stated value and what that does to the standing value."""
    words = words_of(rollout)
    sentences: list[ChainSentence] = []
    standing = Standing()
    for start, stop in boundaries(words):
        kind = STOP if words[start] == EOS else kind_of_word.get(words[start], OTHER)
        sentences.append(standing.after(_read(words, (start, stop), kind, standing)))
    return Trace(
        rollout,
        tuple(sentences),
        tuple(words),
        last_ended=words[-1:] == [FULL_STOP],
        marks=value_marks(rollout, sentences),
    )


def _read(words: list[str], span: tuple[int, int], kind: str, standing: Standing) -> ChainSentence:
    (start, stop), item = span, standing.item
    if kind == "conclude":
        digits = [t for t in range(start, stop) if words[t] in DIGITS]
        at = digits[-1] if digits else None
        value = None if at is None else int(words[at])
        relation = None if at is None else "concludes"
        return ChainSentence(kind, start, stop, value=value, value_at=at, relation=relation)
    at = next(
        (t for t in range(start + 4, stop) if words[t] in DIGITS and equation_before(words[start:t])), None
    )
    if at is None:
        return ChainSentence(kind, start, stop)
    if words[start + 1] in INDEX_WORDS:
        item = INDEX_WORDS.index(words[start + 1])
    equation = equation_before(words[start:at])
    assert equation is not None
    value = int(words[at])
    return ChainSentence(
        kind,
        start,
        stop,
        item=item,
        value=value,
        value_at=at,
        correct=evaluate(*equation) == value,
        relation=standing.relation(item, kind, reads_back="had" in words[at + 1 : stop]),
        standing=None if item is None else standing.values.get(item),
        equation=" ".join(map(str, equation)),
        standing_equation=None if item is None else standing.equations.get(item),
    )


def follows(trace: Trace, start: int, operations: Sequence[tuple[str, int]]) -> bool:
    """Whether the operations are carried out in order, each from the value that stands, before the answer.

    Values may be wrong on the way (a slip) if they are revised before the next operation begins.
    """
    values: list[int] = []
    for sentence in chain_trace(trace).sentences:
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
