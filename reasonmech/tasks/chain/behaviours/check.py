"""check: a stated equation is evaluated again, beside the value that stands."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, stating


def unverified(previous: tuple[ChainSentence, ...]) -> bool:
    """A step was written and nothing has verified it yet."""
    last = stating(previous)
    return last is not None and last.relation == "establishes"


@final
class CheckBehaviour(ChainBehaviour):
    """Opportunity: a step that nothing has verified. Verified when the re-evaluation is right."""

    name = "check"

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.relation == "verifies"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        return unverified(previous)


behaviours.register("check")(CheckBehaviour())
