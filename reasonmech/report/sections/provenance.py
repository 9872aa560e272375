"""Section of the record: what made the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Section, folded, table
from reasonmech.report.sections.base import sections


@sections.register("provenance")
def provenance_section(run: Run) -> Section:
    """What one would need to doubt the run."""
    record = run.record
    facts = [
        ("run", record["run"]),
        (
            "version",
            f"reasonmech {record['packages']['reasonmech']}, commit "
            f"{record['git']['commit'] or 'of no checkout'}",
        ),
        (
            "checkout",
            {True: "with uncommitted changes", False: "clean", None: "installed package"}[
                record["git"]["dirty"]
            ],
        ),
        ("command", " ".join(record["command"])),
        ("pair", _describe_pair(record["pair"])),
        ("base weights", record["pair"]["base"]["weights_sha256"]),
        ("thinking weights", record["pair"]["thinking"]["weights_sha256"]),
        (
            "machine",
            f"{record['machine']['platform']}, {record['machine']['device']}, Python "
            f"{record['machine']['python']}",
        ),
        ("started", record["started"]),
        ("finished", record["finished"]),
        ("computing time", f"{record['seconds']:.0f} s"),
    ]
    frame = pd.DataFrame(facts, columns=["what", "value"])
    without = {key: value for key, value in record.items() if key not in ("conditions", "receipts")}
    blocks = [
        table(frame, (Column("what", ""), Column("value", ""))),
        folded("Configuration, every default filled in", yaml.safe_dump(run.config, sort_keys=False)),
        folded("Conditions and their fingerprints", json.dumps(record["conditions"], indent=1)),
        folded("Record", json.dumps(without, indent=1)),
    ]
    return Section("provenance", "Provenance", "Enough to run it again, and to doubt it.", (), blocks)


def _describe_pair(pair: Mapping[str, Any]) -> str:
    """Its name, which loads nothing where the pair was given as a value; older runs do not say so."""
    return f"{pair['name']} (in hand)" if pair.get("in_hand", False) else pair["name"]
