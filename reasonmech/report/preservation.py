"""Whether the coders that features are from keep the behaviours, in words and as a table."""

from __future__ import annotations

from markupsafe import Markup

from reasonmech.behaviours import defined
from reasonmech.experiments import Run
from reasonmech.report.html import Column, heading, percent, table, text, with_interval

OUTCOMES = {
    "kept": "kept",
    "lost": "lost: no feature of this coder carries what is missing",
    "undecided": "undecided: more problems would tell",
}


def preservation_blocks(run: Run) -> list[Markup]:
    """Hazards untouched and under reconstruction, one row a behaviour; nothing where none was measured."""
    if run.preservation.empty:
        return []
    hazards = run.preservation
    ratios = zip(hazards["ratio"], hazards["ratio.low"], hazards["ratio.high"], strict=True)
    frame = hazards.assign(
        ratio=[with_interval(*ratio) for ratio in ratios],
        verdict=[OUTCOMES[outcome] for outcome in hazards["outcome"]],
    )
    columns = (
        Column("behaviour", "behaviour", defined),
        Column("coder", "coder"),
        Column("clean", "P(onset), untouched", percent),
        Column("spliced", "under reconstruction", percent),
        Column("ratio", "share kept", text),
        Column("error_share", "in the error node", percent),
        Column("verdict", "the behaviour is"),
    )
    lead = (
        "Mean probability that the base begins the behaviour next, at its opportunities in thinking text, "
        "as it is and where it reads the coder's reconstruction in place of its stream. Kept: the whole "
        "interval of the share lies between 80 % and 125 %. In the error node: the part of first-order "
        "effects on the onset that no feature has."
    )
    return [
        heading("Would it still begin under reconstruction?"),
        Markup("<p>{}</p>").format(lead),
        table(frame, columns),
    ]


def lost_behaviours(run: Run) -> tuple[str, ...]:
    """One sentence for each behaviour that its coder loses."""
    if run.preservation.empty:
        return ()
    rows = run.preservation.loc[run.preservation["outcome"] == "lost"].to_dict("records")
    return tuple(
        f"The coder {row['coder']} loses {row['behaviour']}: under its reconstruction the base begins it "
        f"{with_interval(row['ratio'], row['ratio.low'], row['ratio.high'])} as often."
        for row in rows
    )
