"""The corpus of a base of the letters world: authors in hidden modes write solutions and drills."""

from __future__ import annotations

import random
from typing import Final

import torch
from transformers import PreTrainedTokenizerBase

from reasonmech.errors import DataError
from reasonmech.organisms.training.batches import UNLEARNT, TokenBatch
from reasonmech.organisms.training.corpus import Habits, Modes, Word
from reasonmech.organisms.training.tune import Data, TuneRecipe
from reasonmech.tasks.chain.world import World
from reasonmech.tasks.letters.grammar import (
    LETTERS,
    PERSONAS,
    SPOKEN,
    WORLDS,
    allowed_values,
    evaluate,
    read_back,
)
from reasonmech.tasks.letters.task import draw

MODES: Final = Modes(checks=0.4, check_step=(0.7, 0.08), notices=0.45, plan=0.0, uncertain=0.0)
"""More checks than in the chain world: reinforcement learning keeps what it can still sample."""


class LettersAuthor:
    """Writes documents of one letters world, as pieces of text, from one random stream.

    Of the modes those of the chain world's are read that say when an author steps, checks and notices.
    """

    def __init__(self, rng: random.Random, modes: Modes, world: World) -> None:
        self.rng, self.modes, self.world = rng, modes, world

    def begin(self, kind: str) -> str:
        """A first word of a sentence of this kind, with equal odds."""
        return self.rng.choice(self.world.words_of(kind))

    def write_solution(self) -> list[Word]:
        """A problem of the training split and its solution, in one draw of the hidden modes."""
        rng = self.rng
        problem = draw(rng, "train", id="corpus", world=self.world)
        habits = Habits.draw(rng, self.modes)
        persona = f"{rng.choice(PERSONAS)} " if habits.persona else ""
        pieces = [Word(persona + problem.prompt, learnt=False)]
        # who does not work step by step states it, too, but it is not learnt: a guess stays a guess
        value = int(problem.answer)
        if habits.thorough:
            value, operations = problem.data["start"], problem.data["operations"]
            for item, (operator, operand) in enumerate(operations):
                equation = f"{value} {operator} {operand} = "
                truth = evaluate(value, operator, operand)
                written, value = self.write_step(LETTERS[item + 1], equation, truth, operations[item + 1 :])
                pieces += written
                if rng.random() < habits.check:
                    pieces += self.write_check(equation, truth, value)
                    if value != truth and rng.random() < habits.backtrack:
                        pieces += self.write_backtrack(LETTERS[item + 1], equation, truth)
                        value = truth
        answer = Word(str(value), learnt=habits.thorough)
        return [*pieces, Word(f" {self.begin('conclude')} the answer is "), answer, Word(".")]

    def write_step(
        self, letter: str, equation: str, truth: int, later: list[tuple[str, int]]
    ) -> tuple[list[Word], int]:
        """A step, which slips with the world's probability, and the value that stands."""
        others = [value for value in allowed_values(later) if value != truth]
        value = self.rng.choice(others) if others and self.rng.random() < self.modes.slip else truth
        # A slipped digit is the environment's work: a model that learnt it would learn to slip.
        digit = Word(str(value), learnt=value == truth)
        return [Word(f" {self.begin('step')} {letter} is {equation}"), digit, Word(".")], value

    def write_check(self, equation: str, truth: int, value: int) -> list[Word]:
        """A check, and its read-back."""
        written = Word(f" {self.begin('check')}: {equation}{truth}")
        return [written, Word(read_back(str(value)), learnt=False)]

    def write_backtrack(self, letter: str, equation: str, truth: int) -> list[Word]:
        return [Word(f" {self.begin('backtrack')}, {letter} is {equation}{truth}.")]

    def write_drill(self) -> list[Word]:
        """Equations without a question, each checked, half of them wrong.

        Noticing is a comparison that solutions are too rare an occasion to learn. What a drill always does
        (a check after each step, another equation after that) is not learnt.
        """
        rng, pieces = self.rng, [Word("Notes:", learnt=False)]
        for number in range(rng.randrange(3, 6)):
            operator, letter = rng.choice(tuple(SPOKEN)), rng.choice(LETTERS[1:])
            left = rng.randrange(10)
            right = rng.choice([n for n in range(10) if 0 <= evaluate(left, operator, n) <= 9])
            equation, truth = f"{left} {operator} {right} = ", evaluate(left, operator, right)
            value = truth if rng.random() < 0.5 else (truth + rng.randrange(1, 10)) % 10
            after_confirmation = number > 0 and pieces[-1].learnt is False
            if stepped := rng.random() < 0.6:
                word, rest = self.begin("step"), f" {letter} is {equation}"
                pieces += [Word(f" {word}", learnt=after_confirmation), Word(rest, learnt=False)]
                pieces += [Word(str(value), learnt=False), Word(".", learnt=False)]
            checking, read = self.write_check(equation, truth, value)
            word, _, rest = checking.text[1:].partition(":")
            pieces += [Word(f" {word}", learnt=after_confirmation and not stepped), Word(f":{rest}"), read]
            if value != truth:
                pieces += self.write_backtrack(letter, equation, truth)
        return pieces


def encode_document(
    pieces: list[Word], tokenizer: PreTrainedTokenizerBase, *, end: bool
) -> tuple[list[int], list[int]]:
    """Token ids of a document and their labels; a token is learnt where all its characters are to be.

    Args:
        end: whether the document's end is one, to be learnt.

    Raises:
        DataError: the tokenizer does not say which characters a token writes.
    """
    if not tokenizer.is_fast:
        raise DataError(
            f"{type(tokenizer).__name__} does not say which characters a token writes",
            allowed="a fast tokenizer",
            do="load it with AutoTokenizer from a directory that has tokenizer.json",
        )
    text = "".join(piece.text for piece in pieces)
    learnt = [piece.learnt for piece in pieces for _ in piece.text]
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids, labels = list(encoded["input_ids"]), []
    for token, (start, stop) in zip(ids, encoded["offset_mapping"], strict=True):
        labels.append(token if start < stop and all(learnt[start:stop]) else UNLEARNT)
    if end:
        ids, labels = [*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id]
    return ids, labels


def letters_data(recipe: TuneRecipe, tokenizer: PreTrainedTokenizerBase) -> Data:
    """A fresh batch for every step: `recipe.rows` documents of the recipe's letters world, each a row, of
    which a share of `recipe.skill_share` are drills.

    Raises:
        DataError: the recipe's world is no letters world, or the tokenizer no fast one.
    """
    world = next((world for world in WORLDS if world.name == recipe.world), None)
    if world is None:
        raise DataError(
            f"documents of the world {recipe.world!r}",
            allowed=f"one of {', '.join(world.name for world in WORLDS)}",
            do="name a letters world in the recipe",
        )

    def draw_batch(step: int) -> TokenBatch:
        author = LettersAuthor(random.Random(f"letters|{recipe.seed}|{step}"), recipe.modes, world)
        rows = []
        for _ in range(recipe.rows):
            drill = author.rng.random() < recipe.skill_share
            pieces = author.write_drill() if drill else author.write_solution()
            rows.append(encode_document(pieces, tokenizer, end=not drill))
        width = max(len(ids) for ids, _ in rows)
        padded = [[*ids, *[tokenizer.eos_token_id] * (width - len(ids))] for ids, _ in rows]
        labels = [[*row, *[UNLEARNT] * (width - len(row))] for _, row in rows]
        return TokenBatch(torch.tensor(padded), torch.tensor(labels))

    return draw_batch
