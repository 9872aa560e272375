"""2 x 2 test of cue by context: what a feature responds to, against texts with anything inserted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from reasonmech.door import checked
from reasonmech.locate.falsify.effects import EFFECTS
from reasonmech.locate.falsify.finding import AttemptFinding, Candidates, Outcome
from reasonmech.locate.falsify.rule import BEYOND_ITS_CUE, Driven, DriverRule, classify
from reasonmech.locate.falsify.texts import CrossedText, read_cells

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.hosts import Host


@checked
@final
@dataclass(frozen=True, eq=False)
class Crossed:
    """Claim C2, beyond its cue tokens: paired texts {neutral, behaviour} x {nothing, cue, placebo inserted}.

    After the token injection of Ma et al. 2026 (arXiv 2601.05679), which compares injected with plain neutral
    texts; ours has the behaviour's context as well, a placebo, pairs, matched positions, and joint intervals.
    Features that the context, or the cue in it, makes fire survive; those that it silences are refuted; what
    is mixed or inconclusive is undecided.

    Attributes:
        host: the model whose coder is read.
        texts: texts in six versions.
        rule: thresholds.
        before: tokens ahead of the slot that are read as well (see `read_cells`).
    """

    host: Host
    texts: Sequence[CrossedText]
    rule: DriverRule = field(default_factory=DriverRule)
    before: int = 1

    @property
    def name(self) -> str:
        return "cue x context"

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One per feature; the number is its leading effect."""
        cells = read_cells(self.host, self.texts, coder, features=candidates.features, before=self.before)
        driven = classify(cells, scale=candidates.mean_active, rule=self.rule)
        pairs = zip(candidates.features, driven, strict=True)
        return [self._finding(feature, answer) for feature, answer in pairs]

    def _finding(self, feature: int, driven: Driven) -> AttemptFinding:
        i = EFFECTS.index(driven.leading)
        number = float(driven.value[i]), float(driven.low[i]), float(driven.high[i]), "mean activations"
        outcome: Outcome = "survives" if driven.driver in BEYOND_ITS_CUE else "refuted"
        reason = driven.reason
        if driven.driver in ("mixed", "inconclusive"):
            outcome = "undecided"
        elif outcome == "survives" and driven.value[i] < 0:
            outcome, reason = "refuted", f"silenced where the behaviour is due; {reason}"
        return AttemptFinding(feature, self.name, outcome, reason, f"effect: {driven.leading}", *number)
