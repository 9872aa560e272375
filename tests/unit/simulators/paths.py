"""An answer key of another making: every path of digits written out, no states, no matrices, no tables."""

from __future__ import annotations

from collections.abc import Iterator

from reasonmech.simulators import Hazards, ReasonerWorld, Skills

Weighted = tuple[float, bool]


class Enumerator:
    """Walks all solutions of one problem; values are digits, and the true one is 0.

    `onset` and `execution` are pairs (base, thinking): in every sentence the second has its say with
    probability `shares`, which is branched on here and mixed nowhere.
    """

    def __init__(
        self,
        onset: tuple[Hazards, Hazards],
        execution: tuple[Skills, Skills],
        *,
        shares: tuple[float, float],
        world: ReasonerWorld,
    ) -> None:
        self.onset, self.execution, self.world = onset, execution, world
        self.onset_turns = [(p, h) for p, h in zip((1 - shares[0], shares[0]), onset, strict=True) if p]
        self.execution_turns = [
            (p, s) for p, s in zip((1 - shares[1], shares[1]), execution, strict=True) if p
        ]

    def accuracy(self) -> float:
        return sum(self.solve(items) for items in self.world.items) / len(self.world.items)

    def solve(self, items: int) -> float:
        return sum(p for p, right in self.walk(items, (), sentences=0) if right)

    def walk(self, items: int, path: tuple[tuple[str, int], ...], *, sentences: int) -> Iterator[Weighted]:
        """`path`: the sentences so far, as (kind, digit stated); the true digit of every equation is 0."""
        if sentences == self.world.max_sentences:
            yield 1.0, False
            return
        for turn, hazards in self.onset_turns:
            for p_kind, kind in self.decide(hazards, items, path):
                for p_skills, skills in self.execution_turns:
                    p = turn * p_kind * p_skills
                    if kind == "conclude":
                        right = self.conclude(skills, items, path)
                        yield p * right, True
                        yield p * (1 - right), False
                        continue
                    for q, digit in self.state(skills, kind):
                        extended = (*path, (kind, digit))
                        for rest, correct in self.walk(items, extended, sentences=sentences + 1):
                            yield p * q * rest, correct

    def decide(
        self, hazards: Hazards, items: int, path: tuple[tuple[str, int], ...]
    ) -> Iterator[tuple[float, str]]:
        serious = [sentence for sentence in path if sentence[0] != "uncertain"]
        last, value = serious[-1] if serious else ("", 0)
        offers = []
        if last == "check" and value != self.standing(path):
            offers.append(("backtrack", hazards.backtrack))
        if last == "step":
            offers.append(("check", hazards.check))
        if sum(kind == "step" for kind, _ in path) < items:
            offers.append(("step", hazards.step))
        offers.append(("conclude", hazards.conclude))
        undecided = 1.0
        for kind, hazard in offers:
            if hazard:
                yield undecided * hazard, kind
            undecided *= 1.0 - hazard
        if undecided > 0:
            yield undecided, "uncertain"

    def state(self, skills: Skills, kind: str) -> Iterator[tuple[float, int]]:
        """The digit that a sentence leaves, wrong ones equally likely."""
        wrong = range(1, self.world.digits)
        if kind == "uncertain":
            yield 1.0, -1
            return
        skill = {"step": skills.step, "check": skills.check, "backtrack": skills.backtrack}[kind]
        slip = self.world.slip if kind == "step" else 0.0
        for model, digit in [(skill, 0), *(((1.0 - skill) / len(wrong), d) for d in wrong)]:
            if model:
                yield model * (1.0 - slip), digit
                if slip:
                    yield from ((model * slip / len(wrong), d) for d in wrong)

    def standing(self, path: tuple[tuple[str, int], ...]) -> int:
        return [digit for kind, digit in path if kind in ("step", "backtrack")][-1]

    def conclude(self, skills: Skills, items: int, path: tuple[tuple[str, int], ...]) -> float:
        values: list[int] = []  # the value of each item as it stood when the next one began
        for kind, digit in path:
            if kind == "step":
                values.append(digit)
            elif kind == "backtrack":
                values[-1] = digit
        if len(values) < items:
            return skills.guess
        return skills.conclude if not any(values) else 0.0
