"""Texts of a chain world that part a contradiction from the words about it, written by its grammar."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.falsify import CrossedText, Example, crossed
from reasonmech.locate.falsify.texts import Encode
from reasonmech.organisms.training.corpus import IDS
from reasonmech.problem import Problem
from reasonmech.ranges import Positive, Seed
from reasonmech.tasks.chain.grammar import INDEX_WORDS, evaluate
from reasonmech.tasks.chain.task import draw
from reasonmech.tasks.chain.world import CHAIN, World

PLACEBOS: Final = tuple(["kite", "boat", "dog", "cat", "park", "sea", "tree", "home", "rain", "sun"])
"""Words of the world's stories, which are as far out of place in a solution as an onset word is."""

CONTRADICTED: Final = "a contradiction"
CONFIRMED: Final = "a check that confirms"
RESOLVED: Final = "a contradiction that was resolved"
STEP: Final = "a step, nothing compared"
STORY: Final = "the trigger word in a story"
IDLE: Final = "the trigger word after a check that confirms"


class _Passage:
    """A solution up to a check of one of its steps, in words that are drawn once and serve every version.

    Everything is drawn in the constructor and in one order, so the versions differ in nothing else.
    """

    def __init__(self, rng: random.Random, world: World, *, id: str) -> None:
        problem: Problem = draw(rng, "test", id=id, world=world)
        operations, value = problem.data["operations"], problem.data["start"]
        last = rng.randrange(len(operations) - 1)  # a step that another one follows
        sentences = [problem.prompt]
        for item in range(last):
            goal = f"{_say(rng, world, 'step')} {INDEX_WORDS[item]}"
            value, sentence = self._write_step(rng, goal, value, *operations[item])
            sentences.append(sentence)
        operator, operand = operations[last]
        self.truth = evaluate(value, operator, operand)
        self.wrong = (self.truth + rng.randrange(1, 10)) % 10
        self.lead = " ".join(sentences)
        self.equation = f"{value} {operator} {operand} ="
        goal = f"{_say(rng, world, 'step')} {INDEX_WORDS[last]}"
        self.opening = f"{goal} {operator} {operand} {rng.choice((':', ', we get'))}"
        self.checking = f"{_say(rng, world, 'check', self.truth)} {rng.choice((':', 'again ,'))}"
        self.redoing = rng.choice((", redo :", ", that was off :"))
        self.idle = rng.choice((", maybe .", ", not sure ."))
        goal = f"{_say(rng, world, 'step')} {INDEX_WORDS[last + 1]}"
        self.next_step = f"{goal} {operations[last + 1][0]} {operations[last + 1][1]}"
        self.marker = _say(rng, world, "backtrack")

    @staticmethod
    def _write_step(rng: random.Random, goal: str, left: int, operator: str, operand: int) -> tuple[int, str]:
        value = evaluate(left, operator, operand)
        opening = rng.choice((":", ", we get"))
        equation = f"{left} {operator} {operand} = {value}"
        return value, f"{goal} {operator} {operand} {opening} {equation} ."

    def up_to_step(self, *, wrong: bool) -> str:
        """Up to the end of the step, whose value is wrong or right."""
        return f"{self.lead} {self.opening} {self.equation} {self.wrong if wrong else self.truth} ."

    def up_to_check(self, *, wrong: bool) -> str:
        """Up to the end of its check, which states what is right and reads back what stands."""
        standing = self.wrong if wrong else self.truth
        return (
            f"{self.up_to_step(wrong=wrong)} {self.checking} {self.equation} {self.truth} , had {standing} ."
        )


def _say(rng: random.Random, world: World, kind: str, value: int = 0) -> str:
    """A first word of a kind, that of the value where it tells one; with only one, nothing is drawn."""
    words = world.words_of(kind)
    if kind == world.telling:
        return words[value]
    return words[0] if len(words) == 1 else rng.choice(words)


