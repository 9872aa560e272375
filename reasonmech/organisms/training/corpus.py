"""The corpus that a chain base model is pretrained on: solutions in hidden modes, skills, plain stories."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from reasonmech.tasks.chain.grammar import EOS, INDEX_WORDS, PERSONAS, VOCABULARY, evaluate
from reasonmech.tasks.chain.task import draw
from reasonmech.tasks.chain.world import CHAIN, World

IDS: Final = {word: i for i, word in enumerate(VOCABULARY)}
UNLEARNT: Final = -100  # label that cross-entropy ignores


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
        persona: share of documents that begin with a persona word; these are careful (see `solution_words`).
        careful: for persona documents, the probabilities of being thorough, of a check per step, of a
            backtrack.
        plan, uncertain: probabilities of a plan per thorough document, of a hedge per step.
        usual_form: share of the first of a sentence's two surface forms.
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


class Author:
    """Writes documents of one world as lists of words from one random stream."""

    def __init__(self, rng: random.Random, modes: Modes, world: World = CHAIN) -> None:
        self.rng, self.modes, self.world = rng, modes, world
        self.marker = world.onset_words["backtrack"]

    def form(self, usual: str, rare: str) -> str:
        """One of two surface forms of the same sentence."""
        return usual if self.rng.random() < self.modes.usual_form else rare

    def solution_words(self) -> list[Word]:
        """A problem of the training split and its solution, in one draw of the hidden modes."""
        rng, modes = self.rng, self.modes
        problem = draw(rng, "train", id="corpus", world=self.world)
        persona = rng.random() < modes.persona
        if persona:
            thorough, p_check, p_back = rng.random() < modes.careful[0], modes.careful[1], modes.careful[2]
        else:
            thorough = rng.random() < modes.thorough
            p_check = modes.check_step[rng.random() >= modes.checks]
            p_back = modes.backtrack[rng.random() >= modes.notices]
        head = f"{rng.choice(PERSONAS)} {problem.prompt}" if persona else problem.prompt
        words = _said(head)
        value = int(problem.answer)
        if thorough:
            operations = problem.data["operations"]
            if rng.random() < modes.plan:
                words += _said(
                    self.form("plan : {} steps .", "plan : {} to do in all .").format(len(operations))
                )
            value = problem.data["start"]
            for item, (operator, operand) in enumerate(operations):
                written, value = self.worked(item, value, operator, operand, p_check, p_back)
                words += written
        return [*words, *self.ending(value)]

    def ending(self, value: int) -> list[Word]:
        """The answer and the end; in documents that end badly, idle talk."""
        answer = _said(self.form("so the answer is {} .", "so it is {} .").format(value))
        if self.modes.proper_end < 1 and self.rng.random() >= self.modes.proper_end:
            return self.idle()
        return [*answer, Word(EOS)]

    def worked(
        self, item: int, left: int, operator: str, operand: int, p_check: float, p_back: float
    ) -> tuple[list[Word], int]:
        """One operation: a step that may slip, perhaps a check, perhaps a backtrack; and the value that
        stands."""
        rng = self.rng
        truth = evaluate(left, operator, operand)
        value = (truth + rng.randrange(1, 10)) % 10 if rng.random() < self.modes.slip else truth
        equation = f"{left} {operator} {operand} ="
        opening = self.form(":", ", we get")
        words = _said(f"next {INDEX_WORDS[item]} {operator} {operand} {opening} {equation}")
        words += [Word(str(value), learnt=value == truth), Word(".")]
        if rng.random() < self.modes.uncertain:
            words += _said(self.form("hmm , not sure .", "hmm , maybe ."))
        words += self.filler()
        if rng.random() < p_check:
            words += _said(f"{self.form('check :', 'check again ,')} {equation} {truth} , had {value} .")
            words += self.filler()
            if value != truth and rng.random() < p_back:
                if self.modes.marked == 1 or rng.random() < self.modes.marked:
                    words += _said(
                        f"{self.marker} {self.form(', redo :', ', that was off :')} {equation} {truth} ."
                    )
                value = truth
        return words, value

    def filler(self) -> list[Word]:
        """Now and then a sentence that does nothing, whatever was just found; in most worlds never."""
        if self.modes.filler == 0 or self.rng.random() >= self.modes.filler:
            return []
        return _said(f"{self.world.onset_words['filler']} {self.form(', maybe .', ', not sure .')}")

    def story(self) -> list[Word]:
        """Plain sentences in which the onset words occur as ordinary words: a word is no proof of a
        behaviour."""
        rng = self.rng
        names, things = ("mia", "tom", "ana", "leo"), ("kite", "boat", "dog", "cat")
        forms = (
            lambda: (
                f"{rng.choice(names)} took the {rng.choice(('red', 'blue', 'old', 'small'))} "
                f"{rng.choice(things)} ."
            ),
            lambda: f"wait for me , said {rng.choice(names)} .",
            lambda: f"so {rng.choice(names)} went home .",
            lambda: (
                f"they saw a {rng.choice(things)} by the {rng.choice(('park', 'sea', 'tree'))} and then the "
                "sun came ."
            ),
            lambda: f"hmm , said {rng.choice(names)} , maybe the {rng.choice(things)} was off .",
            lambda: "next the rain came .",
            lambda: f"check on the {rng.choice(things)} , said {rng.choice(names)} .",
            lambda: f"the plan was to get the {rng.choice(things)} .",
        )
        return [*_said(" ".join(rng.choice(forms)() for _ in range(rng.randrange(3, 8)))), Word(EOS)]

    def idle(self) -> list[Word]:
        """A story that begins with no onset word: what is said instead of an answer is no step, and no
        conclusion."""
        name, thing = (
            self.rng.choice(("mia", "tom", "ana", "leo")),
            self.rng.choice(("kite", "boat", "dog", "cat")),
        )
        return [*_said(f"{name} took the old {thing} ."), *self.story()]

    def skill(self) -> list[Word]:
        """Training wheels, without which each skill arrives at a random time or never: see
        docs/organisms.md."""
        return [*self.rng.choice((self._induction, self._facts, self._comparison, self._repair))(), Word(EOS)]

    def _induction(self) -> list[Word]:
        rng = self.rng
        return self._repeated(
            [
                f"{word} {rng.choice(self.world.operators)} {rng.randrange(10)}"
                for word in INDEX_WORDS[: rng.randrange(3, 6)]
            ]
        )

    def _repeated(self, items: list[str]) -> list[Word]:
        """The items three times, in another order each time."""
        words: list[str] = []
        for _ in range(3):
            words += [*items, "."]
            self.rng.shuffle(items)
        return _said(" ".join(words))

    def _facts(self) -> list[Word]:
        return _said(" ".join(f"{self._equation()} ." for _ in range(10)))

    def _comparison(self) -> list[Word]:
        rng, words = self.rng, []
        for _ in range(10):
            value = rng.randrange(10)
            had = value if rng.random() < 0.5 else (value + rng.randrange(1, 10)) % 10
            words.append(f"= {value} , had {had} .")
            if had != value:
                words.append(f"{self.marker} ,")
        return _said(" ".join(words))

    def _repair(self) -> list[Word]:
        rng, words = self.rng, []
        half_wrong = Author(rng, Modes(slip=0.5, uncertain=0.0), self.world)
        for _ in range(3):
            operator, operand = rng.choice(self.world.operators), rng.randrange(10)
            words += half_wrong.worked(rng.randrange(5), rng.randrange(10), operator, operand, 1.0, 1.0)[0]
        return words

    def _equation(self) -> str:
        rng = self.rng
        left, operator, right = rng.randrange(10), rng.choice(self.world.operators), rng.randrange(10)
        return f"{left} {operator} {right} = {evaluate(left, operator, right)}"

    def _drill(self) -> list[Word]:
        """Induction with one operator in all items: the operator alone does not tell which operand comes
        next."""
        rng, operator = self.rng, self.rng.choice(self.world.operators)
        items = [f"{word} {operator} {rng.randrange(10)}" for word in INDEX_WORDS[: rng.randrange(3, 6)]]
        return [*self._repeated(items), Word(EOS)]

    def document(self, skill_share: float, drill_share: float = 0.0, story_share: float = 0.1) -> list[Word]:
        if drill_share > 0 and self.rng.random() < drill_share:
            return self._drill()
        dice = self.rng.random()
        if dice < story_share:
            return self.story()
        skilled = dice < story_share + (1 - story_share) * skill_share
        return self.unlearnt(self.skill() if skilled else self.solution_words())

    def unlearnt(self, words: list[Word]) -> list[Word]:
        """The same words; what follows "a @ b =" is not to be learnt, where @ is the hidden operator."""
        if not self.modes.hidden:
            return words
        said = [word.text for word in words]
        results = {t for t in range(3, len(said)) if said[t - 1] == "=" and said[t - 3] == self.modes.hidden}
        return [word._replace(learnt=False) if t in results else word for t, word in enumerate(words)]


def _said(text: str) -> list[Word]:
    return [Word(word) for word in text.split()]


class Batch(NamedTuple):
    """Int64 [row, pos] each; labels are -100 where the environment or nobody wrote."""

    ids: Tensor
    labels: Tensor


class Shape(NamedTuple):
    """Rows of a batch and tokens of a row."""

    rows: int
    length: int


class Mix(NamedTuple):
    """Shares of skill documents among problems and skills, and of copying drills among all."""

    skills: float
    drills: float = 0.0


def batch(seed: int, step: int, *, modes: Modes, mix: Mix, shape: Shape, world: World = CHAIN) -> Batch:
    """The batch of one training step: a pure function of (seed, step), so that a killed run resumes exactly.

    Documents are laid end to end; every row begins with a fresh document and is cut at `shape.length`.
    """
    author, (rows, length) = Author(random.Random(f"corpus|{seed}|{step}"), modes, world), shape
    ids, labels = [], []
    for _ in range(rows):
        words: list[Word] = []
        while len(words) < length:
            words += author.document(mix.skills, mix.drills)
        ids.append([IDS[word.text] for word in words[:length]])
        labels.append([IDS[word.text] if word.learnt else UNLEARNT for word in words[:length]])
    return Batch(torch.tensor(ids), torch.tensor(labels))


def documents(seed: int, n: int, *, modes: Modes | None = None) -> Iterator[str]:
    """Fresh solutions as text, one document each: what the base reads when its features are fitted."""
    author = Author(random.Random(f"documents|{seed}"), modes or Modes())
    for _ in range(n):
        yield " ".join(word.text for word in author.solution_words())
