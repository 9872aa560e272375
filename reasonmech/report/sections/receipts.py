"""Section of receipts: what each intervention really did."""

from __future__ import annotations

from typing import Final

import pandas as pd
from pandas.api.types import is_numeric_dtype

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Section, folded, number, table
from reasonmech.report.sections.base import sections

RECEIPT: Final = (
    ("condition", "condition"),
    ("site", "site"),
    ("n_tokens", "tokens"),
    ("n_masked", "masked"),
    ("n_gated", "gate open"),
    ("n_changed", "changed"),
    ("mean_relative", "mean change"),
    ("max_relative", "largest change"),
    ("reread", "re-read"),
    ("kl", "KL, nats"),
)


@sections.register("receipts")
def receipt_section(run: Run) -> Section | None:
    """What each intervention really did, as measured while it ran."""
    receipts = run.record["receipts"]
    if not receipts:
        return None
    rows = [{"condition": name, **line} for name, lines in receipts.items() for line in lines]
    frame = pd.DataFrame(rows)
    columns = [
        Column(*named, number if is_numeric_dtype(frame[named[0]]) else None)
        for named in RECEIPT
        if named[0] in frame
    ]
    lead = (
        "What each intervention really did: tokens seen, named by its mask, at which its gate was open, and "
        "changed; the size of the change against the stream; what re-reading the features gave. One row per "
        "intervention."
    )
    return Section(
        "receipts", "Receipts", lead, (), [folded(f"All {len(frame)} receipts", table(frame, columns))]
    )
