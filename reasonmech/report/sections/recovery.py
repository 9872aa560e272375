"""Section of the arms: accuracy and recovered share of each, beside its control."""

from __future__ import annotations

from reasonmech.experiments import Run
from reasonmech.report.frames import arm_frame, recovery_frame
from reasonmech.report.html import Column, Figure, Section, interval, number, percent, table, text
from reasonmech.report.sections.base import sections
from reasonmech.viz import recovery_by_arm


@sections.register("recovery-by-arm")
def recovery_section(run: Run) -> Section | None:
    """Accuracy and recovered share of every arm, beside its control."""
    frame = arm_frame(run)
    if frame.empty:
        return None
    shown = frame.assign(
        accuracy_interval=[
            interval(*pair) for pair in zip(frame["accuracy.low"], frame["accuracy.high"], strict=True)
        ],
        recovery_interval=[
            interval(*pair) for pair in zip(frame["recovery.low"], frame["recovery.high"], strict=True)
        ],
        beside=[
            f"control for {c}" if c else w for c, w in zip(frame.control_for, frame.no_control, strict=True)
        ],
    )
    columns = (
        Column("condition", "arm"),
        Column("accuracy", "accuracy", percent),
        Column("accuracy_interval", "95 % interval", text),
        Column("recovery", "gap recovered", percent),
        Column("recovery_interval", "95 % interval", text),
        Column("percent_steered", "tokens steered", percent),
        Column("mean_length", "tokens", number),
        Column("beside", "role"),
    )
    lead = (
        "Every arm answers the same problems with the same decoding. Recovery is signed and never clipped: "
        "(arm - base) / (thinking - base), with a paired bootstrap interval over problems. A control must "
        "fail."
    )
    recovered, figures = recovery_frame(run), []
    if len(recovered):  # without a gap between the two models there is nothing to recover
        caption = "Share of the base-to-thinking gap that each arm recovers."
        figures = [Figure("recovery", recovery_by_arm(recovered), caption)]
    return Section("recovery-by-arm", "Recovery by arm", lead, figures, [table(shown, columns)])
