"""Sweeps over what is written: each row is generate under its plan, and silence is told without losing the
rest."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.causal.sweeps.configurations import CLEAN, Configuration, grid
from reasonmech.causal.sweeps.rollouts import sweep_rollouts
from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.causal.sweeps.trials import RolloutTrials
from reasonmech.errors import DataError, NoChangeError, NonFiniteError, OutputError
from reasonmech.hosts import Prompt
from reasonmech.interventions import Direction, ablate, generated, prompt, steer, tokens
from reasonmech.metrics import RolloutMetric
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.testing import tiny_host

MODULE = import_module("reasonmech.causal.sweeps.rollouts")  # the package has a function of the same name
HOST = tiny_host()
PROMPTS = ["w1 w2 . w3", "w5", "w9 w1 . w4 w2 w40 w3"]
DECODE = Decode(max_new_tokens=8)
SAMPLED = Decode(max_new_tokens=8, temperature=1.0, samples=2, seed=5)


@dataclass(frozen=True)
class Different:
    """How many different tokens were written."""

    more: float = 0.0
    name = "different"
    unit = "tokens"

    def measure(self, rollouts: Rollouts) -> np.ndarray:
        return np.array([len(set(rollout.ids)) + self.more for rollout in rollouts], dtype=np.float64)


@dataclass(frozen=True)
class SaysWord:
    """How often a word is written, which has to be written at all."""

    word: int
    name = "says_word"
    unit = "tokens"

    def measure(self, rollouts: Rollouts) -> np.ndarray:
        counts = np.array([float(rollout.ids.count(self.word)) for rollout in rollouts])
        if not counts.any():
            raise DataError(f"nobody says {self.word}")
        return np.where(counts > 0, counts, np.nan)


TRIALS = RolloutTrials(PROMPTS, DECODE)


def sweep(
    trials: RolloutTrials,
    plans: list[Configuration],
    *,
    metric: RolloutMetric = Different(),
    out: Path | None = None,
) -> SweepTable:
    return sweep_rollouts(HOST, trials, plans, metric=metric, out=out, progress=False)


def direction(seed: int) -> Direction:
    return Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(seed)), "resid_post.1")


def configurations() -> list[Configuration]:
    return grid(
        {"v": direction(0), "w": direction(1)},
        "steer",
        amounts=(4.0, 12.0),
        where=prompt(start=-1) | generated(),
    )


@pytest.mark.parametrize("decode", [DECODE, SAMPLED], ids=["greedy", "sampled"])
def test_every_row_is_generate_under_its_plan(tmp_path: Path, decode: Decode) -> None:
    seeds = (decode.seed, 11) if decode.temperature else ()
    out, plans = tmp_path / "out", configurations()
    trials = RolloutTrials(PROMPTS, decode, seeds)
    answers = sweep(trials, plans, out=out)
    assert len(answers) == 5 * 3 * decode.samples * max(len(seeds), 1)
    assert answers.table.query("configuration != @CLEAN")["effect"].abs().max() > 0, "nothing was changed"
    for one in [None, *plans]:
        name, plan = (CLEAN, ()) if one is None else (one.name, one.plan)  # noqa: RUF059 (the query reads the name)
        for seed in seeds or (0,):
            alone = generate(
                HOST, PROMPTS, plan, decode=decode.model_copy(update={"seed": seed}), progress=False
            )
            rows = answers.table.query("configuration == @name and decode_seed == @seed")
            written = {(r.problem.id, r.sample): len(set(r.ids)) for r in alone}
            assert {(r.problem, r.sample): r.value for r in rows.itertuples()} == written
            stored = Rollouts.load(
                out / "rollouts" / f"{'clean' if one is None else one.fingerprint[:16]}-{seed}.jsonl"
            )
            assert [r.ids for r in stored] == [r.ids for r in alone]
            if alone.receipt is not None:
                assert (rows["n_masked"] == alone.receipt.lines[0].n_masked).all()
                assert np.allclose(rows["kl"], alone.receipt.kl)
    again = sweep(trials, plans, out=out)
    pd.testing.assert_frame_equal(answers.table, again.table, check_exact=True)


def test_means_are_by_problem() -> None:
    answers = sweep(RolloutTrials(PROMPTS, SAMPLED, seeds=(1, 2)), configurations())
    mean = answers.mean.set_index("configuration")
    assert (mean["n"] == 3).all() and (mean["n_masked"] > 0).all()
    rows = answers.table.query("configuration == 'w · steer 12'")
    assert mean.loc["w · steer 12", "effect"] == pytest.approx(
        rows.groupby("problem")["effect"].mean().mean()
    )


def test_a_configuration_that_leaves_nothing_to_measure_is_noted_and_the_clean_run_refused() -> None:
    clean = generate(HOST, PROMPTS, decode=DECODE, progress=False)
    word = clean[0].ids[0]
    mute = Configuration("mute", [steer(direction(3), 300.0)])
    written = generate(HOST, PROMPTS, mute.plan, decode=DECODE, progress=False)
    assert all(word not in rollout.ids for rollout in written), "choose another direction"
    answers = sweep(TRIALS, [mute], metric=SaysWord(word))
    rows = answers.table.query("configuration == 'mute'")
    assert rows["value"].isna().all() and (rows["note"] == f"nobody says {word}").all()
    mean = answers.mean
    assert mean["n"].tolist() == [0] and mean["effect"].isna().all()
    never = next(i for i in range(64) if all(i not in rollout.ids for rollout in clean))
    with pytest.raises(DataError, match=f"nobody says {never}"):
        sweep(TRIALS, [mute], metric=SaysWord(never))


def test_silence_is_an_error_with_everything_else_on_it(tmp_path: Path) -> None:
    silent = Configuration("silent", [steer(direction(0), 1.0, where=tokens("w50") & prompt())])
    for _ in range(2):  # the second time from the disk
        with pytest.raises(NoChangeError, match=r"1 of 5 configurations.*silent: ") as caught:
            sweep(TRIALS, [silent, *configurations()], out=tmp_path / "out")
        table = caught.value.result
        assert isinstance(table, SweepTable) and len(table) == 6 * 3
        assert table.table.query("configuration == 'silent'")["n_masked"].eq(0).all()
        assert not table.table.query("configuration != 'silent'")["no_change"].any()


def test_out_of_memory_halves_the_batch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweep(TRIALS, configurations())
    sizes = []

    def small(*arguments: object, decode: Decode, **rest: object) -> Rollouts:
        sizes.append(decode.batch_size)
        if decode.batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(*arguments, decode=decode, **rest)  # pyright: ignore

    monkeypatch.setattr(MODULE, "generate", small)
    two = RolloutTrials(PROMPTS, DECODE.model_copy(update={"batch_size": 2}))
    with pytest.warns(UserWarning, match="going on with 1"):
        halved = sweep(two, configurations())
    assert sizes[:2] == [2, 1]
    kl = whole.table.pop("kl"), halved.table.pop("kl")  # of replays in other batches: equal up to rounding
    assert np.allclose(*kl, equal_nan=True)
    pd.testing.assert_frame_equal(whole.table, halved.table, check_exact=True)


def test_a_changed_sweep_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sweep(TRIALS, configurations(), out=out)
    one_by_one = RolloutTrials(PROMPTS, DECODE.model_copy(update={"batch_size": 1}))
    sweep(one_by_one, configurations(), out=out)  # changes no result
    fewer = RolloutTrials(PROMPTS[:2], Decode(max_new_tokens=9))
    with pytest.raises(OutputError) as caught:
        sweep(fewer, configurations(), out=out, metric=Different(1.0))
    assert "metric.more: 0.0, now 1.0; decode.max_new_tokens: 8, now 9; problems.prompt/" in str(caught.value)


def test_what_cannot_be_swept_is_refused() -> None:
    with pytest.raises(DataError, match="temperature 0"):
        RolloutTrials(PROMPTS, DECODE, seeds=(0, 1))
    with pytest.raises(DataError, match="no problem"):
        sweep_rollouts(HOST, [], configurations(), metric=Different())
    with pytest.raises(NonFiniteError, match="infinite"):
        sweep(TRIALS, configurations()[:1], metric=Different(np.inf))


def test_problems_are_known_by_their_content() -> None:
    def cells(answer: str) -> list[str]:
        problems = ProblemSet([Problem("p", "w1 w2", answer)], task="")
        one = Configuration("a", [ablate(direction(0))])
        return list(sweep(RolloutTrials(problems, DECODE), [one]).table["cell"])

    assert cells("1") == cells("1") and not set(cells("1")) & set(cells("2"))


def test_the_estimate_is_told_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ablations = grid({f"v{i}": direction(i) for i in range(8)}, "ablate")
    sweep_rollouts(HOST, TRIALS, ablations, metric=Different(), out=tmp_path / "out")
    line = capsys.readouterr().out
    assert "sweep of 27 cells: about " in line and "of disk" in line
    estimated = float(line.split(" kB of disk")[0].split()[-1]) * 1000
    on_disk = sum(path.stat().st_size for path in (tmp_path / "out/rollouts").iterdir())
    assert on_disk < estimated < 8 * on_disk


def test_another_prompt_of_the_host_is_another_sweep(tmp_path: Path) -> None:
    plans = configurations()[:1]
    sweep(TRIALS, plans, out=tmp_path / "one")
    behind = HOST.with_prompt(Prompt(template="w1 {prompt}"))
    with pytest.raises(OutputError):
        sweep_rollouts(behind, TRIALS, plans, metric=Different(), out=tmp_path / "one", progress=False)
