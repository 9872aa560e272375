"""Cut a text of the letters world into sentences and read what each one states."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

from reasonmech.errors import DataError
from reasonmech.rollout import OTHER, STOP, Rollout, Trace
from reasonmech.tasks.chain.sentence import ChainSentence, Relation, value_marks
from reasonmech.tasks.chain.standing import Standing
from reasonmech.tasks.letters.environment import item_of
from reasonmech.tasks.letters.grammar import EVALUATED, evaluate

_NUMBER: Final = re.compile(r"\d+")
_WORD: Final = re.compile(r"\s*([A-Za-z]+)")
_READ_BACK: Final = "I had"


def read(text: str, kind_of_word: Mapping[str, str]) -> list[ChainSentence]:
    """The sentences of a text, with offsets in characters: each ends with a full stop, or with the text."""
    standing, sentences, start = Standing(), list[ChainSentence](), 0
    while start < len(text):
        stop = text.find(".", start) + 1 or len(text)
        sentences.append(standing.after(_read(text[start:stop], start, kind_of_word, standing)))
        start = stop
    return sentences


def parse(rollout: Rollout, kind_of_word: Mapping[str, str]) -> Trace[ChainSentence]:
    """Sentences with kind (by first word), item, stated value and what that does to the standing value.

    A token belongs to the sentence of its first character that is no white space.

    Raises:
        DataError: the rollout does not say what each token wrote.
    """
    pieces = list(_pieces(rollout))
    at_end = rollout.stop == "eos"  # whose token writes a name, if anything
    borders = list(accumulate((len(piece) for piece in pieces[: len(pieces) - at_end]), initial=0))
    firsts = [border + len(p) - len(p.lstrip()) for border, p in zip(borders, pieces, strict=False)]
    sentences = []
    for sentence in read("".join(pieces[: len(pieces) - at_end]), kind_of_word):
        # a token that writes the end of one sentence and the beginning of the next is the first one's
        start, stop = bisect_right(firsts, sentence.start - 1), bisect_right(firsts, sentence.stop - 1)
        at = sentence.value_at
        value_at = None if at is None else bisect_right(borders, at) - 1
        if start < stop:
            sentences.append(replace(sentence, start=start, stop=stop, value_at=value_at))
    if at_end:
        sentences.append(ChainSentence(STOP, len(pieces) - 1, len(pieces)))
    return Trace(
        rollout,
        tuple(sentences),
        tuple(pieces),
        separator="",
        last_ended=bool(pieces) and pieces[-1].rstrip().endswith("."),
        marks=value_marks(rollout, sentences),
    )


def _pieces(rollout: Rollout) -> Sequence[str]:
    if len(rollout.pieces) != len(rollout.ids):
        raise DataError(
            f"{len(rollout.ids)} tokens and {len(rollout.pieces)} pieces of text in {rollout.problem.id}",
            allowed="one piece for every token",
            do="generate it with rm.generate, which notes what each token writes",
        )
    return rollout.pieces


def _read(text: str, start: int, kind_of_word: Mapping[str, str], standing: Standing) -> ChainSentence:
    """One sentence, which begins at character `start`."""
    word = _WORD.match(text)
    kind = kind_of_word.get(word[1], OTHER) if word else OTHER
    stop = start + len(text)
    if kind == "conclude":
        numbers = list(_NUMBER.finditer(text))
        if not numbers:
            return ChainSentence(kind, start, stop)
        last = numbers[-1]
        return ChainSentence(
            kind, start, stop, value=int(last[0]), value_at=start + last.start(), relation="concludes"
        )
    equation = EVALUATED.search(text)
    if equation is None:
        return ChainSentence(kind, start, stop)
    left, operator, right, value = equation.groups()
    named = item_of(text.split()) if kind in ("step", "backtrack") else None
    item = standing.item if named is None else named
    relation: Relation | None = standing.relation(item, kind, reads_back=_READ_BACK in text[equation.end() :])
    return ChainSentence(
        kind,
        start,
        stop,
        item=item,
        value=int(value),
        value_at=start + equation.start(4),
        correct=evaluate(int(left), operator, int(right)) == int(value),
        relation=relation,
        standing=None if item is None else standing.values.get(item),
        equation=f"{left} {operator} {right}",
        standing_equation=None if item is None else standing.equations.get(item),
    )
