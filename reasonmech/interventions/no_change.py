"""No change: an intervention that changed nothing in a run is an error that names its cause."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reasonmech.errors import NoChangeError
from reasonmech.interventions.intervention import Intervention
from reasonmech.receipt import ReceiptLine

_RESULT: Final = "what was computed is on the error's .result"
_ALLOW: Final = "a control that is meant to change nothing says so: .allow_no_change()"
_SIBLINGS: Final = (
    "Siblings may call a tag's token by other names: rm.interventions.inside(*pair.think_marks), or "
    "(word, id) for a word; "
)
_ADVICE: Final = {  # by verb, for an edit that leaves every token as it was
    "ablate": "ablate what is there: features that are active at these tokens, a value that differs",
    "clamp": "clamp to a value that differs from what is there",
    "scale": "scale what is there, features that are active at these tokens, by a factor other than 1",
    "steer": "steer by an amount other than 0, and by more than the stream's dtype rounds away",
    "patch": "patch from a source that differs at these tokens",
}


@dataclass(frozen=True)
class Silence:
    """A run that changed nothing: its plan as it was bound, its texts (token ids), and its result."""

    plan: Sequence[Intervention] = ()
    texts: Sequence[Sequence[int]] = ()
    result: object = None

    def why(self, number: int) -> str:
        """Why the mask of one intervention named no token of the texts; empty where nobody can tell."""
        why = self.plan[number].where.absence(self.texts) if self.plan and self.texts else ""
        return f" ({why})" if why else ""


def check_masked(plan: Sequence[Intervention], n_masked: Sequence[int], *, run: Silence) -> None:
    """Raise NoChangeError, with the result on it, when a mask named no token of a run."""
    for number, (intervention, n) in enumerate(zip(plan, n_masked, strict=True)):
        if n == 0 and not intervention.no_change_allowed:
            raise NoChangeError(
                f"{_name(intervention, number)} touched nothing: its mask {intervention.where} matched no"
                f" token of the run{run.why(number)}",
                allowed="a mask that names at least one token",
                do=f"look at the mask, and at the texts; {_ALLOW}; {_RESULT}",
                result=run.result,
            )


def check_changed(plan: Sequence[Intervention], lines: Sequence[ReceiptLine], *, run: Silence) -> None:
    """Raise NoChangeError, with the result on it, when an intervention changed nothing in a run.

    The cause is named: its mask matched no token, its gate never opened (or less often than required), or its
    edit left every token as it was.
    """
    check_masked(plan, [line.n_masked for line in lines], run=run)
    for number, (intervention, line) in enumerate(zip(plan, lines, strict=True)):
        _check_gated(intervention, number, line, run.result)
        if line.n_changed == 0 and not intervention.no_change_allowed:
            raise NoChangeError(
                f"{_name(intervention, number)} changed nothing: its gate was open at {line.n_gated} tokens,"
                " and its edit left the stream of each as it was",
                allowed="an edit that changes at least one token",
                do=f"{_ADVICE.get(intervention.verb, 'look at the edit')}; {_ALLOW}; {_RESULT}",
                result=run.result,
            )


def warn_idle(plan: Sequence[Intervention], *, run: Silence) -> None:
    """Warn where a part of a mask looked for words that a run has not, though the mask named tokens."""
    for number, intervention in enumerate(plan):
        for why in () if intervention.no_change_allowed else run.plan[number].where.idle(run.texts):
            warnings.warn(
                f"{_name(intervention, number)}: of its mask {intervention.where}, {why}. "
                f"{_SIBLINGS if intervention.where.words() else ''}{_ALLOW}",
                stacklevel=_levels_to_caller(),
            )


def _levels_to_caller() -> int:
    """The stacklevel, for who asks here, of the line that called this library: wrappers may lie between."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("reasonmech."):
        frame, level = frame.f_back, level + 1
    return level


def _check_gated(intervention: Intervention, number: int, line: ReceiptLine, result: object) -> None:
    required = max(intervention.require_gated, 0 if intervention.no_change_allowed else 1)
    if line.n_gated < required:
        why = " (require_gated)" if intervention.require_gated else ""
        changed = "too little" if line.n_gated else "nothing"
        raise NoChangeError(
            f"{_name(intervention, number)} changed {changed}: its gate was open at {line.n_gated} of"
            f" {line.n_masked} masked tokens",
            allowed=f"a gate that is open at {required} tokens or more{why}",
            do=f"look at the gate's threshold, and at what it reads; {_ALLOW}; {_RESULT}",
            result=result,
        )


def _name(intervention: Intervention, number: int) -> str:
    return f"{intervention.verb} at {intervention.site} (number {number} of the plan)"
