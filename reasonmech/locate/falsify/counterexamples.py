"""Counterexamples: texts that somebody wrote to part a feature from its behaviour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.falsify.finding import AttemptFinding, Candidates, outcome_above
from reasonmech.locate.falsify.texts import Encode, Example, Generator, read_examples
from reasonmech.ranges import Positive, Seed
from reasonmech.stats import auroc

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.hosts import Host


@checked
@final
@dataclass(frozen=True, eq=False)
class Counterexamples:
    """AUROC over adversarial examples: the words without the context, and the context without the words.

    After the counterexamples by a language model of Ma et al. 2026 (arXiv 2601.05679), which count how many
    of a few texts fool a feature; ours values all of them, positive and negative, with an interval, and names
    the kind of text that fools it most.

    Attributes:
        host: the model whose coder is read.
        generator: who writes them (`organisms.ChainExamples` for chain worlds, `LLMGenerator` for a language
            model).
        n: how many.
        seed: of the generator.
        floor: AUROC that the whole interval must exceed; rung C1 of the ladder of claims asks for 0.7.
    """

    host: Host
    generator: Generator
    n: Positive = 200
    seed: Seed = 0
    floor: float = 0.7

    @property
    def name(self) -> str:
        return "counterexamples"

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One per feature.

        Raises:
            DataError: the generator wrote examples of one kind only, or of fewer than 5 problems.
        """
        examples = self.generator.examples(self.n, seed=self.seed)
        if len({example.positive for example in examples}) < 2:
            raise DataError(
                f"{len(examples)} examples, all "
                f"{'positive' if examples and examples[0].positive else 'negative'}",
                do="have the generator write both: a feature that never fires has no false positives either",
            )
        values = read_examples(self.host, examples, coder, features=candidates.features)
        positive = np.array([example.positive for example in examples])
        problem = np.array([example.problem for example in examples])
        why = np.array([example.why for example in examples], dtype=object)
        findings = []
        for column, feature in zip(values.T, candidates.features, strict=True):
            interval = auroc(column, positive, problem)
            worst = _most_deceptive(column, positive, why)
            reason = f"AUROC {interval} over {len(examples)} of them, floor {self.floor:g}; {worst}"
            outcome = outcome_above(interval, self.floor)
            findings.append(
                AttemptFinding(feature, self.name, outcome, reason, "AUROC", *interval[:3], "AUROC")
            )
        return findings


def _most_deceptive(values: np.ndarray, positive: np.ndarray, why: np.ndarray) -> str:
    """The kind of negative that comes closest to the positives."""
    typical = float(np.median(values[positive]))
    # where most positives are silent their median is 0, which every negative reaches
    reached = values >= typical if typical > 0 else values > 0
    shares = {
        kind: float(reached[~positive & (why == kind)].mean()) for kind in np.unique(why[~positive]).tolist()
    }
    worst = max(shares, key=shares.__getitem__)
    reach = "reach half of the positives"
    if typical <= 0:
        reach = "make it fire, as fewer than half of the positives do"
    return f"most deceptive: {worst!r}, {shares[worst]:.0%} of which {reach}"


@checked
@final
@dataclass(frozen=True, eq=False)
class LLMGenerator:
    """A generator that asks a language model for texts, one per line.

    What it answers is taken at its word: whether a text shows the behaviour is what was asked for, not what
    was checked. Have somebody read some of them.

    Attributes:
        ask: prompt to answer; any client of any model, or a human.
        encode: the host's tokenizer, `host.encode`.
        behaviour: what the texts are about, in words ("the author finds a contradiction").
        words: cue words that negatives must hold and positives must not.
    """

    ask: Callable[[str], str]
    encode: Encode
    behaviour: str
    words: tuple[str, ...]

    @checked
    def examples(self, n: Positive, *, seed: Seed) -> Sequence[Example]:
        """n examples, half of each kind, read from their second token on; each is a problem of its own.

        The first token, a BOS where the tokenizer has one, is where attention sinks and activations are out
        of all proportion: the largest of a text would often be that one.

        Raises:
            DataError: fewer lines than asked for, or one of a single token.
        """
        quoted = ", ".join(repr(word) for word in self.words)
        requests = (
            (True, f"in which {self.behaviour}, without the words {quoted}"),
            (False, f"that use the words {quoted}, and in which it is not the case that {self.behaviour}"),
        )
        examples: list[Example] = []
        first = max(1, len(self.encode("")))
        for positive, what in requests:
            count = (n + positive) // 2
            answer = self.ask(
                f"Write {count} different short texts {what}. One per line, nothing else. Set {seed}."
            )
            lines = [line.strip() for line in answer.splitlines() if line.strip()]
            if len(lines) < count:
                raise DataError(
                    f"{len(lines)} of {count} texts were written", do="ask for fewer, or another model"
                )
            for i, line in enumerate(lines[:count]):
                ids = tuple(self.encode(line))
                if len(ids) <= first:
                    raise DataError(
                        f"text {line!r} has {len(ids)} tokens", allowed=f"more than {first}", do="ask again"
                    )
                why = "the context without the words" if positive else "the words without the context"
                problem = f"asked/{seed}/{positive:d}/{i}"
                examples.append(Example(problem, ids, first, len(ids), positive, why))
        return examples
