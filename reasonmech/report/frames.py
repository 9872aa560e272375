"""What each figure shows, picked out of a run's long table. Nothing is computed: rows become columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.html import Row, interval, percent, records

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


def numbers_by_condition(run: Run) -> pd.DataFrame:
    """One row per condition and one column per metric: the numbers of a condition as a whole."""
    rows = run.results[run.results.problem == ""]
    return rows.pivot_table(index="condition", columns="metric", values="value", sort=False)


def condition_frame(run: Run) -> pd.DataFrame:
    """One row per condition: name, host, control_for, no_control, and its tags as columns."""
    rows = [{**c["tags"], **{k: v for k, v in c.items() if k != "tags"}} for c in run.record["conditions"]]
    first = ["name", "host", "control_for", "no_control", "study"]
    return pd.DataFrame(rows).reindex(
        columns=list(dict.fromkeys([*first, *(k for row in rows for k in row)]))
    )


def arm_frame(run: Run) -> pd.DataFrame:
    """One row per arm of the hybrid study, in the order of the run, with `ARM_METRICS` as columns."""
    arms = _conditions_of(run, "arms")
    table = numbers_by_condition(run).reindex(index=arms.index, columns=list(ARM_METRICS))
    return table.join(arms[["control_for", "no_control"]]).reset_index(names="condition")


SIDE_EFFECTS: Final = (
    "mean_length",
    "eos_rate",
    "repetition",
    "surprise",
    "dose",
    "dose_steered",
    "damage",
)


def side_effect_frame(run: Run) -> pd.DataFrame:
    """One row per arm, with `SIDE_EFFECTS` as columns; empty for runs that did not measure them."""
    numbers = numbers_by_condition(run)
    if "surprise" not in numbers:
        return pd.DataFrame(columns=["condition", *SIDE_EFFECTS])
    arms = _conditions_of(run, "arms")
    return numbers.reindex(index=arms.index, columns=list(SIDE_EFFECTS)).reset_index(names="condition")


def _conditions_of(run: Run, study: str) -> pd.DataFrame:
    """Conditions of one study, by name."""
    frame = condition_frame(run)
    return frame.loc[frame.study == study].set_index("name")


def recovery_frame(run: Run) -> pd.DataFrame:
    """Arms that have a recovery, as `recovery_by_arm` draws them."""
    frame = arm_frame(run)
    renamed = frame.assign(arm=frame.condition).rename(
        columns={
            "recovery": "estimate",
            "recovery.low": "low",
            "recovery.high": "high",
            "percent_steered": "steered",
        }
    )
    return renamed.loc[renamed.estimate.notna() & ~renamed.arm.isin(["base", "thinking"])]


def dose_frame(run: Run) -> pd.DataFrame:
    """One row per point of a dose curve, as `dose_curves` draws them.

    Columns: behaviour, host, verb, place ("at opportunities"), arm ("located", "random 0"), dose (multiples
    of each feature's mean activation; NaN for an ablation), value, low, high (shares), kl (nats per token),
    condition.
    """
    conditions = _conditions_of(run, "doses")
    if conditions.empty:
        return pd.DataFrame()
    metrics = ["onset_probability", "onset_probability.low", "onset_probability.high", "kl"]
    table = numbers_by_condition(run).reindex(index=conditions.index, columns=metrics)
    table.columns = pd.Index(["value", "low", "high", "kl"])
    return table.join(conditions).reset_index(names="condition")


def start_at_zero(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with what the untouched host does as their point at dose 0."""
    untouched = frame.loc[frame.verb == "none"].drop(columns=["arm", "verb"])
    starts = curves[["behaviour", "host", "place", "arm", "verb"]].drop_duplicates()
    zero = starts.merge(untouched, on=["behaviour", "host", "place"]).assign(dose=0.0)
    return pd.concat([curves, zero], ignore_index=True)


def effect_frame(run: Run) -> pd.DataFrame:
    """One row per curve or ablation: the located features at their strongest dose beside the random ones.

    Columns: behaviour, host, verb, place, untouched, dose, located, interval, random (their range at that
    dose), worst_control, worst_control_dose and worst_control_arm (of all doses and all random arms the value
    that goes farthest the way of the located ones), kl.
    """
    frame = dose_frame(run)
    if frame.empty:
        return frame
    keys = ["behaviour", "host", "verb", "place"]
    untouched = frame.loc[frame.verb == "none"].set_index(["behaviour", "host", "place"]).value.to_dict()
    rows = []
    for _, part in frame.loc[frame.verb != "none"].groupby(keys, sort=False):
        points = records(part)
        clean = untouched.get((points[0]["behaviour"], points[0]["host"], points[0]["place"]), float("nan"))
        located = [point for point in points if point["arm"] == "located"]
        if not located:  # the section of what is missing says why
            continue
        strongest = max(located, key=lambda point: abs(point["value"] - clean))
        # as text: the dose of an ablation is NaN, which equals nothing
        random = [point for point in points if point["arm"] != "located"]
        controls = [point["value"] for point in random if str(point["dose"]) == str(strongest["dose"])]
        rows.append(
            {key: strongest[key] for key in (*keys, "dose", "kl")}
            | {"untouched": clean, "located": strongest["value"]}
            | {"interval": interval(strongest["low"], strongest["high"])}
            | {"random": f"{percent(min(controls))} to {percent(max(controls))}" if controls else ""}
            | _worst_control(random, rises=bool(strongest["value"] >= clean))
        )
    return pd.DataFrame(rows)


def _worst_control(points: Sequence[Row], *, rises: bool) -> Row:
    """Of the controls of a curve, at every dose, the one that goes farthest the way of the located features.

    A control at the dose at which it has destroyed the text proves nothing; at a lower dose it may do what
    the located features do.
    """
    if not points:
        return {"worst_control": float("nan"), "worst_control_dose": float("nan"), "worst_control_arm": ""}
    worst = (max if rises else min)(points, key=lambda point: point["value"])
    keys = {"worst_control": "value", "worst_control_dose": "dose", "worst_control_arm": "arm"}
    return {column: worst[key] for column, key in keys.items()}
