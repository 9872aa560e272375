"""Draws of a null in one batch are the draws alone; the stage ranks the arm among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import reasonmech as rm
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.hybrid_arms import SITE_FILE
from reasonmech.experiments.stages.null_draws import RunNulls
from reasonmech.experiments.tables import NULL_DRAWS_FILE, NULLS_FILE
from reasonmech.hybrid import DisagreementGate, OfThinking, Schedule, Vectors, WrongCategory
from reasonmech.hybrid.draws import ScheduleDraws, SelectorDraws, VectorDraws, repeat
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.tasks.chain.world import CHAIN
from tests.chain_models import random_pair

DECODE = rm.Decode(max_new_tokens=20, batch_size=7)
PAIR = random_pair()
KINDS = OneWordKinds(CHAIN.onset_words, PAIR.base.tokenizer)
N, SITE = len(KINDS.names), "resid_post.1"
TABLES = torch.randn(3, N, PAIR.base.d_model, generator=torch.Generator().manual_seed(0)) * 20
VECTORS = Vectors(PAIR.base, SITE, table=TABLES[0], trained=torch.ones(N, dtype=torch.bool))


@pytest.fixture(scope="module")
def problems() -> rm.ProblemSet:
    return rm.load_task("chain", n=4, seed=0)


def write(problems: rm.ProblemSet, executor: object = VECTORS, **parts: object) -> list:
    chosen = {"gate": DisagreementGate(), "selector": OfThinking()} | parts
    hybrid = rm.Hybrid(PAIR, executor=executor, kinds=KINDS, **chosen)  # type: ignore[arg-type]
    return [(r.ids, r.steered) for r in rm.generate(hybrid, problems, decode=DECODE, progress=False)]


def test_draws_of_vectors_in_one_batch_equal_each_alone(problems: rm.ProblemSet) -> None:
    together = write(repeat(problems, 3), VectorDraws(VECTORS, TABLES, len(problems)))
    alone = [
        text
        for table in TABLES
        for text in write(problems, Vectors(PAIR.base, SITE, table=table, trained=VECTORS.trained))
    ]
    assert together == alone and together[:4] != together[4:8]


def test_draws_of_times_in_one_batch_equal_each_alone(problems: rm.ProblemSet) -> None:
    schedules = [Schedule({(p.id, 0): {draw: 1, 2: 0} for p in problems}) for draw in (0, 1)]
    draws = ScheduleDraws(schedules, len(problems))
    together = write(repeat(problems, 2), gate=draws, selector=draws)
    alone = [text for schedule in schedules for text in write(problems, gate=schedule, selector=schedule)]
    assert together == alone and together[:4] != together[4:]


def test_draws_of_categories_differ_and_are_never_the_thinking_models(problems: rm.ProblemSet) -> None:
    seen: list[tuple[bool, int]] = []
    draws = SelectorDraws(WrongCategory(tuple(range(N))), len(problems))

    class Spy:
        def select(self, moment):
            chosen = draws.select(moment)
            seen.append((bool((chosen == moment.category).any()), 0))
            return chosen

    texts = write(repeat(problems, 3), selector=Spy())
    assert seen and not any(wrong for wrong, _ in seen)
    assert len({tuple(texts[i : i + 4]) for i in (0, 4, 8)}) == 3


def test_the_stage_ranks_the_arm_among_its_draws(tmp_path: Path) -> None:
    pair = rm.load_pair("tiny-when")
    check = pair.base.unembedding()[[pair.base.tokenizer.convert_tokens_to_ids(w) for w in ("next", "check")]]
    table = torch.zeros(N, pair.base.d_model)
    trained = torch.zeros(N, dtype=torch.bool)
    for row, kind in zip(check.detach(), ("step", "check"), strict=True):
        table[KINDS.names.index(kind)], trained[KINDS.names.index(kind)] = 8 * row / row.norm(), True
    folders = {name: tmp_path / name for name in ("arms", "rollouts", "nulls")}
    for folder in folders.values():
        folder.mkdir()
    save_file(
        {"category_vectors": table, "category_trained": trained}, folders["arms"] / "tensors.safetensors"
    )
    (folders["arms"] / SITE_FILE).write_text("resid_post.2")
    fitting = rm.generate(
        pair.thinking,
        rm.load_task("chain", n=6, seed=1, split="train"),
        decode=rm.Decode(max_new_tokens=60),
        progress=False,
    )
    fitting.save(folders["rollouts"] / "thinking.jsonl")
    decode = rm.Decode(max_new_tokens=60)
    problems = rm.load_task("chain", n=6, seed=0)
    context = StageContext(pair, problems, decode, 0, folders["nulls"], progress=False, finished=folders)
    RunNulls(draws=3, problems=4, tuning=2, doses=(1.0, 2.0)).run(context)
    assert not Ledger.read(folders["nulls"]).missing()
    nulls = pd.read_parquet(folders["nulls"] / "keep" / NULLS_FILE).set_index("null")
    draws = pd.read_parquet(folders["nulls"] / "keep" / NULL_DRAWS_FILE)
    assert list(nulls.index) == [
        "vectors_norm",
        "vectors_kl",
        "vectors_kl_steered",
        "categories",
        "positions",
    ]
    assert (nulls.n_draws == 3).all() and (nulls.n_problems == 4).all() and (nulls.smallest_p == 0.25).all()
    assert nulls["q95"].isna().all(), "three draws have no 95 % quantile"
    assert len(draws) == 15 and set(draws.dose) <= {1.0, 2.0} and (draws.percent_steered > 0).any()
    for null, row in nulls.iterrows():
        of_null = draws[draws.null == null].accuracy
        assert row.p == (1 + (of_null >= row.accuracy - 1e-9).sum()) / 4 and row.largest == of_null.max()
        assert np.isfinite(row.above)
