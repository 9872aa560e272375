"""Draws: cases of every population, judged; a table with one row per case, which survives a kill."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from reasonmech.claims.claim import Rule
from reasonmech.claims.judgement import judge_evidence
from reasonmech.claims.validation.populations import POPULATIONS
from reasonmech.claims.validation.published import PUBLISHED
from reasonmech.claims.validation.simulated import CaseSize, Exhibit, simulate_exhibit
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.files import remove_leftovers, write_table
from reasonmech.resumable import ResumableDirectory, check_plan

DRAWS_FILE: Final = "draws.parquet"
_BLOCK: Final = 10  # cases that a kill costs at most
_WORTH: Final = 0.2  # gap from which on its shares are compared


def draw_row(population: str, number: int, *, seed: int = 0, size: CaseSize | None = None) -> dict[str, Any]:
    """Draw a case, measure it, judge it, and ask the published rules: one row.

    It depends on (population, number, seed, size) alone.
    """
    key = [seed, zlib.crc32(population.encode()), number]
    case, truth = POPULATIONS[population].case(np.random.default_rng(key))
    chance = int(np.random.default_rng([*key, 1]).integers(2**62))
    exhibit = simulate_exhibit(case, name=population, seed=chance, size=size)
    judgement = judge_evidence(exhibit.evidence)
    row: dict[str, Any] = {
        "population": population,
        "number": number,
        "truth": truth.verdict,
        "allowed": " ".join(sorted(truth.allowed)),
        "clear": truth.clear,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }
    for decoding, exact in truth.splits.items():
        split = judgement.splits[decoding]
        worth = abs(exact.total) >= _WORTH
        row[f"dialled_{decoding}"] = exact.when / exact.total if worth else np.nan
        row[f"judged_{decoding}"] = (
            split.when.interval.estimate / split.total.interval.estimate if worth else np.nan
        )
    return row | published_answers(exhibit)


def published_answers(exhibit: Exhibit) -> dict[str, str]:
    """What each published rule says: "WHEN", "not", or "not applicable"."""
    answers = {rule.name: rule.says_when(exhibit) for rule in PUBLISHED}
    words = {True: "WHEN", False: "not", None: "not applicable"}
    return {name: words[answer] for name, answer in answers.items()}


def draw_all(
    *,
    draws: int,
    seed: int = 0,
    size: CaseSize | None = None,
    populations: Sequence[str] = tuple(POPULATIONS),
    progress: bool = True,
) -> pd.DataFrame:
    """`draws` cases of each population, one row each.

    Raises:
        DataError: fewer than one draw.
        UnknownNameError: no such population.
    """
    _check(draws, populations)
    rows = [
        draw_row(population, number, seed=seed, size=size)
        for population, number in tqdm(
            [(name, i) for name in populations for i in range(draws)],
            desc="judge simulated pairs",
            unit="pair",
            delay=1.0,
            disable=not progress,
        )
    ]
    return pd.DataFrame(rows)


def save_draws(
    out: Path, *, draws: int, seed: int = 0, size: CaseSize | None = None, progress: bool = True
) -> pd.DataFrame:
    """`draw_all` into a directory, block by block; called again after a kill it goes on, and when complete it
    is read.

    Raises:
        DataError: fewer than one draw.
        OutputError: the directory holds something else, or draws of another seed, number or rule.
    """
    _check(draws, tuple(POPULATIONS))
    size = size or CaseSize()
    plan = {"draws": draws, "seed": seed, "size": asdict(size), "rule": asdict(Rule())}
    plan["populations"] = list(POPULATIONS)
    directory = ResumableDirectory(out, plan, kind="validation", working=("block-*",))
    if out.is_dir():
        remove_leftovers(out)
        check_plan(out, plan, kind="validation")
        return pd.read_parquet(out / DRAWS_FILE)
    blocks = [(name, start) for name in POPULATIONS for start in range(0, draws, _BLOCK)]
    with directory.open() as partial:
        names = [f"block-{name.replace(' ', '_')}-{start}.parquet" for name, start in blocks]
        with tqdm(
            total=draws * len(POPULATIONS),
            desc="judge simulated pairs",
            unit="pair",
            delay=1.0,
            disable=not progress,
        ) as bar:
            for name, (population, start) in zip(names, blocks, strict=True):
                numbers = range(start, min(start + _BLOCK, draws))
                if not partial.path(name).exists():
                    rows = [draw_row(population, i, seed=seed, size=size) for i in numbers]
                    with partial.piece(name) as unfinished:
                        pd.DataFrame(rows).to_parquet(unfinished, index=False)
                bar.update(len(numbers))
        frame = pd.concat([pd.read_parquet(partial.path(name)) for name in names], ignore_index=True)
        write_table(frame, partial.path(DRAWS_FILE))
        partial.complete()
    return frame


def _check(draws: int, populations: Sequence[str]) -> None:
    if draws < 1:
        raise DataError(
            f"{draws} draws", allowed="draws >= 1", do="draw at least one case of each population"
        )
    for name in populations:
        if name not in POPULATIONS:
            raise UnknownNameError("population", name, list(POPULATIONS))
