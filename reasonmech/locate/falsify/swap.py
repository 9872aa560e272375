"""TriggerSwap: does a feature follow what is done, or the word that usually says so?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

from reasonmech.errors import DataError
from reasonmech.locate.falsify.corpus import Corpus
from reasonmech.locate.falsify.finding import Candidates, Finding, Outcome
from reasonmech.rollout import Rollout
from reasonmech.stats import auroc

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.labels import Labels

CHANCE: Final = 0.5


@final
@dataclass(frozen=True, eq=False)
class TriggerSwap:
    """On text in which another word marks the behaviour: AUROC for the behaviour against AUROC for the old
    word.

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

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[Finding]:
        """One per feature, on all problems: nothing is fitted here."""
        deed = self.corpus
        said = replace(deed, labels=self.word)
        sides = [(corpus.labels, corpus.read(coder, candidates.features)) for corpus in (deed, said)]
        found = []
        for i, feature in enumerate(candidates.features):
            done, word = (auroc(values[:, i], labels.positive, labels.problem) for labels, values in sides)
            outcome: Outcome = "undecided"
            if done.high < word.low or done.high <= CHANCE:
                outcome = "refuted"
            elif done.low > max(word.high, CHANCE):
                outcome = "survives"
            reason = f"with the trigger swapped, AUROC {done} for what is done and {word} for the old word"
            found.append(
                Finding(feature, self.name, outcome, reason, "AUROC of the deed", *done[:3], "AUROC")
            )
        return found


def swap_words(rollouts: Sequence[Rollout], words: Mapping[int, int]) -> list[Rollout]:
    """The same rollouts with some generated tokens replaced by others, one for one: labels by offset stay
    valid.

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
