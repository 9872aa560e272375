"""Residualised: what is left of a detector when rows are compared only with rows that read the same token."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, final

import numpy as np

from reasonmech.locate.falsify.corpus import Corpus
from reasonmech.locate.falsify.finding import Candidates, Finding, against
from reasonmech.stats import MIN_PROBLEMS, auroc
from reasonmech.stats.auroc import comparable

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder


@final
@dataclass(frozen=True, eq=False)
class Residualised:
    """AUROC within tokens: P(activation at a positive > at a negative that reads the same token), over all
    such pairs.

    Nothing is fitted, so it works for as many tokens as a vocabulary has, those that training never saw
    included. (An activation less its token's mean has ranks that still know the token: one that fires on 95 %
    of the "wait" lies slightly above its mean there and slightly below it elsewhere.) Where every row reads
    one token, such as the end of a sentence, it is the plain AUROC. Where no token is read both at a positive
    and at a negative in at least five held-out problems each, the token explains all that there is, and the
    feature is undecided.

    Attributes:
        corpus: labelled text.
        floor: AUROC that the whole interval must exceed.
    """

    corpus: Corpus
    floor: float = 0.6

    @property
    def name(self) -> str:
        return "token residual"

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[Finding]:
        """One per feature, valued on held-out problems."""
        corpus, held = self.corpus, self.corpus.held
        values = corpus.read(coder, candidates.features)[held]
        token = corpus.known["delimiter"].to_numpy()[held]
        positive, problem = corpus.labels.positive[held], corpus.labels.problem[held]
        shared = comparable(positive, token)
        problems = min(len(np.unique(problem[shared & kind])) for kind in (positive, ~positive))
        found = []
        for column, feature in zip(values.T, candidates.features, strict=True):
            whole = auroc(column, positive, problem)
            if problems < MIN_PROBLEMS:
                reason = (
                    f"in {problems} problems a token is read at both kinds of row:"
                    " it tells them apart by itself"
                )
                found.append(
                    Finding(feature, self.name, "undecided", reason, "AUROC", nan, nan, nan, "AUROC")
                )
                continue
            rest = auroc(column, positive, problem, within=token)
            reason = (
                f"AUROC {rest} among rows that read the same token ({shared.mean():.0%} of them can be "
                "compared), "
                f"{whole} among all; floor {self.floor:g}"
            )
            found.append(
                Finding(feature, self.name, against(rest, self.floor), reason, "AUROC", *rest[:3], "AUROC")
            )
        return found
