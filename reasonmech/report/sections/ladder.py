"""Section of the ladder: what may be claimed of the features that the run clamps and ablates."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from reasonmech.behaviours import defined
from reasonmech.experiments import Run
from reasonmech.frames import groups
from reasonmech.report.html import Column, Section, folded, heading, number, table, text, with_interval
from reasonmech.report.sections.base import sections

ORDER = ("SUPPORTED", "REFUTED", "INCONCLUSIVE", "NOT TESTED")


@sections.register("ladder")
def ladder_section(run: Run) -> Section | None:
    """Verdicts on C0 to C2 of every written feature, and the baselines that it stands beside."""
    if run.ladder.empty:
        return None
    columns = (
        Column("behaviour", "behaviour", defined),
        Column("verb", "written to"),
        Column("text", "detected in"),
        Column("coder", "coder"),
        Column("n", "features", number),
        *(Column(claim, claim) for claim in sorted(set(run.ladder["claim"]))),
    )
    reasons = (
        Column("behaviour", "behaviour", defined),
        Column("verb", "written to"),
        Column("source", "text"),
        Column("feature", "feature"),
        Column("claim", "claim"),
        Column("verdict", "verdict"),
        Column("reason", "its numbers"),
    )
    blocks = [
        table(_counts(run.ladder), columns),
        folded("Every verdict and its numbers", table(run.ladder, reasons)),
    ]
    if not run.baselines.empty:
        blocks += [heading("What tells it without the coder"), _baselines(run.baselines)]
    lead = (
        f"{claimed(run)} A claim is tested only when those before it are supported; C1 needs AUROC and "
        "hazard. On evaluation problems, which chose no feature."
    )
    return Section("ladder", "What may be claimed of these features", lead, (), blocks)


def claimed(run: Run) -> str:
    """How many of the clamped features survive all that was tried, in one sentence."""
    clamped = run.ladder.loc[run.ladder["verb"] == "clamp"]
    top = clamped.loc[clamped["claim"].str.startswith("C2") & (clamped["verdict"] == "SUPPORTED")]
    keys = ["behaviour", "coder", "feature"]
    total, supported = (len(frame[keys].drop_duplicates()) for frame in (clamped, top))
    return (
        f"{supported} of {total} clamped features are SUPPORTED as detectors beyond their cue (C2): that "
        "they move a behaviour does not say that they detect it."
    )


def _counts(ladder: pd.DataFrame) -> pd.DataFrame:
    """One row per group and text: how many of its features have which verdict on each claim."""
    rows = []
    for key, part in groups(ladder, ["behaviour", "verb", "source", "among", "coder"]):
        behaviour, verb, source, among, coder = key
        row: dict[str, object] = {"behaviour": behaviour, "verb": verb, "coder": coder}
        row |= {"text": f"{source} text, {among}", "n": part["feature"].nunique()}
        for (claim,), verdicts in groups(part, ["claim"]):
            counts = verdicts["verdict"].value_counts()
            row[claim] = ", ".join(f"{counts[name]} {name}" for name in ORDER if name in counts)
        rows.append(row)
    return pd.DataFrame(rows)


def _baselines(frame: pd.DataFrame) -> Markup:
    ends = zip(frame["value"], frame["low"], frame["high"], strict=True)
    frame = frame.assign(auroc=[with_interval(*value) for value in ends])
    columns = (
        Column("behaviour", "behaviour", defined),
        Column("source", "text"),
        Column("among", "among"),
        Column("baseline", "baseline"),
        Column("searched", "best of", number),
        Column("auroc", "AUROC, held out", text),
    )
    return table(frame, columns)
