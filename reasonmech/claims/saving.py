"""Saving: evidence as rows that any reader of parquet has, and a judgement that can be opened again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from reasonmech.claims.claim import Rule
from reasonmech.claims.evidence import (
    ADDED_LATER,
    CELLS,
    DECODINGS,
    Cells,
    Check,
    Decoding,
    Evidence,
    Execution,
    Outcomes,
    PerProblem,
    Sharpening,
)
from reasonmech.claims.judgement import Judgement, judge_evidence, ladder
from reasonmech.claims.provenance import Provenance
from reasonmech.claims.wording import describe_methods, first_sentence
from reasonmech.door import checked
from reasonmech.errors import CorruptFileError
from reasonmech.files import RECORD_FILE
from reasonmech.json_text import read_object

JUDGEMENT_FILE: Final = "judgement.json"
EVIDENCE_FILE: Final = "evidence.parquet"
_AGAIN: Final = "judge the pair again, in another directory"
_FREE: Final = ("base", "thinking", "reached_base", "reached_thinking", "roomy_base")
_LATER: Final = {
    "roomy_thinking": ("right", "roomy_thinking"),
    "endless_base": ("cut off", "roomy_base"),
    "endless_thinking": ("cut off", "roomy_thinking"),
}
_CONSTANT: Final = "most frequent answer"
_DIVERGENCES: Final = ("kl", "tempered_kl", "argmax_differs", "tempered")


def evidence_table(evidence: Evidence) -> pd.DataFrame:
    """Long form: pair, measure, condition, problem, value; a row per problem and quantity.

    Measures are "right" (shares of right answers of a condition such as "greedy/base", "greedy/tb",
    "leak/4", "coalition/check+executor", "arm/own moments", "most frequent answer"), "verified" (the same
    with every step right), "cut off" (shares of texts that do not end with twice the tokens),
    "same text" (1 where two arms wrote one), "kl", "tempered_kl", "argmax_differs", and "forced" (onsets by
    behaviour: "check/n", and how many of them either model carried out).
    """
    rows = [
        pd.DataFrame(
            {"measure": measure, "condition": condition, "problem": evidence.problems, "value": values}
        )
        for (measure, condition), values in _columns(evidence)
    ]
    table = pd.concat(rows, ignore_index=True)
    table.insert(0, "pair", evidence.pair)
    return table.astype({"value": np.float64})


def _columns(evidence: Evidence) -> Iterator[tuple[tuple[str, str], PerProblem]]:
    for decoding, outcomes in evidence.outcomes.items():
        for name in _FREE:
            yield ("right", f"{decoding}/{name}"), getattr(outcomes, name)
        for (measure, name), values in _later(outcomes).items():
            if values is not None:
                yield (measure, f"{decoding}/{name}"), values
        for cell in CELLS:
            yield ("right", f"{decoding}/{cell}"), getattr(outcomes.cells, cell)
            if outcomes.verified is not None:
                yield ("verified", f"{decoding}/{cell}"), getattr(outcomes.verified, cell)
    if evidence.sharpening is not None:
        for name in _DIVERGENCES:
            yield (name, "sampled"), getattr(evidence.sharpening, name)
    for behaviour, executed in evidence.execution.items():
        for field in fields(executed):
            yield ("forced", f"{behaviour}/{field.name}"), getattr(executed, field.name)
    if evidence.constant is not None:
        yield ("right", _CONSTANT), evidence.constant
    for name, values in evidence.same.items():
        yield ("same text", name), values
    for kind, arms in (("arm", evidence.arms), ("leak", evidence.leak)):
        for name, values in arms.items():
            yield ("right", f"{kind}/{name}"), values
    for members, values in evidence.coalitions.items():
        yield ("right", f"coalition/{'+'.join(members)}"), values


def _later(outcomes: Outcomes) -> dict[tuple[str, str], PerProblem | None]:
    """What files of earlier versions lack."""
    return {_LATER[name]: getattr(outcomes, name) for name in ADDED_LATER}


def evidence_from_table(table: pd.DataFrame, beside: Mapping[str, Any]) -> Evidence:
    """What `evidence_table` and `beside_table` wrote."""
    columns: dict[tuple[str, str], np.ndarray] = {}
    for key, rows in table.groupby(["measure", "condition"], sort=False):
        columns[key] = rows["value"].to_numpy()  # pyright: ignore[reportArgumentType]
    right = {condition: values for (measure, condition), values in columns.items() if measure == "right"}
    first = table.groupby(["measure", "condition"], sort=False).get_group(("right", "greedy/base"))
    sharpening = None
    if beside["temperature"] is not None:
        divergences = {name: columns[name, "sampled"] for name in _DIVERGENCES}
        sharpening = Sharpening(beside["temperature"], **divergences)
    provenance = beside["provenance"]
    if provenance is not None:
        provenance = Provenance(**provenance | {"opened_before": tuple(provenance["opened_before"])})
    return Evidence(
        pair=beside["pair"],
        problems=tuple(first["problem"]),
        outcomes={decoding: _outcomes(columns, decoding) for decoding in DECODINGS},
        sharpening=sharpening,
        execution={name: _execution(columns, name) for name in beside["forced"]},
        arms=_under("arm", right),
        checks=tuple(Check(**check) for check in beside["checks"]),
        leak={int(m): values for m, values in _under("leak", right).items()},
        coalitions={
            tuple(name.split("+")) if name else (): values
            for name, values in _under("coalition", right).items()
        },
        same={pair: values for (measure, pair), values in columns.items() if measure == "same text"},
        constant=right.get(_CONSTANT),
        notes=tuple(beside["notes"]),
        provenance=provenance,
    )


def _under(kind: str, right: Mapping[str, PerProblem]) -> dict[str, PerProblem]:
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): values for name, values in right.items() if name.startswith(prefix)}


def _outcomes(columns: Mapping[tuple[str, str], np.ndarray], decoding: Decoding) -> Outcomes:
    def cells(measure: str) -> Cells:
        return Cells(**{cell: columns[measure, f"{decoding}/{cell}"] for cell in CELLS})

    free = {name: columns["right", f"{decoding}/{name}"] for name in _FREE}
    verified = cells("verified") if ("verified", f"{decoding}/bb") in columns else None
    later: dict[str, Any] = {
        name: columns.get((_LATER[name][0], f"{decoding}/{_LATER[name][1]}")) for name in ADDED_LATER
    }
    return Outcomes(**free, cells=cells("right"), verified=verified, **later)


def _execution(columns: Mapping[tuple[str, str], np.ndarray], behaviour: str) -> Execution:
    counts = {name: columns["forced", f"{behaviour}/{name}"] for name in ("n", "base", "thinking")}
    return Execution(**counts | {"n": counts["n"].astype(int)})


def beside_table(evidence: Evidence) -> dict[str, Any]:
    """What is said of evidence besides its numbers by problem, as JSON values."""
    return {
        "pair": evidence.pair,
        "temperature": None if evidence.sharpening is None else evidence.sharpening.temperature,
        "forced": list(evidence.execution),
        "checks": [asdict(check) for check in evidence.checks],
        "notes": list(evidence.notes),
        "provenance": None if evidence.provenance is None else asdict(evidence.provenance),
    }


def judgement_text(judgement: Judgement) -> str:
    """The file of a judgement, JSON: its plain values, its first sentence and its methods."""
    words = {"sentence": first_sentence(judgement), "methods": describe_methods(judgement)}
    return json.dumps(judgement.to_json() | words, indent=1, allow_nan=False) + "\n"


@checked
def load_judgement(directory: str | Path) -> Judgement:
    """A judgement that `judge` wrote: its evidence, judged by its rule.

    Evidence that was judged under claims of before is judged by those of today; where they say otherwise, a
    note of the judgement has the verdict that is recorded.

    Raises:
        CorruptFileError: a file is missing or damaged, or the evidence does not bear out the verdict that is
            recorded, as where it was edited.
    """
    home = Path(directory).expanduser()
    record = read_object(
        home / RECORD_FILE, {"registration": {"rule": {"*": float}}, "evidence": {}}, do=_AGAIN
    )
    verdict = read_object(home / JUDGEMENT_FILE, {"verdict": str}, do=_AGAIN)["verdict"]
    try:
        evidence = evidence_from_table(pd.read_parquet(home / EVIDENCE_FILE), record["evidence"])
        rule = Rule(**record["registration"]["rule"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(
            f"{home} holds no judgement: {type(error).__name__}: {error}",
            allowed=f"what rm.judge wrote: {RECORD_FILE}, {JUDGEMENT_FILE}, {EVIDENCE_FILE}",
            do=_AGAIN,
        ) from error
    judgement = judge_evidence(evidence, rule)
    if judgement.verdict != verdict and _is_of_before(record["registration"], rule):
        note = f"recorded as {verdict} under the claims of before; those of today say {judgement.verdict}"
        return replace(judgement, evidence=replace(evidence, notes=(*evidence.notes, note)))
    if judgement.verdict != verdict:
        raise CorruptFileError(
            f"{home} says {verdict}, and its evidence says {judgement.verdict}",
            do=f"one of the two was changed: {_AGAIN}",
        )
    return judgement


def _is_of_before(registration: Mapping[str, Any], rule: Rule) -> bool:
    """Whether the claims that were registered are not those of today."""
    claims = {claim.name: claim.hash for claim in ladder(rule, registration.get("split", "confirmation"))}
    return registration.get("claims", claims) != claims