@checked
@final
@dataclass(frozen=True)
class ChainExamples:
    """Texts about "a contradiction stands", the opportunity to backtrack, of a chain world.

    Attributes:
        world: its words.
        cue: the word that is put in or left out; "wait", which begins a backtrack in most worlds and fills
            time in chain-swap.
        encode: text to ids, one for each word, and the same in front of any: `host.encode` of a model whose
            tokenizer is another than the chain world's own.
    """

    world: World = CHAIN
    cue: str = "wait"
    encode: Encode = field(default_factory=lambda: encode)

    def __post_init__(self) -> None:
        if self.cue not in IDS or self.cue in PLACEBOS:
            raise DataError(f"cue {self.cue!r}", allowed="a word of the chain vocabulary that is no placebo")

    @checked
    def crossed(self, n: Positive, *, seed: Seed = 0) -> list[CrossedText]:
        """n texts in six versions each, whose slot is after a check.

        Only a digit of the step and its read-back part the two contexts: they are alike in every other word,
        in length and in position.
        """
        texts = []
        for i in range(n):
            passage, rng = self._draw_passage("crossed", i, seed)
            texts.append(
                crossed(
                    self.encode,
                    problem=f"crossed/{self.world.name}/{seed}/{i}",
                    contexts=(passage.up_to_check(wrong=False), passage.up_to_check(wrong=True)),
                    after=passage.next_step,
                    cue=self.cue,
                    placebo=rng.choice(PLACEBOS),
                )
            )
        return texts

    @checked
    def examples(self, n: Positive, *, seed: Seed) -> Sequence[Example]:
        """n examples, read at the last token: half of them contradictions, half what resembles one.

        Where the word itself is the trap, it is read as well.
        """
        traps = tuple(self._traps())
        examples = []
        for i in range(n):
            passage, rng = self._draw_passage("examples", i, seed)
            category = CONTRADICTED if i % 2 == 0 else traps[(i // 2) % len(traps)]
            text, n_read = (
                self._traps()[category](passage, rng) if i % 2 else (passage.up_to_check(wrong=True), 1)
            )
            ids = self._encode_words(text)
            name = f"examples/{self.world.name}/{seed}/{i}"
            positive = category == CONTRADICTED
            examples.append(Example(name, ids, len(ids) - n_read, len(ids), positive, category))
        return examples

    def _encode_words(self, text: str) -> tuple[int, ...]:
        """Ids of a text whose last words are read by position. Raises DataError where a word is no token."""
        ids, words = tuple(self.encode(text)), text.split()
        if len(ids) - len(self.encode("")) != len(words):
            raise DataError(
                f"{len(words)} words are {len(ids)} tokens: {text[:40]!r}",
                allowed="a tokenizer with a token for every word of the chain world",
                do="leave these texts out: nothing is known of where their words are",
            )
        return ids

    def _draw_passage(self, purpose: str, i: int, seed: int) -> tuple[_Passage, random.Random]:
        rng = random.Random(f"{purpose}|{self.world.name}|{seed}|{i}")
        return _Passage(rng, self.world, id=f"{purpose}/{seed}/{i}"), rng

    def _traps(self) -> dict[str, Callable[[_Passage, random.Random], tuple[str, int]]]:
        """What resembles a contradiction, and how many tokens at its end are read."""

        def resolved(passage: _Passage, rng: random.Random) -> tuple[str, int]:
            return (
                f"{passage.up_to_check(wrong=True)} {passage.marker} {passage.redoing} {passage.equation} "
                f"{passage.truth} .",
                1,
            )

        def idle(passage: _Passage, rng: random.Random) -> tuple[str, int]:
            filler = f"{self.cue} {passage.idle}"
            return f"{passage.up_to_check(wrong=False)} {filler}", len(filler.split())

        def story(passage: _Passage, rng: random.Random) -> tuple[str, int]:
            request = f"{self.cue} for me , said {rng.choice(('mia', 'tom', 'ana', 'leo'))} ."
            return f"so {rng.choice(('mia', 'tom', 'ana', 'leo'))} went home . {request}", len(
                request.split()
            )

        return {
            CONFIRMED: lambda passage, rng: (passage.up_to_check(wrong=False), 1),
            STEP: lambda passage, rng: (passage.up_to_step(wrong=True), 1),
            RESOLVED: resolved,
            IDLE: idle,
            STORY: story,
        }


def encode(text: str) -> tuple[int, ...]:
    """Ids of blank-separated words of the chain vocabulary."""
    return tuple(IDS[word] for word in text.split())
