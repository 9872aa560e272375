"""What a run was asked for and lacks, in words and by cause."""

from __future__ import annotations

from typing import Final

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.frames import groups

SHOWN: Final = 4  # items of a cause that are named; all of them are in missing.parquet


def count_sentence(run: Run) -> str:
    """How much is missing of how much; "" where nothing is."""
    n = len(run.missing)
    if not n:
        return ""
    verb = "thing that was asked for is" if n == 1 else "things that were asked for are"
    return f"{n} of {run.n_planned} {verb} missing."


def causes(run: Run) -> pd.DataFrame:
    """One row per stage and cause, in order: stage, items (the first few by name), why, do."""
    rows = []
    for (stage, error, happened, do), part in groups(run.missing, ["stage", "error", "happened", "do"]):
        names = part["item"].tolist()
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        items = "; ".join(names[:SHOWN]) + more
        rows.append({"stage": stage, "items": items, "why": f"{error}: {happened}", "do": do})
    return pd.DataFrame(rows, columns=["stage", "items", "why", "do"])
