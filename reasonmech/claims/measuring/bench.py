"""Bench: a pair, the problems it is judged on, and every text that is written about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from reasonmech.claims.evidence import Decoding
from reasonmech.claims.measuring.extent import Extent
from reasonmech.claims.measuring.questions import Questions
from reasonmech.claims.measuring.runs import Runs
from reasonmech.claims.measuring.self_splice import Watched
from reasonmech.hosts import Host, ModelPair
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks import grade

Role = Literal["base", "thinking"]
ROLES: Final[tuple[Role, ...]] = ("base", "thinking")
CELL_ROLES: Final[dict[str, tuple[Role, Role]]] = {
    "bb": ("base", "base"),
    "bt": ("base", "thinking"),
    "tb": ("thinking", "base"),
    "tt": ("thinking", "thinking"),
}
_BATCH: Final = 256


@final
@dataclass(frozen=True, eq=False)
class Bench:
    """A pair on its problems. Every run has the same problems, seed and noise; its name says what it is.

    Attributes:
        notes: what a reader of the verdict must know, as it comes up.
    """

    pair: ModelPair
    questions: Questions
    extent: Extent
    runs: Runs
    notes: list[str] = field(default_factory=list)
    _graded: dict[Rollouts, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _alike: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)  # by free run

    @property
    def problems(self) -> ProblemSet:
        """Those that the pair is judged on."""
        return self.questions.judged

    @cached_property
    def is_one_model(self) -> bool:
        """Whether both models are the same in everything that decides their numbers."""
        return self.pair.base.fingerprint == self.pair.thinking.fingerprint

    def host(self, role: Role) -> Host:
        return self.pair.thinking if self._who(role) == "thinking" else self.pair.base

    def _who(self, role: Role) -> Role:
        """The model that is run for a role: of two that are one, the base."""
        return "base" if self.is_one_model else role

    def decode(self, decoding: Decoding, *, temperature: float = 1.0) -> Decode:
        """How tokens are chosen in every arm of a decoding."""
        greedy = decoding == "greedy"
        return Decode(
            max_new_tokens=self.extent.max_new_tokens,
            temperature=0.0 if greedy else temperature,
            samples=1 if greedy else self.extent.samples,
            seed=self.questions.seed,
            batch_size=_BATCH,
        )

    def note(self, text: str) -> None:
        """Say something to whoever reads the verdict, once."""
        if text not in self.notes:
            self.notes.append(text)

    def write(self, name: str, decoder: Host | Decoder, decode: Decode) -> Rollouts:
        """The problems, answered by a decoder; kept under this name."""
        rows = len(self.problems) * decode.samples
        return self.runs.rollouts(name, lambda: write_texts(decoder, self.problems, decode), rows=rows)

    def free(self, role: Role, decoding: Decoding) -> Rollouts:
        """What a model writes by itself."""
        return self._free(self._who(role), decoding)[0]

    def _free(self, who: Role, decoding: Decoding) -> tuple[Rollouts, np.ndarray]:
        """A model's free run, and which of its rows [row] its splice with itself would write alike."""
        name, host = f"{decoding}.free.{who}", self.host(who)
        if name not in self._alike:
            watched = Watched(splice(onset=host, executor=host, task=self.problems.task))
            rows = len(self.write(name, watched, self.decode(decoding)))
            kept = self.runs.arrays(f"{decoding}.alike.{who}", lambda: {"alike": watched.alike(rows)}, rows=0)
            self._alike[name] = kept["alike"]
        return self.write(name, host, self.decode(decoding)), self._alike[name]

    def spliced(self, cell: str, decoding: Decoding) -> Rollouts:
        """One cell of the factorial; rows of a free run that its splice would write are taken over."""
        onset, executor = map(self._who, CELL_ROLES[cell])
        decode = self.decode(decoding)
        rows = len(self.problems) * decode.samples

        def make() -> Rollouts:
            decoder = splice(onset=self.host(onset), executor=self.host(executor), task=self.problems.task)
            if onset != executor:
                return write_texts(decoder, self.problems, decode)
            free, alike = self._free(onset, decoding)
            written = self.write_again(free, decoder, decode, ~alike)
            return Rollouts(written.rollouts, task=written.task, writer=decoder.writer)

        return self.runs.rollouts(f"{decoding}.{onset}-{executor}", make, rows=rows)

    def write_again(
        self, rollouts: Rollouts, decoder: Host | Decoder, decode: Decode, again: np.ndarray
    ) -> Rollouts:
        """The same rollouts, those marked [row] written again by a decoder."""
        samples = decode.samples
        marked = np.flatnonzero(again.reshape(-1, samples).any(axis=1))
        if not marked.size:
            return rollouts
        subset = ProblemSet(
            [self.problems[int(i)] for i in marked],
            task=self.problems.task,
            environment=self.problems.environment,
        )
        written = write_texts(decoder, subset, decode)
        merged = list(rollouts)
        for position, i in enumerate(marked.tolist()):
            for sample in range(samples):
                row = i * samples + sample
                if again[row]:
                    merged[row] = written[position * samples + sample]
        return Rollouts(merged, task=rollouts.task, writer=rollouts.writer)

    def graded(self, rollouts: Rollouts) -> Bool[np.ndarray, " row"]:
        """Whether each answer is right, by the task's own grader; what was cut off is wrong."""
        if rollouts not in self._graded:
            self._graded[rollouts] = grade(rollouts)
        return self._graded[rollouts]

    def right(self, rollouts: Rollouts) -> Float[np.ndarray, " problem"]:
        """Shares of right answers."""
        return self.by_problem(self.graded(rollouts))

    def by_problem(self, values: ArrayLike) -> Float[np.ndarray, " problem"]:
        """Means over the samples of each problem of values [row]."""
        return np.asarray(values, dtype=np.float64).reshape(len(self.problems), -1).mean(axis=1)


def write_texts(decoder: Host | Decoder, problems: ProblemSet, decode: Decode) -> Rollouts:
    """Answers to problems, without a bar or a receipt of their own."""
    return generate(decoder, problems, decode=decode, progress=False, receipt="none")
