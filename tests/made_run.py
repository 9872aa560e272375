"""A finished run made by hand: every part of a report, with texts that would break a careless page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from reasonmech.experiments import Condition, Run, load_run
from reasonmech.experiments.record import code_state
from reasonmech.experiments.tables import finish_results
from reasonmech.files import write_table
from reasonmech.receipt import ReceiptLine

NASTY = ("<script>alert(1)</script>", "<think>", "</think>", "&amp;", '"quoted"', "</style>", "{{ 7 * 7 }}")


def make_run(path: Path) -> Run:
    path.mkdir(parents=True)
    conditions, tables = _arms()
    more_conditions, more_tables = _doses()
    write_table(
        finish_results([*tables, *more_tables], run=path.name, experiment="made", seed=0),
        path / "results.parquet",
    )
    write_table(_features(), path / "features.parquet")
    write_table(_traces(), path / "traces.parquet")
    (path / "generations.jsonl").write_text(json.dumps({"text": " ".join(NASTY)}) + "\n")
    (path / "config.yaml").write_text(yaml.safe_dump({"name": "made", "task": {"kind": "chain", "n": 300}}))
    host = {"name": "made/base", "weights_sha256": "0" * 64}
    record = {
        "run": path.name,
        "experiment": "made",
        "question": "Does <b>it</b> fire?",
        **code_state(),
        "pair": {"name": "made", "base": host, "thinking": host},
        "started": "2026-01-01T00:00:00",
        "finished": "2026-01-01T00:04:00",
        "seconds": 200.0,
        "seed": 0,
        "conditions": [vars(c) | {"tags": dict(c.tags)} for c in [*conditions, *more_conditions]],
        "receipts": {"full": [_receipt_line()]},
        "notes": ["hazard of plan: 2 training problems hold a positive row <i>"],
    }
    (path / "record.json").write_text(json.dumps(record))
    return load_run(path)


def _receipt_line() -> dict[str, object]:
    line = ReceiptLine("f1", "steer", "resid_post.1", "everywhere()", 12, 9, 4, 4, 0.25, 0.5, None)
    return asdict(line) | {"kl": 0.5}


def _arms() -> tuple[list[Condition], list[pd.DataFrame]]:
    features = {
        "base": (0.18, None, 0.0, Condition("base", "base", tags={"study": "arms"})),
        "thinking": (0.99, None, 0.0, Condition("thinking", "thinking", tags={"study": "arms"})),
        "full": (
            0.98,
            0.987,
            0.1,
            Condition("full", "hybrid", "f1", control="random_vectors", tags={"study": "arms"}),
        ),
        "takeover": (
            0.99,
            1.0,
            0.1,
            Condition("takeover", "hybrid", "f2", no_control="a ceiling", tags={"study": "arms"}),
        ),
        "random_vectors": (
            0.2,
            0.03,
            0.1,
            Condition("random_vectors", "hybrid", "f3", control_for="full", tags={"study": "arms"}),
        ),
    }
    tables = []
    for accuracy, recovery, steered, condition in features.values():
        numbers = {
            "accuracy": accuracy,
            "accuracy.low": accuracy - 0.04,
            "accuracy.high": min(1.0, accuracy + 0.04),
        }
        if recovery is not None:
            numbers |= {
                "recovery": recovery,
                "recovery.low": recovery - 0.03,
                "recovery.high": recovery + 0.03,
            }
        numbers |= {"percent_steered": steered, "mean_length": 40.0}
        tables += [condition.rows(metric, [value], unit="share") for metric, value in numbers.items()]
        problems = [f"chain/test/0/{i}" for i in range(5)]
        tables.append(condition.rows("accuracy", np.ones(5), unit="share", problems=problems))
    return [condition for *_, condition in features.values()], tables


def _doses() -> tuple[list[Condition], list[pd.DataFrame]]:
    conditions, tables = [], []
    for behaviour in ("check", "backtrack"):
        for place in ("at opportunities", "elsewhere"):
            for arm in ("untouched", "located", "random 0"):
                for dose in (0.0,) if arm == "untouched" else (0.5, 1.0, 2.0):
                    verb = "none" if arm == "untouched" else "clamp"
                    tags = {
                        "study": "doses",
                        "behaviour": behaviour,
                        "verb": verb,
                        "place": place,
                        "arm": arm,
                        "dose": dose,
                    }
                    plan = "" if arm == "untouched" else f"{behaviour}{place}{arm}{dose}"
                    name = f"{verb} {behaviour} {arm} {dose} {place}"
                    condition = Condition(name, "base", plan, no_control="made" if plan else "", tags=tags)
                    value = 0.1 + (0.3 * dose if arm == "located" else 0.02 * dose)
                    for metric, number in (("", value), (".low", value - 0.03), (".high", value + 0.03)):
                        tables.append(condition.rows(f"onset_probability{metric}", [number], unit="share"))
                    conditions.append(condition)
    return conditions, tables


def _features() -> pd.DataFrame:
    kinds = ["feature", "feature", "diff_mean", "probe", "ceiling"]
    base = {
        "behaviour": "check",
        "mode": "anticipates",
        "site": "resid_post.2",
        "kind": kinds,
        "feature": [14, 53, -1, -1, -1],
        "score": "auroc",
        "unit": "AUROC",
        "value": [0.9, 0.8, 0.85, 0.88, 0.91],
        "low": [0.88, 0.77, 0.8, 0.85, 0.9],
        "high": [0.92, 0.83, 0.9, 0.91, 0.93],
        "train_value": [0.91, 0.81, np.nan, np.nan, np.nan],
        "rate": [0.1, 0.2, np.nan, np.nan, np.nan],
        "source": "base",
        "coder": "topk",
        "among": "opportunities",
        "selected": [True, False, False, False, False],
    }
    return pd.DataFrame(base)


def _traces() -> pd.DataFrame:
    n = len(NASTY)
    return pd.DataFrame(
        {
            "trace": "full <b>1</b>",
            "offset": range(n),
            "text": NASTY,
            "environment": [False, True, True] + [False] * (n - 3),
            "steered": [True] + [False] * (n - 1),
            "onset": ["check"] + [""] * (n - 1),
            "slip": [False, False, True] + [False] * (n - 3),
            "check: 14 <script>": np.linspace(0, 2, n),
            "backtrack: 53": np.linspace(1, 0, n),
        }
    )
