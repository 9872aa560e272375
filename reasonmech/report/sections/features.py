"""Section of features: the located ones of each behaviour, beside the baselines that need no coder."""

from __future__ import annotations

from markupsafe import Markup

from reasonmech.behaviours import defined
from reasonmech.experiments import Run
from reasonmech.report.detectors import SEARCHES, against_chance, best_detectors, rows_to_draw, side_by_side
from reasonmech.report.html import Column, Figure, Row, Section, heading, number, percent, table, text
from reasonmech.report.preservation import preservation_blocks
from reasonmech.report.sections.base import sections
from reasonmech.viz import feature_table


@sections.register("features")
def feature_section(run: Run) -> Section | None:
    """The located features of each behaviour beside the baselines that need no coder."""
    frame = run.features
    if frame.empty:
        return None
    columns = (
        Column("detector", "detector"),
        Column("place", "in"),
        Column("rate", "firing rate", percent),
        *(Column(key, heading, text) for key, heading in SEARCHES.items()),
    )
    figures, blocks = [], []
    for i, (behaviour, part) in enumerate(frame.groupby("behaviour", sort=False)):
        best = best_detectors(part)
        figures += [
            Figure(f"features-{i}", feature_table(rows), caption) for rows, caption in rows_to_draw(best)
        ]
        held_out = Markup("<p>{}</p>").format(against_chance(part))
        blocks += [heading(defined(behaviour)), held_out, table(side_by_side(best), columns, _row_class)]
    blocks += [*_comparison_blocks(run), *preservation_blocks(run)]
    lead = (
        "A detector must tell, from tokens strictly before it, whether a behaviour is about to begin "
        "(anticipates), or whether a token lies inside it (recognises). Beside every feature stand the "
        "difference of means, a logistic probe, and the ceiling: the base model's own next-token probability."
    )
    return Section("features", "Features of the base model", lead, figures, blocks)


def _comparison_blocks(run: Run) -> list[Markup]:
    """Features beside what needs no coder, at equal tuning, one table a behaviour."""
    columns = (
        Column("detector", "detector"),
        Column("value", "held-out AUROC", number),
        Column("low", "low", number),
        Column("high", "high", number),
        Column("ahead", "ahead of the group by", number),
        Column("chosen", "chosen setting", number),
    )
    blocks = []
    for behaviour, rows in run.detectors.groupby("behaviour", sort=False) if len(run.detectors) else ():
        blocks += [heading(f"{defined(behaviour)}: is the coder worth having?"), table(rows, columns)]
        blocks.append(Markup("<p>{}</p>").format(rows["headline"].iloc[0]))
    return blocks


def _row_class(row: Row) -> str:
    kind = "feature" if row["kind"] == "feature" else "baseline"
    return f"{kind} selected" if row["selected"] else kind
