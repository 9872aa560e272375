"""Measure: everything that a verdict on a pair rests on, run by run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from reasonmech.claims.evidence import CELLS, DECODINGS, Decoding, Evidence, Outcomes, PerProblem
from reasonmech.claims.measuring.bench import ROLES, Bench
from reasonmech.claims.measuring.coalitions import N_COALITIONS, measure_coalitions
from reasonmech.claims.measuring.executing import FORCED, measure_execution
from reasonmech.claims.measuring.extent import Extent
from reasonmech.claims.measuring.integrity import check_integrity
from reasonmech.claims.measuring.leak import TOKENS, measure_leak
from reasonmech.claims.measuring.moments import N_ARMS, measure_moments
from reasonmech.claims.measuring.outcomes import measure_outcomes
from reasonmech.claims.measuring.questions import Questions
from reasonmech.claims.measuring.runs import Runs
from reasonmech.claims.measuring.temperature import measure_sharpening
from reasonmech.door import checked
from reasonmech.hosts import ModelPair
from reasonmech.printable import printable
from reasonmech.resumable import ResumableDirectory


@checked
def measure_evidence(
    pair: ModelPair,
    questions: Questions,
    *,
    extent: Extent,
    directory: ResumableDirectory | None = None,
    progress: bool = True,
) -> Evidence:
    """Run both models, their splices and their controls on the same problems, greedy and at T = 1.

    Args:
        extent: how much.
        directory: where runs are kept as they end, open for writing; None: nowhere.

    Raises:
        DataError: the task's kinds cannot be told in the pair's tokens.
    """
    with tqdm(total=_rows(extent), desc=printable(pair.name), unit="row", disable=not progress) as bar:
        bench = Bench(pair, questions, extent, Runs(directory, bar))
        outcomes: dict[Decoding, Outcomes] = {
            decoding: measure_outcomes(bench, decoding) for decoding in DECODINGS
        }
        sharpening = measure_sharpening(bench)
        evidence = Evidence(
            pair=pair.name,
            problems=tuple(problem.id for problem in questions.judged),
            outcomes=outcomes,
            sharpening=sharpening,
            execution=measure_execution(bench),
            checks=check_integrity(bench, sharpening),
            constant=_most_frequent([problem.answer for problem in questions.judged]),
        )
        if extent.by_behaviour:
            evidence = replace(evidence, leak=measure_leak(bench), coalitions=measure_coalitions(bench))
            moments = measure_moments(bench)
            evidence = replace(evidence, arms=moments.arms, same=moments.same)
        bar.update(bar.total - bar.n)
    return replace(evidence, notes=tuple(bench.notes))


def _most_frequent(answers: Sequence[str]) -> PerProblem:
    """1 where the answer is the most frequent one [problem]; of several the first."""
    ((most, _),) = Counter(answers).most_common(1)
    return np.array([float(answer == most) for answer in answers])


def _rows(extent: Extent) -> int:
    """Rows of every run that is planned: what the bar counts to."""
    greedy, sampled = extent.n, extent.n * extent.samples
    runs_of_a_decoding = len(ROLES) + len(CELLS) + len(ROLES)  # free, spliced, with more room
    rows = runs_of_a_decoding * (greedy + sampled) + sampled + 2 * extent.n + 2 * extent.fitting
    rows += len(FORCED) * len(ROLES) * extent.n * extent.forced + 2 * extent.repeated * (1 + extent.samples)
    return rows + extent.by_behaviour * (len(TOKENS) + N_COALITIONS + N_ARMS) * extent.n
