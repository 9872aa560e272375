"""What each figure shows, picked out of a run's long table. Nothing is computed: rows become columns."""

from __future__ import annotations

from typing import Final

import pandas as pd

from reasonmech.experiments import Run

ARM_METRICS: Final = (
    "accuracy",
    "accuracy.low",
    "accuracy.high",
    "recovery",
    "recovery.low",
    "recovery.high",
    "percent_steered",
    "mean_length",
)


def wholes(run: Run) -> pd.DataFrame:
    """Numbers of conditions as wholes, one row per condition and one column per metric."""
    rows = run.results[run.results.problem == ""]
    return rows.pivot_table(index="condition", columns="metric", values="value", sort=False)


def conditions(run: Run) -> pd.DataFrame:
    """One row per condition: name, host, control_for, no_control, and its tags as columns."""
    listed = [{**c["tags"], **{k: v for k, v in c.items() if k != "tags"}} for c in run.record["conditions"]]
    return pd.DataFrame(listed) if listed else pd.DataFrame(columns=["name", "host", "control_for", "no_control"])


def arms(run: Run) -> pd.DataFrame:
    """One row per arm of the hybrid study, in the order of the run, with `ARM_METRICS` as columns."""
    described = conditions(run)
    if "arm" not in described:
        return pd.DataFrame(columns=["condition", *ARM_METRICS])
    names = described[described.arm.notna()].set_index("name")
    table = wholes(run).reindex(index=names.index, columns=list(ARM_METRICS))
    return table.assign(arm=names.arm, control_for=names.control_for, no_control=names.no_control).reset_index(
        names="condition"
    )


def doses(run: Run) -> pd.DataFrame:
    """One row per point of a dose curve: behaviour, host, where, group, draw, dose, value, low, high, kl."""
    described = conditions(run)
    if "dose" not in described:
        return pd.DataFrame()
    named = described[described.dose.notna()].set_index("name")
    metrics = ["onset_probability", "onset_probability.low", "onset_probability.high", "kl"]
    table = wholes(run).reindex(index=named.index, columns=metrics)
    table.columns = pd.Index(["value", "low", "high", "kl"])
    return table.join(named).reset_index(names="condition")
