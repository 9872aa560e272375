"""Zoo: every trained pair that is here, judged, and asked of the published rules; a row per pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from reasonmech.claims.claim import Rule, Verdict
from reasonmech.claims.judging import measure_judgement
from reasonmech.claims.measuring import Extent, Questions
from reasonmech.claims.registration import Registration, Terms
from reasonmech.claims.validation.draws import published_answers
from reasonmech.claims.validation.trained import TrainedSize, trained_exhibit
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import remove_leftovers, write_table
from reasonmech.organisms import load_pair, recipes
from reasonmech.organisms.cache import built_seeds
from reasonmech.organisms.overview import list_loadable
from reasonmech.ranges import Positive
from reasonmech.resumable import ResumableDirectory, check_plan
from reasonmech.runtime.threads import threads_of

ZOO_FILE: Final = "zoo.parquet"
MOST: Final = 200
"""Problems of a trained pair: those of the test split, whose confirmation split stays unopened."""
_OF_CLASS: Final[Mapping[str, Verdict]] = {
    "when": "WHEN", "how": "HOW", "both": "BOTH", "sharpened": "SHARPENED", "format": "FORMAT",
    "length": "FORMAT", "surface": "NEITHER", "none": "NEITHER",
}  # fmt: skip
_OF_NAME: Final[Mapping[str, Verdict]] = {"tiny-format": "FORMAT"}


class Specimen(NamedTuple):
    """A trained pair.

    Attributes:
        name: of the organism, with its seed where that is not 0.
        source: what `load_pair` takes.
        truth: the verdict that it was built to have.
    """

    name: str
    source: str
    truth: Verdict


def specimens() -> list[Specimen]:
    """Every organism that can be loaded at once, and every seed of it in the cache."""
    known = []
    for name in list_loadable():
        known.append(Specimen(name, name, truth_of_organism(name)))
        known += [
            Specimen(f"{name}, seed {seed}", str(home), truth_of_organism(name))
            for seed, home in built_seeds(name).items()
        ]
    return known


@checked
def truth_of_organism(name: str) -> Verdict:
    """The verdict that an organism was built to have.

    Raises:
        UnknownNameError: no such organism.
        DataError: a class that no verdict is known of.
    """
    truth_class = recipes.get(name).truth_class
    verdict = _OF_NAME.get(name) or _OF_CLASS.get(truth_class)
    if verdict is None:
        raise DataError(
            f"organism {name} is of class {truth_class!r}",
            allowed=", ".join(_OF_CLASS),
            do="say in claims/validation/zoo.py which verdict is true of it",
        )
    return verdict


def specimen_row(specimen: Specimen, extent: Extent, reading: TrainedSize) -> dict[str, Any]:
    """Judge a pair on its test split and ask the published rules: one row, with what they read."""
    pair = replace(load_pair(specimen.source), name=specimen.name)
    assert pair.task is not None  # an organism has one
    terms = Terms(task=pair.task, split="test")
    questions = Questions.drawn(pair.task, extent, split="test", seed=0)
    registration = Registration.of(pair, task=pair.task, terms=terms, extent=extent)
    judgement = measure_judgement(pair, questions, registration, progress=False)
    with threads_of(pair):
        exhibit = trained_exhibit(pair, judgement.evidence, task=pair.task, reading=reading)
    low, high = exhibit.keywords or (np.nan, np.nan)
    assert exhibit.many is not None
    row: dict[str, Any] = {
        "population": specimen.name,
        "truth": specimen.truth,
        "allowed": specimen.truth,
        "clear": True,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "recovered": np.nan if exhibit.recovered is None else exhibit.recovered,
        "pass_base": float(exhibit.many[0].mean()),
        "pass_thinking": float(exhibit.many[1].mean()),
        "shifted": exhibit.shifted,
        "unchanged": exhibit.unchanged,
        "keywords_minus": low,
        "keywords_plus": high,
    }
    return row | published_answers(exhibit)


@checked
def save_zoo(
    out: Path,
    *,
    problems: Positive = MOST,
    reading: TrainedSize | None = None,
    names: Sequence[str] = (),
    progress: bool = True,
) -> pd.DataFrame:
    """`specimen_row` of every pair into a directory; called again after a kill it goes on with the next pair.

    Args:
        names: of the pairs; empty: all.

    Raises:
        DataError: no such pair is here.
        OutputError: the directory holds something else.
    """
    chosen = [each for each in specimens() if not names or each.name in names]
    if missing := sorted(set(names) - {each.name for each in chosen}):
        raise DataError(
            f"not here: {', '.join(missing)}",
            allowed=", ".join(each.name for each in specimens()),
            do="reasonmech organisms build NAME",
        )
    reading, extent = reading or TrainedSize(), Extent.of(problems, full=False)
    plan: dict[str, Any] = {"extent": asdict(extent), "reading": asdict(reading), "rule": asdict(Rule())}
    plan["pairs"] = [each.name for each in chosen]
    directory = ResumableDirectory(out, plan, kind="zoo validation", working=("pair-*",))
    if out.is_dir():
        remove_leftovers(out)
        check_plan(out, plan, kind="zoo validation")
        return pd.read_parquet(out / ZOO_FILE)
    with directory.open() as partial:
        files = [f"pair-{each.name.replace(', seed ', '-seed-')}.parquet" for each in chosen]
        with tqdm(total=len(chosen), desc="judge the zoo", unit="pair", disable=not progress) as bar:
            for file, specimen in zip(files, chosen, strict=True):
                bar.set_postfix_str(specimen.name)
                if not partial.path(file).exists():
                    row = specimen_row(specimen, extent, reading)
                    with partial.piece(file) as unfinished:
                        pd.DataFrame([row]).to_parquet(unfinished, index=False)
                    bar.write(f"{specimen.name}: {row['verdict']} (truth {specimen.truth})")
                bar.update()
        frame = pd.concat([pd.read_parquet(partial.path(file)) for file in files], ignore_index=True)
        write_table(frame, partial.path(ZOO_FILE))
        partial.complete()
    return frame
