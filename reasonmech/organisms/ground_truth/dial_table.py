"""The dial's truth: accuracy of a pair at every share of thinking turns, beside what the dial really did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, Final, Literal, get_args

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts import Host, ModelPair
from reasonmech.organisms.ground_truth.dial import Dial, Factor, turns_of
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.stats import SHARE, mean_interval, paired_bootstrap
from reasonmech.tasks import grade, parse

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
GREEDY: Final = Decode(max_new_tokens=224, batch_size=256)
Role = Literal["base", "thinking"]


@checked
def dial_table(
    pair: ModelPair,
    problems: ProblemSet,
    *,
    factor: Factor = "onset",
    other: Role = "base",
    shares: Sequence[float] = SHARES,
    decode: Decode = GREEDY,
) -> pd.DataFrame:
    """Accuracy while the thinking model takes over one factor, sentence by sentence.

    Args:
        factor: which is dialled: "onset" (who decides the kind of a sentence) or "executor" (who writes it).
        other: the model that has the other factor throughout.
        shares: of turns of the thinking model, rising.

    Returns:
        One row per share: factor, other, share, turns (the thinking model's real share of turns, over all
            sentences), accuracy, low, high (95 % by problem), n (problems), step, step_low, step_high
            (accuracy minus that of the previous row, paired by problem; NaN in the first row).

    Raises:
        ArgumentError: no pair.
        UnknownNameError: a factor, or a model, that does not exist.
        DataError: fewer than two shares, or shares that do not rise.
    """
    check_type(pair, ModelPair, name="pair", allowed="a ModelPair", do='rm.load_pair("tiny-when")')
    for what, name, valid in (("factor", factor, get_args(Factor)), ("model", other, get_args(Role))):
        if name not in valid:
            raise UnknownNameError(what, name, valid)
    if len(shares) < 2 or any(a >= b for a, b in pairwise(shares)):
        raise DataError(f"shares {tuple(shares)}", allowed="two or more, rising", do="such as (0, 0.5, 1)")
    fixed = pair.base if other == "base" else pair.thinking
    rows, previous = [], None
    for share in shares:
        runs = _run(
            pair, problems, Dial(pair.base, pair.thinking, share), fixed, factor=factor, decode=decode
        )
        right = grade(runs).astype(float).reshape(len(problems), -1).mean(axis=1)
        interval = mean_interval(right, bounds=SHARE)
        row = {
            "factor": factor,
            "other": other,
            "share": share,
            "turns": _turns(runs, share, factor, decode.seed),
        }
        row |= {"accuracy": interval.estimate, "low": interval.low, "high": interval.high, "n": len(problems)}
        step = (np.nan, np.nan, np.nan) if previous is None else paired_bootstrap(right, previous)[:3]
        rows.append(row | dict(zip(("step", "step_low", "step_high"), step, strict=True)))
        previous = right
    return pd.DataFrame(rows)


def measure_dial(pair: ModelPair, problems: ProblemSet, *, progress: bool = True) -> list[dict[str, Any]]:
    """`dial_table` of both factors, either model having the other one, as JSON rows (None for NaN)."""
    tables = []
    for factor, other in tqdm(
        list(product(get_args(Factor), get_args(Role))), desc="dial", disable=not progress
    ):
        tables.append(dial_table(pair, problems, factor=factor, other=other))
    rows = pd.concat(tables, ignore_index=True)
    return rows.astype(object).where(rows.notna(), None).to_dict(orient="records")


def find_falls(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose accuracy is below that of the previous row: the step's whole interval lies below 0."""
    return pd.DataFrame(table[table["step_high"] < 0])


def _run(
    pair: ModelPair, problems: ProblemSet, dial: Dial, fixed: Host, *, factor: Factor, decode: Decode
) -> Rollouts:
    onset, executor = (dial, fixed) if factor == "onset" else (fixed, dial)
    spliced = splice(onset=onset, executor=executor, task=problems.task)
    return generate(spliced, problems, decode=decode, progress=False, receipt="none")


def _turns(runs: Rollouts, share: float, factor: Factor, seed: int) -> float:
    """Realised share of thinking turns over all sentences that were begun."""
    turns = [
        turn
        for trace in parse(runs)
        for turn in turns_of(trace.rollout, len(trace.sentences), share=share, factor=factor, seed=seed)
    ]
    return float(np.mean(turns))
