"""What each figure shows, picked out of a run's long table. Nothing is computed: rows become columns."""

from __future__ import annotations

from typing import Final

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.html import interval, percent, records

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
    columns = ["name", "host", "control_for", "no_control", "study"]
    return pd.DataFrame(listed).reindex(
        columns=list(dict.fromkeys([*columns, *(k for c in listed for k in c)]))
    )


def arms(run: Run) -> pd.DataFrame:
    """One row per arm of the hybrid study, in the order of the run, with `ARM_METRICS` as columns."""
    described = _of_study(run, "arms")
    table = wholes(run).reindex(index=described.index, columns=list(ARM_METRICS))
    return table.join(described[["control_for", "no_control"]]).reset_index(names="condition")


def _of_study(run: Run, study: str) -> pd.DataFrame:
    """Conditions of one study, by name."""
    described = conditions(run)
    return described.loc[described.study == study].set_index("name")


def recovery_frame(run: Run) -> pd.DataFrame:
    """Arms that have a recovery, as `recovery_by_arm` draws them."""
    frame = arms(run)
    renamed = frame.assign(arm=frame.condition).rename(
        columns={
            "recovery": "estimate",
            "recovery.low": "low",
            "recovery.high": "high",
            "percent_steered": "steered",
        }
    )
    return renamed.loc[renamed.estimate.notna() & ~renamed.arm.isin(["base", "thinking"])]


def doses(run: Run) -> pd.DataFrame:
    """One row per point of a dose curve, as `dose_curves` draws them.

    Columns: behaviour, host, verb, place ("at opportunities"), arm ("located", "random 0"), dose (multiples
    of each feature's mean activation; NaN for an ablation), value, low, high (shares), kl (nats per token),
    condition.
    """
    named = _of_study(run, "doses")
    if named.empty:
        return pd.DataFrame()
    metrics = ["onset_probability", "onset_probability.low", "onset_probability.high", "kl"]
    table = wholes(run).reindex(index=named.index, columns=metrics)
    table.columns = pd.Index(["value", "low", "high", "kl"])
    return table.join(named).reset_index(names="condition")


def from_zero(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with what the untouched host does as their point at dose 0."""
    untouched = frame.loc[frame.verb == "none"].drop(columns=["arm", "verb"])
    starts = curves[["behaviour", "host", "place", "arm", "verb"]].drop_duplicates()
    zero = starts.merge(untouched, on=["behaviour", "host", "place"]).assign(dose=0.0)
    return pd.concat([curves, zero], ignore_index=True)


def effects(run: Run) -> pd.DataFrame:
    """One row per curve or ablation: untouched, the located features at their strongest dose, the range of
    the random.

    Columns: behaviour, host, verb, place, untouched, dose, located, interval, random, kl.
    """
    frame = doses(run)
    if frame.empty:
        return frame
    keys = ["behaviour", "host", "verb", "place"]
    clean = frame.loc[frame.verb == "none"].set_index(["behaviour", "host", "place"]).value.to_dict()
    rows = []
    for _, part in frame.loc[frame.verb != "none"].groupby(keys, sort=False):
        listed = records(part)
        before = clean[listed[0]["behaviour"], listed[0]["host"], listed[0]["place"]]
        located = [row for row in listed if row["arm"] == "located"]
        strongest = max(located, key=lambda row: abs(row["value"] - before))
        drawn = [
            r["value"] for r in listed if r["arm"] != "located" and str(r["dose"]) == str(strongest["dose"])
        ]
        rows.append(
            {key: strongest[key] for key in (*keys, "dose", "kl")}
            | {"untouched": before, "located": strongest["value"]}
            | {"interval": interval(strongest["low"], strongest["high"])}
            | {"random": f"{percent(min(drawn))} to {percent(max(drawn))}" if drawn else ""}
        )
    return pd.DataFrame(rows)
