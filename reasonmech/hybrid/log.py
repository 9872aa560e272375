"""What a hybrid's controller decided, and how many bits that takes to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log, log2, nan
from typing import Any, NamedTuple, Protocol, final

from jaxtyping import Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hybrid.parts import Moment
from reasonmech.kinds import Kinds, sentence_starts
from reasonmech.pairwise.distances import kl
from reasonmech.rollout import Rollout
from reasonmech.shapes import NextLogits


class OpenGate(NamedTuple):
    """One open gate.

    Attributes:
        category: that the selector named.
        token_bits: -log2 of the base's probability of the thinking model's token: what handing it over takes.
        handed_over: whether the executor hands that token over.
        base_token: that the base would have written by itself; -1 in logs older than this.
        kl: KL(steered || base) of the next token [nats]: how far the executor moved the base; NaN in logs
            older than this.
    """

    category: int
    token_bits: float
    handed_over: bool
    base_token: int = -1
    kl: float = nan


class ChoiceLog(Protocol):
    """What is told what a controller decided."""

    def record(
        self,
        moment: Moment,
        rows: Int[Tensor, " row"],
        category: Int[Tensor, " row"],
        steered: NextLogits,
        *,
        handed_over: bool = False,
    ) -> None:
        """Write down the rows at which the gate is open: category, and what steering did to their logits."""
        ...


@final
class ControllerLog:
    """Open gates of a run of a hybrid: (problem id, sample, number of the generated token) -> choice.

    Those at tokens that the environment then wrote are among them; whoever reads a log goes by the rollouts.

    Attributes:
        categories: names of the selector's categories; () where they are the kinds of the hybrid.
    """

    @checked
    def __init__(self, categories: Sequence[str] = ()) -> None:
        self.choices: dict[tuple[str, int, int], OpenGate] = {}
        self.categories = tuple(categories)

    def __repr__(self) -> str:
        return f"ControllerLog({len(self.choices)} open gates)"

    def to_json(self) -> list[list[object]]:
        """A row per open gate: problem id, sample, offset, and what `OpenGate` has."""
        return [[*where, *choice] for where, choice in self.choices.items()]

    @classmethod
    def from_json(cls, rows: Iterable[Sequence[Any]]) -> ControllerLog:
        """What `to_json` gave."""
        log = cls()
        for problem, sample, offset, *choice in rows:
            log.choices[problem, sample, offset] = OpenGate(*choice)
        return log

    @checked
    def record(
        self,
        moment: Moment,
        rows: Int[Tensor, " row"],
        category: Int[Tensor, " row"],
        steered: NextLogits,
        *,
        handed_over: bool = False,
    ) -> None:
        """Write down the rows at which the gate is open: category, and what steering did to their logits."""
        on_device = rows.to(moment.base.device)
        tokens = moment.thinking_choice[rows].to(moment.base.device)
        base = moment.base[on_device].float().log_softmax(-1)
        bits = (-base.gather(1, tokens[:, None])[:, 0] / log(2)).cpu()
        moved = kl(steered.to(base).float().log_softmax(-1), base).tolist()
        instead = moment.base_choice[rows].tolist()
        for i, row in enumerate(rows.tolist()):
            info = moment.rows[row]
            offset = int(moment.position[row]) - info.draw_start
            self.choices[info.problem.id, info.sample, offset] = OpenGate(
                int(category[i]), float(bits[i]), handed_over, instead[i], moved[i]
            )

    @checked
    def at(self, rollout: Rollout, offset: int) -> OpenGate:
        """The choice at a steered token. Raises DataError where the rollout is of another run."""
        choice = self.choices.get((rollout.problem.id, rollout.sample, offset))
        if choice is None:
            raise DataError(
                f"no open gate was logged at token {offset} of problem {rollout.problem.id!r}",
                do="read a log beside the rollouts that were written with it",
            )
        return choice


def steered_offsets(rollout: Rollout) -> list[int]:
    """Generated tokens that the model chose with an open gate."""
    flags = zip(rollout.steered, rollout.by_environment, strict=True)
    return [t for t, (steered, written) in enumerate(flags) if steered and not written]


class Bits(NamedTuple):
    """Bits that a controller passes to the base, per rollout.

    Attributes:
        gate: of whether to steer, at every token that the model chose.
        choice: of which category, at every open gate; of which token, where tokens are handed over.
    """

    gate: float
    choice: float

    @property
    def total(self) -> float:
        return self.gate + self.choice


def bits_passed(rollouts: Sequence[Rollout], controller: ControllerLog, kinds: Kinds) -> Bits:
    """Length of the controller's message under the best code that knows the arm's own rates.

    A gate costs -log2 of the arm's rate of that decision, with one rate where a sentence begins and one
    elsewhere (the base knows which of the two it is); a category -log2 of its share among the arm's
    categories. Where the thinking model's token is handed over, that costs -log2 of the base's probability of
    it, in place of the category. Both codes are fitted to the very decisions that they code, so that a code
    of a fixed rate needs more; and the decisions of a blind controller, which passes nothing, have a length
    too.
    """
    gates: Counter[tuple[bool, bool]] = Counter()
    choices: list[OpenGate] = []
    for rollout, starts in zip(rollouts, sentence_starts(kinds, [r.ids for r in rollouts]), strict=True):
        opened = set(steered_offsets(rollout))
        choices += [controller.at(rollout, offset) for offset in sorted(opened)]
        for offset, written in enumerate(rollout.by_environment):
            if not written:
                gates[bool(starts[offset]), offset in opened] += 1
    gate = sum(code_length(gates[start, is_open] for is_open in (False, True)) for start in (False, True))
    of_tokens = sum(choice.token_bits for choice in choices if choice.handed_over)
    categories = Counter(choice.category for choice in choices if not choice.handed_over)
    return Bits(gate / len(rollouts), (of_tokens + code_length(categories.values())) / len(rollouts))


def code_length(counts: Iterable[int]) -> float:
    """Bits that say in which order outcomes of these counts come: n H(counts / n)."""
    seen = [n for n in counts if n]
    total = sum(seen)
    return sum(-n * log2(n / total) for n in seen)
