"""Residualised: what is left of a detector when rows are compared only with rows that read the same token."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, final

import numpy as np

from reasonmech.door import checked
from reasonmech.locate.falsify.corpus import Corpus
from reasonmech.locate.falsify.finding import AttemptFinding, Candidates, outcome_above
from reasonmech.stats import MIN_PROBLEMS, auroc
from reasonmech.stats.auroc import comparable

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder


@checked
@final
@dataclass(frozen=True, eq=False)
class Residualised:
    """AUROC within tokens: P(activation at a positive > at a negative that reads the same token).

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

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One per feature, valued on held-out problems."""
        corpus, test = self.corpus, self.corpus.held_out
        values = corpus.read(coder, candidates.features)[test]
        token = corpus.known["delimiter"].to_numpy()[test]
        positive, problem = corpus.labels.positive[test], corpus.labels.problem[test]
        shared = comparable(positive, token)
        n_problems = min(len(np.unique(problem[shared & kind])) for kind in (positive, ~positive))
        findings = []
        for column, feature in zip(values.T, candidates.features, strict=True):
            overall = auroc(column, positive, problem)
            if n_problems < MIN_PROBLEMS:
                reason = (
                    f"in {n_problems} problems a token is read at both kinds of row:"
                    " it tells them apart by itself"
                )
                number = "AUROC", nan, nan, nan, "AUROC"
                findings.append(AttemptFinding(feature, self.name, "undecided", reason, *number))
                continue
            within = auroc(column, positive, problem, within=token)
            reason = (
                f"AUROC {within} among rows that read the same token ({shared.mean():.0%} of them can be "
                f"compared), {overall} among all; floor {self.floor:g}"
            )
            outcome, number = outcome_above(within, self.floor), ("AUROC", *within[:3], "AUROC")
            findings.append(AttemptFinding(feature, self.name, outcome, reason, *number))
        return findings
