"""TriggerSwap: does a feature follow what is done, or the word that usually says so?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

from reasonmech.errors import DataError
from reasonmech.locate.falsify.corpus import Corpus
from reasonmech.locate.falsify.finding import AttemptFinding, Candidates, Outcome
from reasonmech.rollout import Rollout
from reasonmech.stats import auroc

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.labels import Labels

CHANCE: Final = 0.5


@final
@dataclass(frozen=True, eq=False)
class TriggerSwap:
    """On text in which another word marks the behaviour: AUROC of the function against AUROC of the old word.

    A feature survives when its AUROC for the behaviour lies above its AUROC for the word, intervals apart,
    and above 1/2; it is refuted when it lies below the word's, or nowhere above 1/2: what follows neither is
    about neither. The text comes from a model whose trigger was swapped (tiny-swap), or from `swap_words`.

    Attributes:
        corpus: the swapped text, labelled by what is done.
        word: labels of the same rollouts, positive where the old trigger word stands, or is about to.
    """

    corpus: Corpus
    word: Labels

    @property
    def name(self) -> str:
        return "trigger swap"

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One per feature, on all problems: nothing is fitted here."""
        sides = (self.corpus, replace(self.corpus, labels=self.word))
        values = [side.read(coder, candidates.features) for side in sides]
        findings = []
        for i, feature in enumerate(candidates.features):
            function, word = (
                auroc(activations[:, i], side.labels.positive, side.labels.problem)
                for activations, side in zip(values, sides, strict=True)
            )
            outcome: Outcome = "undecided"
            if function.high < word.low or function.high <= CHANCE:
                outcome = "refuted"
            elif function.low > max(word.high, CHANCE):
                outcome = "survives"
            reason = (
                f"with the trigger swapped, AUROC {function} for what is done and {word} for the old word"
            )
            number = "AUROC of the function", *function[:3], "AUROC"
            findings.append(AttemptFinding(feature, self.name, outcome, reason, *number))
        return findings


def swap_words(rollouts: Sequence[Rollout], words: Mapping[int, int]) -> list[Rollout]:
    """The same rollouts with some generated tokens replaced, one for one: `labels.on(swapped)` are theirs.

    Args:
        words: token id -> the one that takes its place; give both directions for an exchange.

    Raises:
        DataError: none of the tokens occurs.
    """
    swapped = [replace(r, ids=tuple(words.get(token, token) for token in r.ids)) for r in rollouts]
    if all(new.ids == old.ids for new, old in zip(swapped, rollouts, strict=True)):
        raise DataError(
            f"none of the tokens {sorted(words)} occurs in {len(rollouts)} rollouts",
            do="give ids as the tokenizer has them inside a sentence, blanks included",
        )
    return swapped
