"""OnsetTable: what an intervention does to the onset of every kind of sentence, not of its own alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any, Final, final

import numpy as np

from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.moments import BehaviourMoments, Onsets, Response
from reasonmech.experiments.stages.study_trials import Testbed, Trial
from reasonmech.stats import CONTRAST, MIN_PROBLEMS, SHARE, mean_interval

DRAWS: Final = 500  # bootstrap draws per interval: there are thousands of them
EVERY: Final = "all"
WRITTEN: Final = "where written"
COLUMNS: Final = {
    "behaviour": "whose features are written",
    "host": "base or thinking",
    "verb": "clamp or ablate",
    "place": "at opportunities of the behaviour, or elsewhere: at the other sentence boundaries",
    "arm": "located, a random group, or another control",
    "dose": "multiple of the mean activation; NaN for an ablation and for what is matched in KL",
    "onset": "kind of sentence that could begin there",
    "among": "all: every such moment; where written: those at which the author began that kind",
    "n_moments": "how many moments",
    "n_problems": "in how many problems",
    "untouched": "P(onset) without the intervention, mean over problems",
    "value": "with it",
    "low": "lower end of its 95 % interval, by problem",
    "high": "upper end",
    "change": "value less untouched, paired",
    "change.low": "lower end of its 95 % interval, by problem",
    "change.high": "upper end",
}


def onset_rows(
    tags: Mapping[str, Any],
    names: Sequence[str],
    moments: BehaviourMoments,
    *,
    untouched: np.ndarray,
    touched: np.ndarray,
) -> Iterator[dict[str, Any]]:
    """One row per kind and kind of moment, with the columns of `COLUMNS`.

    A kind that its author began in fewer than five problems has no row for where it is written.

    Args:
        tags: the first six columns.
        untouched, touched: [moment, kind] log-probabilities, without the intervention and with it.
    """
    problems, written = moments.problems, moments.written
    before, after = np.exp(untouched), np.exp(touched)
    for column, name in enumerate(names):
        for among, rows in ((EVERY, np.ones(len(problems), bool)), (WRITTEN, written == name)):
            n_problems = len(np.unique(problems[rows]))
            if n_problems < MIN_PROBLEMS:
                continue
            of_rows, old, new = problems[rows], before[rows, column], after[rows, column]
            value = mean_interval(new, of_rows, bounds=SHARE, draws=DRAWS)
            change = mean_interval(new - old, of_rows, bounds=CONTRAST, draws=DRAWS)
            yield dict(tags) | {
                "onset": name,
                "among": among,
                "n_moments": int(rows.sum()),
                "n_problems": n_problems,
                "untouched": value.estimate - change.estimate,
                "value": value.estimate,
                "low": value.low,
                "high": value.high,
                "change": change.estimate,
                "change.low": change.low,
                "change.high": change.high,
            }


@final
class EveryOnset:
    """The rows of a study: every trial on every onset, beside the same host untouched at the same moments."""

    def __init__(self, context: StageContext) -> None:
        self.rows: list[dict[str, Any]] = []
        self._task = context.problems.task
        self._onsets: dict[str, Onsets] = {}
        self._untouched: dict[tuple[str, str, str], np.ndarray] = {}

    def of(self, bed: Testbed) -> Onsets:
        """The onsets of a side's host, made once."""
        if bed.side not in self._onsets:
            self._onsets[bed.side] = Onsets.of(bed.host, self._task)
        return self._onsets[bed.side]

    def add(self, trial: Trial, response: Response) -> None:
        """Keep an untouched host, or write what a trial changed of one.

        A trial whose untouched host is missing has no rows.
        """
        assert response.log_shares is not None
        bed, tags = trial.testbed, trial.condition.tags
        key = (bed.side, bed.moments.behaviour, bed.moments.place)
        if not trial.plan:
            self._untouched[key] = response.log_shares
        elif (before := self._untouched.get(key)) is not None:
            columns = {name: tags[name] for name in ("behaviour", "verb", "place", "arm")}
            columns |= {"host": bed.side, "dose": tags.get("dose", nan)}
            names = self.of(bed).names
            self.rows += onset_rows(
                columns, names, bed.moments, untouched=before, touched=response.log_shares
            )
