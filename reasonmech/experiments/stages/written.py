"""WrittenFeatures: which features a run clamps and ablates, each with what it is known by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, Final

import pandas as pd
import torch

from reasonmech.experiments.stages.group_search import CoderWithStats
from reasonmech.experiments.stages.groups import Group, GroupChoice
from reasonmech.frames import rows_where

COLUMNS: Final = {
    "behaviour": "whose group it is in",
    "verb": "what is done to the group: clamp (in the base) or ablate (in either model)",
    "coder": "name in the run",
    "site": "where it is written",
    "feature": "index in the coder",
    "decoder_norm": "length of its decoder row, in residual-norm units per activation unit",
    "rate": "share of the base's own tokens at which it fires",
    "mean_active": "mean activation there, in activation units: dose 1",
    "source": "whose text ranked it",
    "among": "among which positions of it",
    "auroc": "held out, in that search; NaN where it was not among the best",
    "auroc.low": "lower end of its 95 % interval, by problem",
    "auroc.high": "upper end",
    "auroc_train": "on the problems it was chosen on, so optimistic",
    "dose": "of the group: the strongest of those tried on fitting problems",
    "group_effect": "change of P(onset) in the base by clamping the group at that dose, or fall of P(onset) "
    "in the thinking model by ablating it, on fitting problems",
    "group_control": "the same for matched random features; NaN where none were tried",
}


def written_features(
    choices: Sequence[GroupChoice], searched: pd.DataFrame, coders: Mapping[str, CoderWithStats]
) -> pd.DataFrame:
    """One row for each feature of each group, with the columns of `COLUMNS`.

    Args:
        searched: what the stage `locate` found.
    """
    rows = [
        _row(group, verb, index, searched, coders[group.coder])
        for choice in choices
        for verb, group, indices in (
            ("clamp", choice.clamp, choice.clamp.indices),
            ("ablate", choice.ablate, choice.ablate.wider),
        )
        for index in indices
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    group: Group, verb: str, index: int, searched: pd.DataFrame, dictionary: CoderWithStats
) -> dict[str, Any]:
    _, coder, stats = dictionary
    with torch.no_grad():
        norm = float(coder.rows((index,)).float().norm())
    clamped = verb == "clamp"
    return {
        "behaviour": group.behaviour,
        "verb": verb,
        "coder": group.coder,
        "site": group.site,
        "feature": index,
        "decoder_norm": norm,
        "rate": float(stats.rate[index]),
        "mean_active": float(stats.mean_active[index]),
        "source": group.source,
        "among": group.among,
        **_auroc(group, index, searched),
        "dose": group.dose if clamped else nan,
        "group_effect": group.effect if clamped else group.removal,
        "group_control": group.control if clamped else nan,
    }


def _auroc(group: Group, index: int, searched: pd.DataFrame) -> dict[str, float]:
    """What the search that ranked the group says of a feature."""
    wanted = {
        "behaviour": group.behaviour,
        "coder": group.coder,
        "source": group.source,
        "among": group.among,
        "score": "auroc",
        "kind": "feature",
        "feature": index,
    }
    rows = searched
    for column, value in wanted.items():
        rows = rows_where(rows, rows[column] == value)
    if rows.empty:  # not among the rows that the search wrote
        return dict.fromkeys(("auroc", "auroc.low", "auroc.high", "auroc_train"), nan)
    row = rows.iloc[0]
    return {
        "auroc": float(row["value"]),
        "auroc.low": float(row["low"]),
        "auroc.high": float(row["high"]),
        "auroc_train": float(row["train_value"]),
    }
