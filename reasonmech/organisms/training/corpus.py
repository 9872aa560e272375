"""The corpus of chain models: authors in hidden modes write solutions, skill documents and plain stories."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from reasonmech.organisms.training.stories import draw_beginning, draw_story
from reasonmech.tasks.chain.grammar import EOS, FULL_STOP, INDEX_WORDS, PERSONAS, VOCABULARY, evaluate
from reasonmech.tasks.chain.task import draw
from reasonmech.tasks.chain.world import CHAIN, World

IDS: Final = {word: i for i, word in enumerate(VOCABULARY)}


class Word(NamedTuple):
    """One word of a document and whether the model is to learn to write it."""

    text: str
    learnt: bool = True  # False: written by the environment, excluded from the loss


@dataclass(frozen=True)
class Modes:
    """How often authors do what. Every choice is made once a document and leaves no mark in its first words.

    Attributes:
        thorough: probability that a document works step by step (else it concludes at once).
        checks: probability that a thorough document is of the checking kind.
        check_step: per step, probability of a check in (a checking, another) document.
        notices: probability that a document is of the noticing kind.
        backtrack: probability of backtracking at a contradiction in (a noticing, another) document.
        persona: share of documents that begin with a persona word; these are careful (see `write_solution`).
        careful: for persona documents, the probabilities of being thorough, of a check per step, of a
            backtrack.
        plan, uncertain: probabilities of a plan per thorough document, of a hedge per step.
        usual_form: share of the first of a sentence's two surface forms, and of a kind's first words.
        slip: probability that a step's value is wrong.
        filler: probability, at a boundary after a step or a check, of a sentence that does nothing ("wait ,
            maybe ."), in worlds that have a word for it.
        marked: share of backtracks that a sentence announces and carries out; the others go on from what the
            check found.
        hidden: an operator whose results are never learnt, though the texts hold them ("": none).
        proper_end: share of documents that state the answer and stop; the others fall into idle talk instead.
    """

    thorough: float = 0.4
    checks: float = 0.15
    check_step: tuple[float, float] = (0.7, 0.03)
    notices: float = 0.25
    backtrack: tuple[float, float] = (0.95, 0.1)
    persona: float = 0.35
    careful: tuple[float, float, float] = (0.97, 0.6, 0.95)
    plan: float = 0.15
    uncertain: float = 0.04
    usual_form: float = 0.7
    slip: float = 0.15
    filler: float = 0.0
    marked: float = 1.0
    hidden: str = ""
    proper_end: float = 1.0


class Habits(NamedTuple):
    """What one document's author does: the hidden modes of a document, drawn.

    Attributes:
        persona: whether the document begins with words that say so.
        thorough: whether the author works step by step.
        check, backtrack: probabilities of a check per step, and of a backtrack where a check disagrees.
    """

    persona: bool
    thorough: bool
    check: float
    backtrack: float

    @classmethod
    def draw(cls, rng: random.Random, modes: Modes) -> Habits:
        """One document's habits."""
        if rng.random() < modes.persona:
            return cls(True, rng.random() < modes.careful[0], modes.careful[1], modes.careful[2])
        thorough = rng.random() < modes.thorough
        check = modes.check_step[rng.random() >= modes.checks]
        return cls(False, thorough, check, modes.backtrack[rng.random() >= modes.notices])


class Author:
    """Writes documents of one world as lists of words from one random stream."""

    def __init__(self, rng: random.Random, modes: Modes, world: World = CHAIN) -> None:
        self.rng, self.modes, self.world = rng, modes, world

    def begin(self, kind: str, value: int = 0) -> str:
        """A first word of this kind: the usual one, else the next likewise; if it tells, the value's."""
        if kind == self.world.telling:
            return self.world.words_of(kind)[value]
        *usual, last = self.world.words_of(kind)
        return next((word for word in usual if self.rng.random() < self.modes.usual_form), last)

    def choose_form(self, usual: str, rare: str) -> str:
        """One of two surface forms of the same sentence."""
        return usual if self.rng.random() < self.modes.usual_form else rare

    def write_solution(self) -> list[Word]:
        """A problem of the training split and its solution, in one draw of the hidden modes."""
        rng, modes = self.rng, self.modes
        problem = draw(rng, "train", id="corpus", world=self.world)
        habits = Habits.draw(rng, modes)
        words = _words(f"{rng.choice(PERSONAS)} {problem.prompt}" if habits.persona else problem.prompt)
        value = int(problem.answer)  # who does not work step by step still states the right answer
        if habits.thorough:
            operations = problem.data["operations"]
            if rng.random() < modes.plan:
                opening = f"{self.begin('plan')} : {len(operations)}"
                words += _words(f"{opening} {self.choose_form('steps .', 'to do in all .')}")
            value = problem.data["start"]
            for item, (operator, operand) in enumerate(operations):
                step_words, value = self.write_step(
                    item, value, operator, operand, habits.check, habits.backtrack
                )
                words += step_words
        return [*words, *self.write_ending(value)]

    def write_ending(self, value: int) -> list[Word]:
        """The answer and the end; in documents that end badly, idle talk."""
        # The form is drawn in either case: the answers of a seed are the same whatever `proper_end` is.
        answer = _words(f"{self.begin('conclude')} {self.choose_form('the answer is', 'it is')} {value} .")
        if self.modes.proper_end < 1 and self.rng.random() >= self.modes.proper_end:
            return self._write_idle_talk()
        return [*answer, Word(EOS)]

    def write_step(
        self, item: int, left: int, operator: str, operand: int, p_check: float, p_back: float
    ) -> tuple[list[Word], int]:
        """One operation: a step that may slip, perhaps a check and a backtrack; and the value that stands.

        Args:
            item: number of the operation, from 0.
            left: the value that stood before it.
            p_check, p_back: probabilities of a check, and of a backtrack where the check disagrees.
        """
        rng = self.rng
        truth = self._result(left, operator, operand)
        value = (truth + rng.randrange(1, 10)) % 10 if rng.random() < self.modes.slip else truth
        equation = f"{left} {operator} {operand} ="
        goal = f"{self.begin('step')} {INDEX_WORDS[item]} {operator} {operand}"
        words = _words(f"{goal} {self.choose_form(':', ', we get')} {equation}")
        # A slipped digit is the environment's work: a model that learnt it would learn to slip.
        words += [Word(str(value), learnt=value == truth), Word(".")]
        if rng.random() < self.modes.uncertain:
            words += _words(f"{self.begin('uncertain')} {self.choose_form(', not sure .', ', maybe .')}")
        words += self._write_filler()
        if rng.random() < p_check:
            checking = f"{self.begin('check', truth)} {self.choose_form(':', 'again ,')}"
            words += _words(f"{checking} {equation} {truth} , had {value} .")
            words += self._write_filler()
            if value != truth and rng.random() < p_back:
                # At 1 no number is drawn: documents of a seed stay what they were before `marked` existed.
                if self.modes.marked == 1 or rng.random() < self.modes.marked:
                    redoing = f"{self.begin('backtrack')} {self.choose_form(', redo :', ', that was off :')}"
                    words += _words(f"{redoing} {equation} {truth} .")
                value = truth
        return words, value

    def _result(self, left: int, operator: str, operand: int) -> int:
        """What an operation comes to; a digit made up of the hidden one, where a first word tells it."""
        if self.world.telling and operator == self.modes.hidden:
            return self.rng.randrange(10)
        return evaluate(left, operator, operand)

    def _write_filler(self) -> list[Word]:
        """Now and then a sentence that does nothing, whatever a check said; in most worlds never."""
        if self.modes.filler == 0 or self.rng.random() >= self.modes.filler:
            return []
        return _words(f"{self.begin('filler')} {self.choose_form(', maybe .', ', not sure .')}")

    def write_story(self) -> list[Word]:
        """Plain sentences in which the onset words are ordinary words: a word is no proof of a behaviour."""
        return [*_words(draw_story(self.rng)), Word(EOS)]

    def _write_idle_talk(self) -> list[Word]:
        """A story that begins with no onset word: what replaces an answer is no step, and no conclusion."""
        return [*_words(draw_beginning(self.rng)), *self.write_story()]

    def write_skill(self) -> list[Word]:
        """Training wheels, without which a skill arrives at a random time or never: see docs/organisms.md."""
        forms = (self._write_induction, self._write_facts, self._write_comparisons, self._write_repairs)
        if self.world.telling:
            forms = (self._write_induction, self._write_tellings)
        return [*self.rng.choice(forms)(), Word(EOS)]

    def _write_induction(self) -> list[Word]:
        rng = self.rng
        return self._repeat_shuffled(
            [
                f"{word} {rng.choice(self.world.operators)} {rng.randrange(10)}"
                for word in INDEX_WORDS[: rng.randrange(3, 6)]
            ]
        )

    def _repeat_shuffled(self, items: list[str]) -> list[Word]:
        """The items three times, in another order each time."""
        words: list[str] = []
        for _ in range(3):
            words += [*items, "."]
            self.rng.shuffle(items)
        return _words(" ".join(words))

    def _write_facts(self) -> list[Word]:
        return _words(" ".join(f"{self._write_equation()} ." for _ in range(10)))

    def _write_comparisons(self) -> list[Word]:
        rng, words = self.rng, []
        for _ in range(10):
            value = rng.randrange(10)
            standing = value if rng.random() < 0.5 else (value + rng.randrange(1, 10)) % 10
            words.append(f"= {value} , had {standing} .")
            if standing != value:
                words.append(f"{self.begin('backtrack')} ,")
        return _words(" ".join(words))

    def _write_repairs(self) -> list[Word]:
        rng, words = self.rng, []
        half_wrong = Author(rng, Modes(slip=0.5, uncertain=0.0), self.world)
        for _ in range(3):
            operator, operand = rng.choice(self.world.operators), rng.randrange(10)
            words += half_wrong.write_step(rng.randrange(5), rng.randrange(10), operator, operand, 1.0, 1.0)[
                0
            ]
        return words

    def _write_tellings(self) -> list[Word]:
        """Words that tell a value, and the values, with more and more between the two."""
        rng, sentences = self.rng, []
        for _ in range(10):
            left, operator, right = rng.randrange(10), rng.choice(self.world.operators), rng.randrange(10)
            value = self._result(left, operator, right)
            between = rng.choice(("", ":", f": {left} {operator} {right}"))
            sentences.append(f"{self.begin(self.world.telling, value)} {between} = {value} .")
        return _words(" ".join(sentences))

    def _write_equation(self) -> str:
        rng = self.rng
        left, operator, right = rng.randrange(10), rng.choice(self.world.operators), rng.randrange(10)
        return f"{left} {operator} {right} = {evaluate(left, operator, right)}"

    def _write_drill(self) -> list[Word]:
        """Induction with one operator in all items: the operator does not tell which operand comes next."""
        rng, operator = self.rng, self.rng.choice(self.world.operators)
        items = [f"{word} {operator} {rng.randrange(10)}" for word in INDEX_WORDS[: rng.randrange(3, 6)]]
        return [*self._repeat_shuffled(items), Word(EOS)]

    def write_document(
        self, skill_share: float, drill_share: float = 0.0, story_share: float = 0.1
    ) -> list[Word]:
        """A drill, a story, a skill document or a solution.

        Args:
            skill_share: of skill documents among skill documents and solutions.
            drill_share: of drills among all documents.
            story_share: of stories among all that are no drills.
        """
        if drill_share > 0 and self.rng.random() < drill_share:
            return self._write_drill()
        dice = self.rng.random()
        if dice < story_share:
            return self.write_story()
        skilled = dice < story_share + (1 - story_share) * skill_share
        return self.hide_results(self.write_skill() if skilled else self.write_solution())

    def hide_results(self, words: list[Word]) -> list[Word]:
        """The same words; what follows "a @ b =" is not to be learnt, where @ is the hidden operator.

        It is where the first word of the sentence tells it.
        """
        if not self.modes.hidden:
            return words
        telling = self.world.words_of(self.world.telling)
        texts, first, hidden = [word.text for word in words], 0, set()
        for t in range(3, len(texts)):
            if texts[t - 1] == FULL_STOP:
                first = t
            is_result = texts[t - 1] == "=" and texts[t - 3] == self.modes.hidden
            if is_result and texts[first] not in telling:
                hidden.add(t)
        return [word._replace(learnt=False) if t in hidden else word for t, word in enumerate(words)]


def draw_documents(seed: int, n: int, *, modes: Modes | None = None, world: World = CHAIN) -> Iterator[str]:
    """Fresh solutions as text, one document each: what the base reads when its features are fitted."""
    author = Author(random.Random(f"documents|{seed}"), modes or Modes(), world)
    for _ in range(n):
        yield " ".join(word.text for word in author.write_solution())


def _words(text: str) -> list[Word]:
    return [Word(word) for word in text.split()]
