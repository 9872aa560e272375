"""From a pair to evidence: what is not run is equal to what would be, and what is wrong is noticed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm.auto import tqdm

import reasonmech as rm
from reasonmech.claims import Extent, Questions, Rule
from reasonmech.claims.capability import execution_rise
from reasonmech.claims.evidence import Sharpening
from reasonmech.claims.measuring import integrity, temperature
from reasonmech.claims.measuring.bench import Bench, write_texts
from reasonmech.claims.measuring.coalitions import measure_coalitions
from reasonmech.claims.measuring.executing import measure_execution
from reasonmech.claims.measuring.leak import FirstTokens, measure_leak
from reasonmech.claims.measuring.outcomes import measure_outcomes
from reasonmech.claims.measuring.relay import Relay
from reasonmech.claims.measuring.runs import Runs
from reasonmech.claims.measuring.temperature import measure_sharpening
from reasonmech.claims.shapley import PLAYERS, shapley_values
from reasonmech.errors import CorruptFileError
from reasonmech.hosts import Host, ModelPair
from reasonmech.organisms import splice
from reasonmech.problem import Problem, ProblemSet
from reasonmech.resumable import ResumableDirectory
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from tests.brief_problems import brief_problems
from tests.chain_models import random_pair

SMALL = Extent(4, fitting=3, repeated=2, max_new_tokens=50)


def bench_of(pair: ModelPair, extent: Extent = SMALL, task: str = "chain", *, brief: bool = False) -> Bench:
    questions = Questions.drawn(task, extent, split="confirmation", seed=0)
    if brief:
        questions = replace(questions, judged=brief_problems(task, extent.n))
    return Bench(pair, questions, extent, Runs(None, tqdm(disable=True)))


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return rm.load_pair("tiny-when")


@pytest.fixture
def bench(pair: ModelPair) -> Bench:
    return bench_of(pair)


def ids(rollouts) -> list[tuple[int, ...]]:
    return [rollout.ids for rollout in rollouts]


@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
@pytest.mark.parametrize("cell", ["bb", "tt"])
@pytest.mark.parametrize("which", ["trained", "random"])
def test_a_splice_with_itself_is_what_running_it_gives(pair, which, cell, decoding) -> None:
    """Rows of the free run are taken over in a trained pair; a random one begins sentences as it likes."""
    used = bench_of(pair if which == "trained" else random_pair(), Extent(20, samples=2, max_new_tokens=20))
    host = used.pair.base if cell == "bb" else used.pair.thinking
    decode = used.decode(decoding)
    decoder = splice(onset=host, executor=host, task="chain")
    alike = used._free("base" if cell == "bb" else "thinking", decoding)[1]
    assert alike.any() if which == "trained" else not alike.all()
    assert ids(used.spliced(cell, decoding)) == ids(write_texts(decoder, used.problems, decode))


@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
def test_rows_are_taken_over_where_a_kind_has_several_first_words_too(decoding) -> None:
    """Greedily the splice takes the likeliest kind, the free run the likeliest word: some rows differ."""
    forms = rm.load_pair("tiny-forms")
    used = bench_of(forms, Extent(20, max_new_tokens=30), task="chain-forms")
    decoder = splice(onset=forms.thinking, executor=forms.thinking, task="chain-forms")
    free, alike = used._free("thinking", decoding)
    written = write_texts(decoder, used.problems, used.decode(decoding))
    assert alike.any()
    assert [a for a, same in zip(ids(free), alike, strict=True) if same] == [
        a for a, same in zip(ids(written), alike, strict=True) if same
    ]
    assert ids(used.spliced("tt", decoding)) == ids(written)


def test_a_run_that_was_read_back_and_not_watched_is_spliced_anew(pair, tmp_path: Path) -> None:
    """A process that ended between a free run and what was noticed in it leaves nothing to be taken over."""
    directory = ResumableDirectory(tmp_path / "out", {"kind": "test"}, kind="test")
    questions = Questions.drawn("chain", SMALL, split="confirmation", seed=0)
    with directory.open():
        first = Bench(pair, questions, SMALL, Runs(directory, tqdm(disable=True)))
        expected = ids(first.spliced("bb", "greedy"))
        assert first._free("base", "greedy")[1].any()
        directory.path("greedy.alike.base.npz").unlink()
        directory.path("greedy.base-base.jsonl").unlink()
        again = Bench(pair, questions, SMALL, Runs(directory, tqdm(disable=True)))
        assert ids(again.spliced("bb", "greedy")) == expected
        assert not again._free("base", "greedy")[1].any()


def test_two_models_that_are_one_are_run_once(pair) -> None:
    used = bench_of(ModelPair("same", pair.base, deepcopy_host(pair.base), "chain"))
    assert used.is_one_model and used.free("thinking", "sampled") is used.free("base", "sampled")
    outcomes = measure_outcomes(used, "sampled")
    assert (outcomes.cells.total == 0).all() and (outcomes.gap == 0).all()
    assert measure_sharpening(used).temperature == 1.0


def deepcopy_host(host: Host) -> Host:
    return Host(deepcopy(host.model), host.tokenizer, name=f"copy of {host.name}")


def test_more_room_is_given_to_what_was_cut_off_alone(pair) -> None:
    swapped = ModelPair("swapped", pair.thinking, pair.base, "chain")
    used = bench_of(swapped, Extent(8, max_new_tokens=40), brief=True)
    free = used.free("base", "greedy")
    cut = [rollout.stop == "length" for rollout in free]
    assert any(cut)
    outcomes = measure_outcomes(used, "greedy")
    wide = used.decode("greedy").model_copy(update={"max_new_tokens": 80})
    np.testing.assert_array_equal(
        outcomes.roomy_base, used.right(write_texts(pair.thinking, used.problems, wide))
    )
    assert outcomes.roomy_base.sum() > outcomes.base.sum()
    assert any("cut off at 40 tokens" in note for note in used.notes)


def test_the_thinking_model_has_more_room_too_and_nobody_who_needs_none(pair) -> None:
    used = bench_of(pair, Extent(8, max_new_tokens=40), brief=True)
    outcomes = measure_outcomes(used, "greedy")
    wide = used.decode("greedy").model_copy(update={"max_new_tokens": 80})
    roomy = used.right(write_texts(pair.thinking, used.problems, wide))
    assert outcomes.roomy_thinking is not None
    np.testing.assert_array_equal(outcomes.roomy_thinking, roomy)
    assert outcomes.roomy_thinking.sum() > outcomes.thinking.sum()
    assert any(note.startswith("thinking, greedy:") and "at 80 tokens, too" in note for note in used.notes)

    cut = np.mean([rollout.stop == "length" for rollout in write_texts(pair.thinking, used.problems, wide)])
    assert outcomes.endless_thinking is not None and outcomes.endless_thinking.mean() == cut < 1

    used = bench_of(pair, Extent(4), brief=True)
    outcomes = measure_outcomes(used, "greedy")
    assert outcomes.endless_thinking is not None and not outcomes.endless_thinking.any()
    assert outcomes.roomy_thinking is not None and "greedy.roomy.thinking" not in used.runs._rollouts
    np.testing.assert_array_equal(outcomes.roomy_thinking, outcomes.thinking)


def test_texts_that_are_cut_off_at_twice_the_tokens_are_counted_and_said(pair) -> None:
    used = bench_of(pair, Extent(6, max_new_tokens=8))
    outcomes = measure_outcomes(used, "greedy")
    assert outcomes.endless_thinking is not None and (outcomes.endless_thinking == 1).all()
    note = next(note for note in used.notes if note.startswith("thinking, greedy:") and "16 tokens" in note)
    assert "100.0% of texts are cut off at 16 tokens, too" in note and "not known" in note
    one = bench_of(ModelPair("same", pair.thinking, deepcopy_host(pair.thinking), "chain"), used.extent)
    alike = measure_outcomes(one, "greedy")
    assert alike.endless_base is not None and not alike.endless_base.any()


def test_what_was_worked_out_counts_where_it_is_not_stated() -> None:
    format_pair = rm.load_pair("tiny-format")
    used = bench_of(format_pair, Extent(3, max_new_tokens=90), brief=True)
    outcomes = measure_outcomes(used, "greedy")
    assert outcomes.base.sum() == 0 and outcomes.reached_base.sum() >= 2
    assert (outcomes.reached_thinking >= outcomes.thinking).all()


def test_a_relay_is_the_first_the_second_and_what_lies_between(pair, bench) -> None:
    base, thinking = HostDecoder.of(pair.base), HostDecoder.of(pair.thinking)
    kinds = rm.tasks.tasks.get("chain").kinds(pair.base.tokenizer)
    decode = bench.decode("sampled")
    written = {}
    for m in (0, 1, 10**6):
        relay = Relay(base, thinking, lambda rows, m=m: FirstTokens(kinds, len(rows), m), rule=f"{m} first")
        written[m] = ids(write_texts(relay, bench.problems, decode))
    assert written[0] == ids(bench.free("base", "sampled")) != written[10**6]
    assert written[10**6] == ids(bench.free("thinking", "sampled"))
    assert written[1] not in (written[0], written[10**6])


def test_the_leak_curve_rises_from_the_base_to_the_thinking_model(pair) -> None:
    bench = bench_of(pair, Extent(3, max_new_tokens=90), brief=True)
    curve = measure_leak(bench)
    assert list(curve) == [0, 1, 2, 4, 8, 16]
    np.testing.assert_array_equal(curve[0], bench.right(bench.free("base", "greedy")))
    assert curve[1].mean() == 1.0  # in this pair the first token is all that was taught


def test_coalitions_of_nobody_and_of_all_are_the_splices_of_the_factorial(pair) -> None:
    bench = bench_of(pair, Extent(2, max_new_tokens=90), brief=True)
    coalitions = measure_coalitions(bench)
    assert len(coalitions) == 16
    np.testing.assert_array_equal(coalitions[()], bench.right(bench.spliced("bb", "greedy")))
    np.testing.assert_array_equal(coalitions[PLAYERS], bench.right(bench.spliced("tt", "greedy")))
    np.testing.assert_array_equal(coalitions[("executor",)], bench.right(bench.spliced("bt", "greedy")))
    np.testing.assert_array_equal(coalitions[PLAYERS[:3]], bench.right(bench.spliced("tb", "greedy")))
    values = shapley_values(coalitions)
    assert sum(values.values()).mean() == pytest.approx(coalitions[PLAYERS].mean() - coalitions[()].mean())
    assert sum(values[name].mean() for name in PLAYERS[:3]) > 0.5  # onsets, whoever executes


def test_a_temperature_is_fitted_and_explains_its_own_pair(pair) -> None:
    sharp = deepcopy_host(pair.base)
    with torch.no_grad():  # logits twice as large: the base at T = 0.5
        sharp.model.model.norm.weight.mul_(2)
    used = bench_of(ModelPair("sharp", pair.base, sharp, "chain"), Extent(12, fitting=12, max_new_tokens=60))
    measured = measure_sharpening(used)
    assert measured.temperature == pytest.approx(0.5, rel=0.03)
    assert measured.kl.mean() > 0.01
    assert measured.tempered_kl.mean() < 0.01 * measured.kl.mean()
    assert measured.argmax_differs.max() == 0
    np.testing.assert_array_equal(measured.tempered, used.right(used.free("thinking", "sampled")))


def test_what_is_too_large_to_keep_is_read_again_and_fits_the_same_temperature(pair, monkeypatch) -> None:
    extent = Extent(4, fitting=4, max_new_tokens=30)
    kept = measure_sharpening(bench_of(pair, extent)).temperature
    monkeypatch.setattr(temperature, "_KEPT", 0)
    assert measure_sharpening(bench_of(pair, extent)).temperature == kept


def test_a_fit_reads_the_same_divergences_as_a_comparison() -> None:
    """KL by its three sums, at temperatures where most of a vocabulary underflows too."""
    noise = torch.Generator().manual_seed(0)
    base = (6 * torch.randn(5, 3000, generator=noise)).log_softmax(-1)
    thinking = (1.7 * base + torch.randn(5, 3000, generator=noise)).log_softmax(-1)
    temperatures = np.array([0.05, 0.4, 0.6, 1.0, 8.0])
    summed = temperature._Weighed.of(base, thinking).kl(base, temperatures)
    np.testing.assert_allclose(summed, temperature._kl(base, thinking, temperatures), rtol=1e-5)
    assert temperature._Weighed.of(base, base).kl(base, np.array([1.0]))[0] < 1e-6


def test_execution_is_counted_by_problem(pair) -> None:
    used = bench_of(pair, Extent(32, forced=2, max_new_tokens=40))
    executed = measure_execution(used)
    assert set(executed) == {"step", "check"}
    assert (executed["step"].n == 2).all()  # on every problem as often
    assert executed["step"].base.sum() > 0.9 * executed["step"].n.sum()
    assert execution_rise(executed["step"], Rule(execution=0.2))[1] == "none"


def test_a_behaviour_with_few_places_is_left_out_and_said(bench) -> None:
    executed = measure_execution(bench)
    assert executed == {}
    few = [note for note in bench.notes if "fewer than 30" in note]
    assert [note.split(":")[0] for note in few] == ["step", "check", "backtrack"]


def test_every_check_holds_on_a_sound_pair(sound) -> None:
    checks = integrity.check_integrity(*sound)
    assert all(check.passed for check in checks), checks
    assert len({check.name for check in checks}) == len(checks) == 11


FAULTS = {
    "encodings agree": (integrity, "decode", lambda tokenizer, _: str(id(tokenizer))),
    "a zero vector changes nothing": (
        integrity, "forward",
        lambda host, texts, plan=(), **_: _noisy(host, texts, bool(plan)),
    ),
    "greedy runs repeat": (integrity, "write_texts", lambda *args: _shortened(write_texts(*args))),
    "sampled runs repeat": (integrity, "write_texts", lambda *args: _shortened(write_texts(*args))),
    "greedy runs do not depend on the batch": (
        integrity, "write_texts", lambda *args: _marked(write_texts(*args)),
    ),
    "sampled runs do not depend on the batch": (
        integrity, "write_texts", lambda *args: _marked(write_texts(*args)),
    ),
    "same decoding in every arm": (
        Bench, "spliced",
        lambda bench, cell, decoding, real=Bench.spliced: _lengthened(real(bench, cell, decoding)),
    ),
    "onsets are those of the onset model": (
        Bench, "spliced", lambda bench, cell, decoding, real=Bench.spliced: real(bench, cell[::-1], decoding),
    ),
    "all arms answer the same problems": (
        Bench, "spliced", lambda bench, cell, decoding, real=Bench.spliced: real(bench, cell, decoding)[1:],
    ),
    "arms that should differ do": (
        Bench, "free", lambda bench, role, decoding, real=Bench.free: real(bench, "base", decoding),
    ),
}  # fmt: skip


class _Noisy:
    def __init__(self, logits) -> None:
        self.logits = logits


def _noisy(host, texts, hooked: bool) -> _Noisy:
    return _Noisy([torch.full((2, 2), float(hooked)) for _ in texts])


def _marked(rollouts):
    """Texts of another batch: every one has a token more, each time the same."""
    return Rollouts([replace(r, ids=(*r.ids, 0)) for r in rollouts], task=rollouts.task)


def _lengthened(rollouts):
    """An arm that was given more tokens than the others."""
    more = [replace(r, ids=(*r.ids, *[0] * 60), stop="length") for r in rollouts]
    return Rollouts(more, task=rollouts.task)


CALLS = iter(range(10**6))


def _shortened(rollouts):
    """Texts that depend on how often they were asked for."""
    n = next(CALLS)
    return Rollouts([replace(r, ids=(*r.ids, n)) for r in rollouts], task=rollouts.task)


@pytest.fixture(scope="module")
def sound(pair: ModelPair) -> tuple[Bench, Sharpening]:
    """A pair on which every check holds, its runs made."""
    used = bench_of(pair, Extent(12, fitting=2, repeated=2, max_new_tokens=30))
    sharpening = measure_sharpening(used)
    assert all(check.passed for check in integrity.check_integrity(used, sharpening))
    return used, sharpening


@pytest.mark.parametrize(("name", "fault"), FAULTS.items(), ids=FAULTS.keys())
def test_a_fault_fails_its_check(name, fault, sound, monkeypatch) -> None:
    used, sharpening = sound
    runs = Runs(None, tqdm(disable=True))
    written_anew = tuple(f"repeat{time}.{name.split()[0]}" for time in (1, 2) if fault[1] == "write_texts")
    runs._rollouts |= {
        kept: made for kept, made in used.runs._rollouts.items() if not kept.startswith(written_anew)
    }
    monkeypatch.setattr(*fault)
    faulty = Bench(used.pair, used.questions, used.extent, runs)
    checks = {check.name: check for check in integrity.check_integrity(faulty, sharpening)}
    assert not checks[name].passed, checks[name]


def test_answers_that_stand_in_their_prompts_are_noticed() -> None:
    told = [Problem(f"p{i}", f"what is {i} ? it is {i}", str(i)) for i in range(40)]
    assert not integrity._check_answers(ProblemSet(told, task="")).passed
    for task in ("chain", "chain-novel", "chain-swap"):  # of whose first 59, 12 points more do so by chance
        for n in (59, 300):
            assert integrity._check_answers(rm.load_task(task, n=n, split="confirmation")).passed


def test_runs_are_kept_and_read_back(pair, tmp_path: Path) -> None:
    problems = rm.load_task("chain", n=2)
    directory = ResumableDirectory(tmp_path / "out", {"kind": "test"}, kind="test")
    calls = []

    def make():
        calls.append(1)
        return rm.generate(pair.base, problems, progress=False)

    with directory.open():
        first = Runs(directory, tqdm(disable=True))
        written = first.rollouts("base", make, rows=2)
        assert first.rollouts("base", make, rows=2) is written
        assert ids(Runs(directory, tqdm(disable=True)).rollouts("base", make, rows=2)) == ids(written)
        arrays = first.arrays("numbers", lambda: {"kl": np.arange(3.0)}, rows=1)
        again = Runs(directory, tqdm(disable=True)).arrays("numbers", dict, rows=1)
        assert len(calls) == 1 and (again["kl"] == arrays["kl"]).all()
        directory.path("numbers.npz").write_bytes(b"PK")
        with pytest.raises(CorruptFileError, match="numbers"):
            Runs(directory, tqdm(disable=True)).arrays("numbers", dict, rows=1)
