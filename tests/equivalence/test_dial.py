"""The dial: at 0 and 1 a pure cell, in between equal to a slow loop; turning it up only adds turns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from reasonmech.errors import ArgumentError, DataError, MismatchError, UnknownNameError
from reasonmech.hosts import Host, ModelPair
from reasonmech.organisms import Dial, dial_table, splice
from reasonmech.organisms.ground_truth.dial import thinking_turns, turns_of
from reasonmech.organisms.ground_truth.dial_table import find_falls
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.noise import gumbel, row_key, uniform
from reasonmech.tasks import load_task, tasks
from reasonmech.tasks.chain import ONSET_WORDS, word_tokenizer
from reasonmech.tasks.chain.grammar import EOS
from tests.chain_models import random_model

SHORT = Decode(max_new_tokens=18, batch_size=3)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    """Two models that rarely agree, and write short sentences."""
    words = word_tokenizer()
    hosts = []
    for seed, name in enumerate(("base", "thinking")):
        model = random_model(seed)
        with torch.no_grad():
            model.model.embed_tokens.weight[words.get_vocab()["."]] *= 6
        hosts.append(Host(model, words, name=name))
    return ModelPair("random", *hosts, "chain")


def problems(n: int = 8) -> ProblemSet:
    """Prompts of unequal length, some of which end in a full stop, in a world with slips and read-backs."""
    return load_task("chain", n=n, seed=0)


def run(pair: ModelPair, *, onset: float, executor: float, decode: Decode = SHORT, n: int = 8) -> Rollouts:
    spliced = splice(
        onset=Dial(pair.base, pair.thinking, onset), executor=Dial(pair.base, pair.thinking, executor)
    )
    return generate(spliced, problems(n), decode=decode, progress=False)


@torch.no_grad()
def slow(pair: ModelPair, index: int, *, onset: float, executor: float, seed: int = 0) -> list[int]:
    """One row, one token at a time, no cache."""
    problem = problems()[index]
    vocabulary = pair.base.tokenizer.get_vocab()
    kinds = torch.tensor([vocabulary[word] for word in (*ONSET_WORDS.values(), EOS)])
    world = problems().environment
    assert world is not None
    scribe = world.scribe(problem, 0, pair.base.tokenizer)
    ids, key, sentence, boundary = pair.base.encode(problem.prompt), row_key(seed, problem.id, 0), 0, True
    begin = len(ids)
    for _ in range(SHORT.max_new_tokens):
        share, factor = (onset, "onset") if boundary else (executor, "executor")
        u = uniform(torch.tensor([key]), torch.tensor([sentence]), stream=f"dial/{factor}")
        host = pair.thinking if float(u) < share else pair.base
        logits = host.model(torch.tensor([ids])).logits[0, -1]
        proposed = int(kinds[logits[kinds].argmax()] if boundary else logits.argmax())
        ids.append(scribe.write(proposed).token)
        boundary = ids[-1] == vocabulary["."]
        sentence += boundary
        if ids[-1] == vocabulary[EOS]:
            break
    return ids[begin:]


def same(a: Rollouts, b: Rollouts) -> bool:
    return [r.ids for r in a] == [r.ids for r in b]


def test_at_its_ends_the_dial_is_a_pure_cell(pair: ModelPair) -> None:
    hosts = {0.0: pair.base, 1.0: pair.thinking}
    cells = {}
    for onset, executor in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        plain = splice(onset=hosts[onset], executor=hosts[executor])
        cells[onset, executor] = generate(plain, problems(4), decode=SHORT, progress=False)
        assert same(run(pair, onset=onset, executor=executor, n=4), cells[onset, executor])
    assert len({tuple(r.ids for r in runs) for runs in cells.values()}) == 4, "four cells, all different"


@pytest.fixture(scope="module")
def ends(pair: ModelPair) -> list[Rollouts]:
    return [run(pair, onset=end, executor=end, n=5) for end in (0.0, 1.0)]


@pytest.mark.parametrize("shares", [(0.5, 0.0), (0.0, 0.5), (0.3, 0.7)])
def test_between_its_ends_the_dial_equals_a_slow_loop(
    pair: ModelPair, ends: list[Rollouts], shares: tuple[float, float]
) -> None:
    onset, executor = shares
    dialled = run(pair, onset=onset, executor=executor, n=5)
    assert not any(same(dialled, end) for end in ends), "neither model alone wrote this"
    sentences = [r.text.split().count(".") for r in dialled]
    assert max(sentences) >= 2, "more than one turn was taken"
    assert [list(r.ids) for r in dialled] == [
        slow(pair, i, onset=onset, executor=executor) for i in range(len(dialled))
    ]


def test_a_batch_equals_its_rows_and_rows_leave_it(pair: ModelPair) -> None:
    decode = Decode(max_new_tokens=32, temperature=1.0, samples=2, batch_size=10, seed=5)
    batch = run(pair, onset=0.5, executor=0.5, decode=decode, n=5)
    one_by_one = run(pair, onset=0.5, executor=0.5, decode=decode.model_copy(update={"batch_size": 1}), n=5)
    assert len({len(r.ids) for r in batch}) > 1, (
        "rows ended at different times, so the batch shrank on its way"
    )
    assert same(batch, one_by_one)
    other = run(pair, onset=0.5, executor=0.5, decode=decode.model_copy(update={"seed": 6}), n=5)
    assert not same(batch, other)


def test_turning_the_dial_up_only_adds_turns() -> None:
    keys = torch.tensor([row_key(0, f"p/{i}", s) for i in range(50) for s in range(2)])
    previous = torch.zeros(100, 30, dtype=torch.bool)
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        turns = torch.stack(
            [thinking_turns(keys, torch.full((100,), k), share=share, factor="onset") for k in range(30)],
            dim=1,
        )
        assert not (previous & ~turns).any(), "no turn was taken back"
        assert (
            abs(turns.float().mean().item() - share)
            < 5 * (share * (1 - share) / turns.numel()) ** 0.5 + 1e-12
        )
        previous = turns
    assert previous.all()


def test_draws_are_uniform_and_independent_of_each_other_and_of_the_tokens_noise() -> None:
    keys = torch.tensor([row_key(0, f"p/{i}", 0) for i in range(4000)])
    first = torch.zeros(4000, dtype=torch.long)
    onset = uniform(keys, first, stream="dial/onset")
    assert stats.kstest(onset.numpy(), "uniform").pvalue > 1e-3
    others = [
        uniform(keys, first + 1, stream="dial/onset"),
        uniform(keys, first, stream="dial/executor"),
        gumbel(keys, first, 1)[:, 0].double(),
    ]
    for other in others:
        assert not torch.equal(onset, other)
        assert abs(float(stats.spearmanr(onset.numpy(), other.numpy()).statistic)) < 4 / 4000**0.5
    assert torch.equal(uniform(keys[7:9], first[7:9], stream="dial/onset"), onset[7:9])


def test_turns_of_a_rollout_equal_those_it_was_written_with(pair: ModelPair) -> None:
    rollout = run(pair, onset=0.5, executor=0.0)[0]
    turns = turns_of(rollout, 40, share=0.5, factor="onset", seed=0)
    assert 5 < sum(turns) < 35
    key = torch.tensor([row_key(0, rollout.problem.id, 0)])
    assert turns == [
        bool(thinking_turns(key, torch.tensor([k]), share=0.5, factor="onset")) for k in range(40)
    ]


def test_a_dial_outside_0_to_1_or_between_vocabularies_raises(pair: ModelPair) -> None:
    with pytest.raises(DataError, match=r"0 <= share <= 1"):
        Dial(pair.base, pair.thinking, 1.2)
    stranger = word_tokenizer()
    stranger.add_tokens(["unheard"])
    wide = random_model(0)
    wide.resize_token_embeddings(len(stranger))
    with pytest.raises(MismatchError, match="other vocabularies"):
        Dial(pair.base, Host(wide, stranger, name="stranger"), 0.5)


def test_what_is_no_host_and_an_unknown_factor_raise(pair: ModelPair) -> None:
    with pytest.raises(ArgumentError, match="base is the string"):
        Dial("tiny-when", pair.thinking, 0.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="onset is a ModelPair"):
        splice(onset=pair, executor=pair.base)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="pair is a Host"):
        dial_table(pair.base, problems(2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownNameError, match="unknown factor 'onsets'"):
        dial_table(pair, problems(2), factor="onsets")  # pyright: ignore[reportArgumentType]


def test_a_task_with_other_onset_words_is_spliced_at_those(pair: ModelPair) -> None:
    words = tasks.get("chain-swap").onset_words
    spliced = splice(onset=pair.base, executor=pair.base, task="chain-swap")
    named = set(pair.base.tokenizer.convert_ids_to_tokens(torch.cat(spliced.openings.tokens).tolist()))
    assert named == {*words.values(), EOS} != {*ONSET_WORDS.values(), EOS}


def test_the_table_holds_accuracy_steps_and_the_real_share_of_turns(pair: ModelPair) -> None:
    table = dial_table(pair, problems(6), shares=(0.0, 0.5, 1.0), decode=SHORT)
    assert table["share"].tolist() == [0.0, 0.5, 1.0] and set(table["factor"]) == {"onset"}
    assert (
        table["turns"].tolist()[0] == 0.0
        and table["turns"].tolist()[2] == 1.0
        and 0.2 < table["turns"][1] < 0.8
    )
    assert np.isnan(table["step"][0])
    np.testing.assert_allclose(table["step"][1:], np.diff(table["accuracy"]))
    assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()
    for shares in ((0.5,), (0.5, 0.5), (1.0, 0.0)):
        with pytest.raises(DataError, match="two or more, rising"):
            dial_table(pair, problems(2), shares=shares)


def test_find_falls_returns_the_rows_whose_step_lies_below_zero() -> None:
    table = pd.DataFrame(
        {"share": [0.0, 0.5, 1.0], "step": [np.nan, -0.2, -0.01], "step_high": [np.nan, -0.1, 0.02]}
    )
    assert find_falls(table)["share"].tolist() == [0.5]
    assert find_falls(table[table["share"] != 0.5]).empty
